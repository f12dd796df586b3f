// Package probe sends and watches real packets, for tests that ask which way traffic goes and who the far end sees: ICMP
// ping, traceroute by TTL, TCP and UDP echo servers that name their caller, and captures on every interface of a network
// namespace. Each call opens its sockets in the network namespace of the calling thread (lab.Host.Do) before it returns;
// what it returns may then be used from anywhere. It runs no other program.
package probe

import (
	"errors"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// resend is how long a probe waits for its answer before it asks again; the caller's context says when to give up.
const resend = 250 * time.Millisecond

// From says how a probe leaves: all of it is optional.
type From struct {
	Address   netip.Addr // source address; it must be one of the namespace
	Interface string     // SO_BINDTODEVICE
}

// control returns what binds a socket to the interface, in the form of net.Dialer.Control.
func (f From) control(_, _ string, c syscall.RawConn) error {
	if f.Interface == "" {
		return nil
	}
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), f.Interface) }); e != nil {
		return e
	}
	return err
}

// host returns the source address as the net package wants it: empty where none is given.
func (f From) host() string {
	if !f.Address.IsValid() {
		return ""
	}
	return f.Address.String()
}

// network is the net package's name for a protocol over an address's family.
func network(protocol string, ip netip.Addr) string {
	if ip.Is6() {
		return protocol + "6"
	}
	return protocol + "4"
}

// isTimeout says whether an error is a deadline of a socket that passed.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
