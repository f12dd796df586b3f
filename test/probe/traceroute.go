package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Hop is one step of a path.
type Hop struct {
	TTL  int
	From netip.Addr // who answered; the zero Addr where nobody did
	RTT  time.Duration
}

// tries is how often a hop is asked before it is taken to be silent.
const tries = 3

// Traceroute finds the path to dst by echo requests of growing TTL. The last hop is dst itself; it is an error where dst
// is not reached within maxHops, and the hops found until then are returned with it.
func Traceroute(ctx context.Context, dst netip.Addr, from From, maxHops int) ([]Hop, error) {
	p, err := newPinger(ctx, dst, from)
	if err != nil {
		return nil, fmt.Errorf("traceroute to %s: %w", dst, err)
	}
	defer func() { _ = p.conn.Close() }() // nothing is buffered
	var hops []Hop
	for ttl := 1; ttl <= maxHops; ttl++ {
		hop, kind, err := p.hop(ctx, ttl)
		if err != nil {
			return hops, fmt.Errorf("traceroute to %s: hop %d: %w", dst, ttl, err)
		}
		hops = append(hops, hop)
		switch kind {
		case EchoReply:
			return hops, nil
		case Unreachable:
			return hops, fmt.Errorf("traceroute to %s: hop %d, %s, has no way there", dst, ttl, hop.From)
		}
	}
	return hops, fmt.Errorf("traceroute to %s: not reached within %d hops", dst, maxHops)
}

// hop asks with one TTL and returns who answered and by which type of ICMP message: TimeExceeded also for silence.
func (p *pinger) hop(ctx context.Context, ttl int) (Hop, uint8, error) {
	for range tries {
		a, rtt, err := p.ask(ctx, ttl)
		if err == nil {
			return Hop{TTL: ttl, From: a.from, RTT: rtt}, a.kind, nil
		}
		if ctx.Err() != nil {
			return Hop{}, 0, ctx.Err()
		}
		if !errors.Is(err, errSilent) {
			return Hop{}, 0, err
		}
	}
	return Hop{TTL: ttl}, TimeExceeded, nil
}
