package probe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long RoundTrips waits for each answer.
const patience = time.Second

// RoundTrips pings an IPv4 address so often, one after the other, and returns how long each took. It asks the kernel for the
// answer again and again, where Ping sleeps until there is one: waking up takes longer than a path within the machine. An
// answer that does not come is an error.
func RoundTrips(dst netip.Addr, count int) (times []time.Duration, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, fmt.Errorf("ping %s: %w", dst, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	to := &unix.SockaddrInet4{Addr: dst.As4()}
	message := echo{id: uint16(rand.Uint32()), payload: make([]byte, 56)} // as much as ping(8) sends
	b := make([]byte, 1500)
	for range count {
		message.seq++
		request := message.request()
		sent := time.Now()
		if err := unix.Sendto(fd, request, 0, to); err != nil {
			return times, fmt.Errorf("ping %s: %w", dst, err)
		}
		for answered := false; !answered; {
			n, _, err := unix.Recvfrom(fd, b, 0)
			switch {
			case err == nil:
				a, ok := parseAnswer(b[:n])
				answered = ok && a.kind == EchoReply && a.id == message.id && a.seq == message.seq
			case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
				return times, fmt.Errorf("ping %s: %w", dst, err)
			case time.Since(sent) > patience:
				return times, fmt.Errorf("ping %s: no answer to request %d within %s", dst, message.seq, patience)
			}
		}
		times = append(times, time.Since(sent))
	}
	return times, nil
}
