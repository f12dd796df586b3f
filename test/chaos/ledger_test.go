package chaos

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

// addresses is a set of them, of which those with a common prefix that are too many to list are one. It has the prefixes.
type addresses map[netip.Prefix]bool

func (a addresses) add(ips ...netip.Addr) {
	for _, ip := range ips {
		a[layout.Host(ip)] = true
	}
}

func (a addresses) addPrefixes(all ...netip.Prefix) {
	for _, p := range all {
		listed := slices.Collect(store.AddressesIn(p))
		a.add(listed...)
		if len(listed) == 0 {
			a[p] = true
		}
	}
}

func (a addresses) has(ip netip.Addr) bool {
	for p := range a {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// hasSome says whether one of them is in the set.
func (a addresses) hasSome(ips []netip.Addr) bool { return slices.ContainsFunc(ips, a.has) }

// ledger is what a runtime knows of its containers, which is what a pool is held to. Its methods may be used concurrently.
type ledger struct {
	now func() time.Duration // since boot

	mu   sync.Mutex
	live map[string][]netip.Addr // what ADD answered
	// unsure are the containers whose last call died or failed: a runtime asks for their DEL.
	unsure   map[string]bool
	released map[netip.Addr]release
	// excused are addresses that were taken away behind everybody's back.
	excused addresses
	named   int // containers so far
	trail   []string
}

type release struct {
	by string
	at time.Duration
}

func newLedger(now func() time.Duration) *ledger {
	return &ledger{
		now: now, live: map[string][]netip.Addr{}, unsure: map[string]bool{}, released: map[netip.Addr]release{},
		excused: addresses{},
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

// failed notes that a container's ADD died or failed.
func (l *ledger) failed(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, was := l.live[id]; !was {
		l.unsure[id] = true
	}
}

// granted notes what an ADD answered, unless another has it, or had it just now. It is an address of each family that the
// configuration gives, and of others what the container had before.
func (l *ledger) granted(t *testing.T, id string, ips []netip.Addr, conf *netconf.IPAM) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkFamilies(t, id, ips, conf.Families)
	for _, ip := range l.live[id] {
		if !slices.Contains(ips, ip) {
			t.Errorf("%s has %s, and was given %v by another ADD", id, ip, ips)
		}
	}
	for _, ip := range ips {
		l.checkFree(t, id, ip, time.Duration(*conf.Cooldown))
		delete(l.released, ip)
	}
	l.live[id] = ips
	delete(l.unsure, id)
}

// checkFamilies says whether the addresses are one of each of the families, and of others only what there was before.
func (l *ledger) checkFamilies(t *testing.T, id string, ips []netip.Addr, families []family.Family) {
	t.Helper()
	for _, f := range family.All() {
		of := func(ip netip.Addr) bool { return family.Of(ip) == f }
		n := len(slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return !of(ip) }))
		given := slices.Contains(families, f)
		if n > 1 || n < 1 && given || n > 0 && !given && !l.unsure[id] && !slices.ContainsFunc(l.live[id], of) {
			t.Errorf("%s was given %v, where the network gives %v", id, ips, families)
		}
	}
}

// checkFree says whether nobody else has an address, or had it just now.
func (l *ledger) checkFree(t *testing.T, id string, ip netip.Addr, cooldown time.Duration) {
	t.Helper()
	for other, its := range l.live {
		if other != id && slices.Contains(its, ip) {
			t.Errorf("%s was given %s, which %s has", id, ip, other)
		}
	}
	if last, rested := l.released[ip]; rested && last.by != id && l.now()-last.at < cooldown {
		t.Errorf("%s was given %s, which %s had released %v before", id, ip, last.by, l.now()-last.at)
	}
}

// gone forgets a container whose DEL began at a time.
func (l *ledger) gone(id string, began time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended(id, began)
	delete(l.unsure, id)
}

// ended is gone where the DEL came to nothing, or may have.
func (l *ledger) ended(id string, began time.Duration) {
	for _, ip := range l.live[id] {
		l.released[ip] = release{id, began}
	}
	delete(l.live, id)
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
