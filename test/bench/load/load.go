// Package load loads a path between two network namespaces and measures it: packets per second, connections per second. (Round
// trips are package probe's.) Sockets are opened in the network namespace of the calling thread (lab.Host.Do). Blocking system calls on one
// thread, and nothing of the Go runtime's own network poller, so that what is measured is the path.
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch is how many packets Flood gives the kernel at once.
const Batch = 64

// payload makes packets of 60 bytes, the least that Ethernet carries.
const payload = 18

// mmsghdr is the kernel's (include/linux/socket.h); x/sys/unix has none.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// Flood sends small UDP packets of one flow, as fast as it can, until so many are sent or the time is over. It returns how
// many the kernel took, and how long that lasted. The kernel carries a packet from veth to veth within the call that sends it.
func Flood(to netip.AddrPort, packets int, limit time.Duration) (sent int, took time.Duration, err error) {
	fd, err := connected(unix.SOCK_DGRAM, to)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var data [payload]byte
	vector := unix.Iovec{Base: &data[0], Len: payload}
	messages := make([]mmsghdr, Batch)
	for i := range messages {
		messages[i].header.Iov = &vector
		messages[i].header.SetIovlen(1)
	}
	began := time.Now()
	for sent < packets && time.Since(began) < limit {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), Batch, 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR, unix.EAGAIN, unix.ENOBUFS:
		default:
			return sent, time.Since(began), fmt.Errorf("send to %s: %w", to, errno)
		}
	}
	return sent, time.Since(began), nil
}

// Received returns how many packets the link has received since it was made.
func Received(link string) (uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, counters, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != link {
			continue
		}
		var octets, packets uint64
		if _, err := fmt.Sscan(counters, &octets, &packets); err != nil {
			return 0, fmt.Errorf("read the counters of %s: %w", link, err)
		}
		return packets, nil
	}
	return 0, fmt.Errorf("there is no link %s", link)
}

// Connects makes TCP connections to a Server, one after the other, until the time is over: connect, a byte there and back, and
// the server's close. It returns how many it made, and how long that lasted.
func Connects(to netip.AddrPort, limit time.Duration) (made int, took time.Duration, err error) {
	began := time.Now()
	for time.Since(began) < limit {
		if err := connect(to); err != nil {
			return made, time.Since(began), fmt.Errorf("connection %d to %s: %w", made+1, to, err)
		}
		made++
	}
	return made, time.Since(began), nil
}

// connect is one connection. The server closes first, so that TIME_WAIT is its own and ports of this end come free at once.
func connect(to netip.AddrPort) (err error) {
	fd, err := connected(unix.SOCK_STREAM, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := again(func() error { _, err := unix.Write(fd, []byte{1}); return err }); err != nil {
		return err
	}
	for got := 0; ; {
		var b [2]byte
		var n int
		if err := again(func() (err error) { n, err = unix.Read(fd, b[:]); return err }); err != nil {
			return err
		}
		if n == 0 {
			if got != 1 {
				return fmt.Errorf("%d bytes came back, not 1", got)
			}
			return nil
		}
		got += n
	}
}

// connected opens a socket and connects it. A connection that nobody answers fails after some seconds.
func connected(kind int, to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	patience := unix.Timeval{Sec: 5}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience), // connect(2) heeds it too
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
	if err == nil {
		address := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
		err = again(func() error { return unix.Connect(fd, address) })
		if errors.Is(err, unix.EALREADY) || errors.Is(err, unix.EISCONN) { // a signal came, and it went on meanwhile
			err = nil
		}
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(fd))
	}
	return fd, nil
}

// again repeats a call that a signal interrupted, as the Go runtime's preemption does.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
