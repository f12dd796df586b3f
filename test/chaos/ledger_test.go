package chaos

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// ledger is what a runtime knows of its containers, which is what a pool is held to. Its methods may be used concurrently.
type ledger struct {
	now func() time.Duration // since boot

	mu   sync.Mutex
	live map[string]netip.Addr // what ADD answered
	// unsure are the containers whose last call died or failed: a runtime asks for their DEL.
	unsure   map[string]bool
	released map[netip.Addr]release
	// excused are addresses that were taken away behind everybody's back.
	excused map[netip.Addr]bool
	named   int // containers so far
	trail   []string
}

type release struct {
	by string
	at time.Duration
}

func newLedger(now func() time.Duration) *ledger {
	return &ledger{
		now: now, live: map[string]netip.Addr{}, unsure: map[string]bool{}, released: map[netip.Addr]release{},
		excused: map[netip.Addr]bool{},
	}
}

// did adds to the trail, which a failure prints.
func (l *ledger) did(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trail = append(l.trail, fmt.Sprintf("%12v  ", l.now().Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// lastOf is the end of the trail.
func (l *ledger) lastOf(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trail[max(0, len(l.trail)-n):]
}

func (l *ledger) newID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.named++
	return fmt.Sprint("c", l.named)
}

func (l *ledger) isLive(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, live := l.live[id]
	return live
}

// failed notes that a container's ADD died or failed.
func (l *ledger) failed(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, was := l.live[id]; !was {
		l.unsure[id] = true
	}
}

// granted notes what an ADD answered, unless another has it, or had it just now.
func (l *ledger) granted(t *testing.T, id string, ip netip.Addr, cooldown time.Duration) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, its := range l.live {
		if other != id && its == ip {
			t.Errorf("%s was given %s, which %s has", id, ip, other)
		}
	}
	if before, was := l.live[id]; was && before != ip {
		t.Errorf("%s has %s, and was given %s by another ADD", id, before, ip)
	}
	if last, rested := l.released[ip]; rested && last.by != id && l.now()-last.at < cooldown {
		t.Errorf("%s was given %s, which %s had released %v before", id, ip, last.by, l.now()-last.at)
	}
	l.live[id] = ip
	delete(l.unsure, id)
	delete(l.released, ip)
}

// gone forgets a container whose DEL began at a time.
func (l *ledger) gone(id string, began time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ip, ok := l.live[id]; ok {
		l.released[ip] = release{id, began}
	}
	delete(l.live, id)
	delete(l.unsure, id)
}

// rebooted forgets everybody.
func (l *ledger) rebooted() {
	clear(l.live)
	clear(l.unsure)
	clear(l.released)
}

// known lists the containers that live, and those that one is not sure of.
func (l *ledger) known() []string { return append(ids(l.live), ids(l.unsure)...) }

// ids of a set, in their order, so that a schedule is the same each time.
func ids[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
