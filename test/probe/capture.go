package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of a capture.
const (
	maxPackets    = 1 << 14
	maxFrame      = 1 << 17 // a GSO frame that a veth carries may be over 64 KiB
	receiveBuffer = 8 << 20
)

// Capture holds what was seen on all interfaces of a network namespace since it was started.
type Capture struct {
	file   *os.File
	raw    syscall.RawConn
	filter func(Packet) bool
	snap   int
	names  map[int32]string // by interface index; used by the reader alone
	stop   sync.Once
	done   chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	seen    []Packet
	lost    int
	changed chan struct{} // closed and replaced when seen grows
	err     error
}

// StartCapture captures on every interface of the calling thread's network namespace, those that come later included; it
// is at work when it returns. Packets for which filter returns false are forgotten; a nil filter keeps all. Filter is
// called for one packet after the other, as they come, and may use its Frame only until it returns. Frames are cut to
// snap bytes in memory, 0 being no cut.
func StartCapture(filter func(Packet) bool, snap int) (*Capture, error) {
	// Protocol 0 receives nothing until bind names one, so no frame comes from before the options were set.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	c := &Capture{
		file: os.NewFile(uintptr(fd), "packet socket"), filter: filter, snap: snap, names: map[int32]string{},
		done: make(chan struct{}), changed: make(chan struct{}),
	}
	if err := c.open(fd); err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	go c.read() // ends at Stop, which waits for it
	return c, nil
}

func (c *Capture) open(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return fmt.Errorf("set the packet socket's buffer: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask the packet socket for times: %w", err)
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all}); err != nil {
		return fmt.Errorf("bind the packet socket: %w", err)
	}
	var err error
	c.raw, err = c.file.SyscallConn()
	return err
}

// Packets returns what was seen so far, in order.
func (c *Capture) Packets() []Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// Lost returns how many packets were not kept because there were more than a capture holds.
func (c *Capture) Lost() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Wait returns the first packet that matches, also one seen before the call, and an error when ctx ends before.
func (c *Capture) Wait(ctx context.Context, match func(Packet) bool) (Packet, error) {
	for from := 0; ; {
		c.mu.Lock()
		seen, changed, err := c.seen, c.changed, c.err
		c.mu.Unlock()
		for _, p := range seen[from:] {
			if match(p) {
				return p, nil
			}
		}
		from = len(seen)
		if err != nil {
			return Packet{}, err
		}
		select {
		case <-changed:
		case <-c.done:
			return Packet{}, errors.New("the capture has ended without such a packet")
		case <-ctx.Done():
			return Packet{}, fmt.Errorf("wait for a packet, %d others seen: %w", from, ctx.Err())
		}
	}
}

// Stop ends the capture and returns all that it saw, packets included that had reached the socket when it was called.
func (c *Capture) Stop() ([]Packet, error) {
	c.stop.Do(func() { _ = c.file.SetReadDeadline(time.Now()) }) // fails only where the reader has ended by itself
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen), c.err
}

// read keeps packets until Stop sets the deadline, then empties the socket.
func (c *Capture) read() {
	defer close(c.done)
	defer func() { _ = c.file.Close() }() // nothing is written to it
	b, oob := make([]byte, maxFrame), make([]byte, 64)
	for {
		var err error
		if e := c.raw.Read(func(fd uintptr) bool {
			err = c.receive(int(fd), b, oob)
			return !errors.Is(err, unix.EAGAIN)
		}); e != nil {
			break // the deadline: Stop was called
		}
		if err != nil && !c.passing(err) {
			return
		}
	}
	_ = c.raw.Control(func(fd uintptr) { // the file is open until this function returns
		for c.receive(int(fd), b, oob) == nil {
		}
	})
}

// passing says whether the capture goes on after an error; others are kept for Stop. An interface that goes down is
// reported as ENETDOWN once, and the others go on.
func (c *Capture) passing(err error) bool {
	if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.EINTR) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("read the packet socket: %w", err)
	return false
}

func (c *Capture) receive(fd int, b, oob []byte) error {
	n, oobn, _, sa, err := unix.Recvmsg(fd, b, oob, unix.MSG_TRUNC)
	if err != nil {
		return err
	}
	from, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return nil
	}
	p := Decode(b[:min(n, len(b))])
	p.Length, p.Time = n, stamp(oob[:oobn])
	p.Interface, p.Outgoing = c.name(fd, int32(from.Ifindex)), from.Pkttype == unix.PACKET_OUTGOING
	if c.filter == nil || c.filter(p) {
		c.keep(p)
	}
	return nil
}

func (c *Capture) keep(p Packet) {
	if c.snap > 0 {
		p.Frame = p.Frame[:min(len(p.Frame), c.snap)]
	}
	p.Frame = slices.Clone(p.Frame)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) == maxPackets {
		c.lost++
		return
	}
	c.seen = append(c.seen, p)
	close(c.changed)
	c.changed = make(chan struct{})
}

// name asks the socket's own namespace for the interface's name, and remembers it for when the interface is gone.
func (c *Capture) name(fd int, index int32) string {
	if name, ok := c.names[index]; ok {
		return name
	}
	name := fmt.Sprintf("if%d", index)
	request, err := unix.NewIfreq("-")
	if err != nil {
		return name
	}
	request.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, request); err == nil {
		name = request.Name()
	}
	c.names[index] = name
	return name
}

// stamp reads the kernel's time of arrival.
func stamp(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			sec, nsec := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return time.Unix(int64(sec), int64(nsec))
		}
	}
	return time.Now()
}
