// Package nlsock is a netlink socket on which many requests are one send. The libraries for netlink send one at a time and wait for
// its answer, by way of Go's poller, where the kernel has answered before the send is over.
package nlsock

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInterrupted says that what a dump lists changed between two of its messages: something may be in it twice, or missing.
var ErrInterrupted = errors.New("the list changed while the kernel made it")

const (
	// atOnce bounds the messages of a send, whose refusals have to find room in the socket's buffer.
	atOnce = 64
	// room is that for what the kernel sends at once, which is 32 KiB at most (netlink_dump, net/netlink/af_netlink.c).
	// Of a new buffer only what is written to takes memory.
	room = 64 << 10
)

// Conn is a socket of one of netlink's protocols, in one network namespace. It is for one goroutine.
type Conn struct {
	fd  int
	seq uint32
	out []byte
	in  []byte
}

// Dial opens a socket of a protocol (NETLINK_…) in the calling thread's namespace, which hears the news of the groups.
func Dial(protocol int, groups uint32) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	for _, option := range []int{
		unix.NETLINK_CAP_ACK,        // a refusal does not repeat the request
		unix.NETLINK_EXT_ACK,        // and has words
		unix.NETLINK_GET_STRICT_CHK, // a dump is of what was asked for alone
	} {
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1) // kernels before 4.20 do not have them all, and can do without
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind netlink: %w", err)
	}
	return &Conn{fd: fd, in: make([]byte, room)}, nil
}

// Close closes the socket.
func (c *Conn) Close() { _ = unix.Close(c.fd) }

// Answer is what came back for one request: a message's body where it asked for one, or an error.
type Answer struct {
	Body []byte
	Err  error
}

// Exchange sends the requests, which the kernel carries out one after the other: each of them, whatever became of those before. The
// answers are in their order. The error is that of the exchange itself; what was carried out is unknown then.
func (c *Conn) Exchange(requests ...Request) ([]Answer, error) {
	answers := make([]Answer, 0, len(requests))
	for len(requests) > 0 {
		n := min(atOnce, len(requests))
		some, err := c.exchange(requests[:n])
		if err != nil {
			return nil, err
		}
		answers = append(answers, some...)
		requests = requests[n:]
	}
	return answers, nil
}

// exchange has only the last of the requests acknowledged: what is not refused before was carried out.
func (c *Conn) exchange(requests []Request) ([]Answer, error) {
	last := len(requests) - 1
	first := c.number(requests, func(i int) bool { return i == last && !requests[i].Replies })
	answers := make([]Answer, len(requests))
	var refusal error
	err := c.answers(first, len(requests), func(i int, a Answer) (over bool) {
		answers[i] = a
		refusal = cmp.Or(refusal, a.Err)
		return i == last
	})
	if err != nil { // as where nfnetlink refuses who is not root, in one answer for all
		return nil, cmp.Or(refusal, err)
	}
	return answers, nil
}

// Transact sends requests that the kernel carries out all together or not at all, between two that say where they begin and end. The
// error is the refusal of the first that was refused.
func (c *Conn) Transact(begin Request, requests []Request, end Request) error {
	all := append(append([]Request{begin}, requests...), end)
	first := c.number(all, func(i int) bool { return i > 0 && i <= len(requests) })
	var refusal error
	err := c.answers(first, len(all), func(i int, a Answer) (over bool) {
		refusal = cmp.Or(refusal, a.Err)
		return i == len(requests) || i == 0 && a.Err != nil // the whole of it is refused at its beginning
	})
	return cmp.Or(refusal, err) // want of memory is told of the first request alone (nfnetlink_rcv_batch, net/netfilter/nfnetlink.c)
}

// number puts the requests into what is sent next, and returns the number of the first.
func (c *Conn) number(requests []Request, acknowledged func(i int) bool) uint32 {
	first := c.seq + 1
	c.out = c.out[:0]
	for i, r := range requests {
		var flags uint16
		if acknowledged(i) {
			flags = unix.NLM_F_ACK
		}
		c.seq++
		c.out = r.appendTo(c.out, flags, c.seq)
	}
	return first
}

// answers sends what is to be sent, and gives the answers to take until that says that they are over: those to the n requests that
// are numbered from first on.
func (c *Conn) answers(first uint32, n int, take func(i int, a Answer) (over bool)) (err error) {
	if err := c.send(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.drain()
		}
	}()
	for {
		messages, err := c.receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			i := m.seq - first
			if i >= uint32(n) { // of an exchange that failed
				continue
			}
			var a Answer
			if m.kind == unix.NLMSG_ERROR {
				a.Err = m.verdict()
			} else {
				a.Body = append([]byte(nil), m.body...)
			}
			if take(int(i), a) {
				return nil
			}
		}
	}
}

// Cookie returns the number of the socket's network namespace, which no other has or had since the machine was started; the error is
// ENOPROTOOPT before Linux 5.14.
func (c *Conn) Cookie() (uint64, error) {
	return unix.GetsockoptUint64(c.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// Do sends one request, and returns the body of the answer, if it asked for one.
func (c *Conn) Do(r Request) ([]byte, error) {
	answers, err := c.Exchange(r)
	if err != nil {
		return nil, err
	}
	return answers[0].Body, answers[0].Err
}

// Dump calls each with the body of every message of a list, which is valid for that call. The error is ErrInterrupted where the list
// may be wrong, however much of it was seen.
func (c *Conn) Dump(r Request, each func(body []byte) error) error {
	c.seq++
	c.out = r.appendTo(c.out[:0], unix.NLM_F_DUMP, c.seq)
	if err := c.send(); err != nil {
		return err
	}
	var failed error // the rest has to be read all the same
	for {
		messages, err := c.receive()
		if err != nil {
			c.drain()
			return err
		}
		for _, m := range messages {
			if m.seq != c.seq {
				continue
			}
			if m.flags&unix.NLM_F_DUMP_INTR != 0 && failed == nil {
				failed = ErrInterrupted
			}
			switch {
			case m.kind == unix.NLMSG_ERROR, m.kind == unix.NLMSG_DONE:
				return errors.Join(m.verdict(), failed)
			case failed == nil:
				failed = each(m.body)
			}
		}
	}
}

// attempts bounds the repetition of an interrupted dump. One is interrupted when the table changes between two of its messages, so
// that only a storm of changes to a long table interrupts several in a row.
const attempts = 32

// List returns what a dump has, as read takes it, which leaves out what it does not find worth it. A dump that was interrupted is
// repeated.
func List[T any](c *Conn, r Request, read func(body []byte) (T, bool, error)) ([]T, error) {
	var err error
	for range attempts {
		var all []T
		err = c.Dump(r, func(body []byte) error {
			one, wanted, err := read(body)
			if wanted {
				all = append(all, one)
			}
			return err
		})
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, ErrInterrupted) {
			break
		}
	}
	return nil, err
}

// Await waits until the deadline for news of the groups that is wanted, by a message's body, and says whether there was any. What is
// lost for want of room may have been.
func (c *Conn) Await(deadline time.Time, wanted func(body []byte) bool) (bool, error) {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("wait for news: %w", err)
		}
		if n <= 0 {
			continue
		}
		messages, err := c.receive()
		if errors.Is(err, unix.ENOBUFS) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(messages, func(m message) bool { return wanted(m.body) }) {
			return true, nil
		}
	}
}

// drain reads what is left of an exchange that failed: a socket that has no room for its answers gets none of the next either, and one
// with a dump unread makes no other.
func (c *Conn) drain() {
	for range 16 * atOnce { // more than the buffer takes
		if _, err := c.receive(); errors.Is(err, unix.EAGAIN) {
			return
		}
	}
}

func (c *Conn) send() error {
	for {
		err := unix.Sendto(c.fd, c.out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("send to netlink: %w", err)
		}
		return nil
	}
}

// receive reads what there is. The kernel has answered when a send is over, or goes on with a dump as it is read, so that there is
// nothing to wait for (netlink_unicast_kernel, net/netlink/af_netlink.c).
func (c *Conn) receive() ([]message, error) {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.in, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch sender, _ := from.(*unix.SockaddrNetlink); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("receive from netlink: %w", err)
		case sender != nil && sender.Pid != 0: // not the kernel
			continue
		case n > len(c.in):
			return nil, fmt.Errorf("receive from netlink: %d octets at once: %w", n, unix.EMSGSIZE)
		}
		return split(c.in[:n])
	}
}
