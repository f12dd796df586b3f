// Package netstate brings the kernel to the state that package layout describes, compares the two, and takes it away
// again. It works on one network namespace by a netlink handle and never switches threads between namespaces. Every
// dump goes through one wrapper, which repeats an interrupted one and otherwise fails: half a list is no list.
package netstate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/sandbox"
)

// dumpAttempts bounds the repetition of an interrupted dump. A dump is interrupted when the table changes between two
// of its messages, so that only a storm of changes to a long table interrupts several in a row.
const dumpAttempts = 32

// Handle is one network namespace. It is for one goroutine.
type Handle struct {
	nl       *netlink.Handle
	settings settings
}

// Here returns the handle of the calling thread's namespace.
func Here() (*Handle, error) { return open(netns.None()) }

// At returns the handle of another namespace. Only sysctls cannot be reached by it: /proc/sys/net follows the
// thread, which has to be there.
func At(ns *sandbox.Netns) (*Handle, error) { return open(netns.NsHandle(ns.FD())) }

func open(ns netns.NsHandle) (*Handle, error) {
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &Handle{nl: nl, settings: settings{}}, nil
}

// Close releases the handle.
func (h *Handle) Close() {
	h.nl.Close()
	h.settings.close()
}

// dump calls list until it was not interrupted.
func dump[T any](what string, list func() ([]T, error)) ([]T, error) {
	var err error
	for range dumpAttempts {
		var got []T
		if got, err = list(); err == nil {
			return got, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return nil, fmt.Errorf("list %s: %w", what, err)
}

// gone says whether an error of a removal means that there was nothing to remove.
func gone(err error) bool {
	for _, errno := range []error{unix.ENOENT, unix.ESRCH, unix.ENODEV, unix.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// afOf returns the kernel's number of a family.
func afOf(f family.Family) int {
	if f == family.IPv6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func ipNet(p netip.Prefix) *net.IPNet {
	if !p.IsValid() {
		return nil
	}
	n := netconf.IPNet(p)
	return &n
}

func ip(a netip.Addr) net.IP {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// prefix returns the zero Prefix for nil.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	return netconf.Prefix(*n)
}
