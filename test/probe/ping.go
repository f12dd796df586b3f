package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Reply is the answer to a ping.
type Reply struct {
	From netip.Addr
	RTT  time.Duration
	TTL  int // what was left of the far end's TTL, 64 at its start on Linux
	Sent int // how many requests it took
}

// Ping asks dst for an echo until it answers or ctx ends. An ICMP error about the request ends it at once.
func Ping(ctx context.Context, dst netip.Addr, from From) (Reply, error) {
	p, err := newPinger(ctx, dst, from)
	if err != nil {
		return Reply{}, fmt.Errorf("ping %s: %w", dst, err)
	}
	defer func() { _ = p.conn.Close() }() // nothing is buffered
	for sent := 1; ; sent++ {
		a, rtt, err := p.ask(ctx, 0)
		switch {
		case err == nil && a.kind == EchoReply:
			return Reply{From: a.from, RTT: rtt, TTL: a.ttl, Sent: sent}, nil
		case err == nil:
			return Reply{}, fmt.Errorf("ping %s: %s answered ICMP type %d code %d", dst, a.from, a.kind, a.code)
		case ctx.Err() != nil:
			return Reply{}, fmt.Errorf("ping %s: no answer to %d requests: %w", dst, sent, ctx.Err())
		case !errors.Is(err, errSilent):
			return Reply{}, fmt.Errorf("ping %s: %w", dst, err)
		}
	}
}

// errSilent says that nothing came back for one request.
var errSilent = errors.New("no answer")

// pinger is a raw ICMP socket that asks one destination.
type pinger struct {
	conn *net.IPConn
	dst  *net.IPAddr
	id   uint16
	seq  uint16
	six  bool
}

func newPinger(ctx context.Context, dst netip.Addr, from From) (*pinger, error) {
	lc := net.ListenConfig{Control: from.control}
	local := from.host()
	protocol, unspecified := "ip4:icmp", "0.0.0.0"
	if dst.Is6() {
		protocol, unspecified = "ip6:ipv6-icmp", "::"
	}
	c, err := lc.ListenPacket(ctx, protocol, cmp.Or(local, unspecified))
	if err != nil {
		return nil, err
	}
	p := &pinger{conn: c.(*net.IPConn), dst: &net.IPAddr{IP: dst.AsSlice(), Zone: dst.Zone()}, id: uint16(rand.Uint32()), six: dst.Is6()}
	if p.six {
		if err := p.set(unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1); err != nil {
			return nil, errors.Join(fmt.Errorf("ask for hop limits: %w", err), c.Close())
		}
	}
	return p, nil
}

// ask sends one request with the TTL given, 0 being the namespace's own, and waits for its answer. It returns errSilent
// when resend has passed or ctx has ended.
func (p *pinger) ask(ctx context.Context, ttl int) (answer, time.Duration, error) {
	if ttl > 0 {
		if err := p.setTTL(ttl); err != nil {
			return answer{}, 0, fmt.Errorf("set TTL %d: %w", ttl, err)
		}
	}
	p.seq++
	message := echo{id: p.id, seq: p.seq, payload: make([]byte, 56)} // as much as ping(8) sends
	sent := time.Now()
	deadline := sent.Add(resend)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := p.conn.SetDeadline(deadline); err != nil {
		return answer{}, 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(time.Now()) }) // a closed socket waits for nothing
	defer stop()
	request := message.request
	if p.six {
		request = message.request6
	}
	if _, err := p.conn.WriteTo(request(), p.dst); err != nil {
		return p.sendFailed(ctx, deadline, err)
	}
	a, err := p.read()
	return a, time.Since(sent), err
}

// sendFailed waits as for an answer where the route may yet come, and gives up otherwise.
func (p *pinger) sendFailed(ctx context.Context, deadline time.Time, err error) (answer, time.Duration, error) {
	if !errors.Is(err, syscall.EHOSTUNREACH) && !isTimeout(err) {
		return answer{}, 0, err
	}
	// A neighbour that did not answer ARP fails the write; the next attempt asks for it again.
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return answer{}, 0, errSilent
}

// read waits for the answer to the last request; others' packets come by, since the socket sees all ICMP.
func (p *pinger) read() (answer, error) {
	b, oob := make([]byte, 1<<16), make([]byte, 64)
	for {
		n, oobn, _, from, err := p.conn.ReadMsgIP(b, oob) // ReadMsgIP leaves the IPv4 header on
		if isTimeout(err) {
			return answer{}, errSilent
		}
		if err != nil {
			return answer{}, err
		}
		a, ok := p.parse(b[:n], oob[:oobn], from)
		if ok && a.id == p.id && a.seq == p.seq {
			return a, nil
		}
	}
}

func (p *pinger) parse(b, oob []byte, from *net.IPAddr) (answer, bool) {
	if !p.six {
		return parseAnswer(b)
	}
	ip, ok := netip.AddrFromSlice(from.IP)
	if !ok {
		return answer{}, false
	}
	return parseAnswer6(b, ip, hopLimit(oob))
}

func (p *pinger) setTTL(ttl int) error {
	if p.six {
		return p.set(unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
	}
	return p.set(unix.IPPROTO_IP, unix.IP_TTL, ttl)
}

// set sets an option of the socket.
func (p *pinger) set(level, option, value int) error {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) }); e != nil {
		return e
	}
	return err
}
