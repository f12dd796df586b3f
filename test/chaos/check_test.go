package chaos

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/vpcsim"
)

// snapshot is what store and cloud say at a moment.
type snapshot struct {
	addresses []store.Address
	enis      []store.ENI
	counts    map[string]store.Counts
	intents   []store.Intent
	cloud     map[netip.Addr]supply.Place // of each secondary address that is attached
}

func (a *account) snapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{counts: map[string]store.Counts{}, cloud: map[netip.Addr]supply.Place{}}
	for _, e := range a.ENIs(a.instanceID) {
		if e.State != vpcsim.Attached {
			continue
		}
		for _, ip := range e.Secondary {
			s.cloud[ip] = supply.Place{ENI: e.ID}
		}
		for _, p := range e.Prefixes {
			for ip := range store.AddressesIn(p) {
				s.cloud[ip] = supply.Place{ENI: e.ID, Prefix: p}
			}
		}
	}
	err := a.update(t.Context(), func(tx *store.Tx) (err error) {
		if s.addresses, err = tx.Addresses(); err != nil {
			return err
		}
		if s.intents, err = tx.Intents(); err != nil {
			return err
		}
		if s.enis, err = tx.ENIs(); err != nil {
			return err
		}
		for _, e := range s.enis {
			if s.counts[e.ID], err = tx.Counts(e.ID, family.IPv4); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check looks for what must never be.
func (a *account) check(t *testing.T) snapshot {
	t.Helper()
	s := a.snapshot(t)
	maps.DeleteFunc(a.away, func(eni string, _ bool) bool { return a.attached(eni) })
	a.checkCounts(t, s)
	held := map[string]store.Address{}
	for _, x := range s.addresses {
		if x.State == store.Assigned {
			a.checkOwner(t, x, held)
		}
		switch {
		case a.away[x.ENI]: // EC2 assigns to an ENI that is attached to nothing, too
			a.excused[x.IP] = true
		case s.cloud[x.IP].ENI == x.ENI:
			delete(a.excused, x.IP)
		}
	}
	for _, id := range ids(a.live) {
		x, ok := held[id]
		switch ip := a.live[id]; {
		case !ok || x.IP != ip:
			t.Errorf("%s was given %s, and the store has %v for it", id, ip, x.IP)
		case s.cloud[ip].ENI != x.ENI && !a.excused[ip]:
			t.Errorf("%s has %s of %s, which in the cloud is of %v", id, ip, x.ENI, s.cloud[ip])
		}
	}
	return s
}

// checkCounts compares the store's counts of each ENI with its addresses.
func (a *account) checkCounts(t *testing.T, s snapshot) {
	t.Helper()
	counted, prefixes := map[string]store.Counts{}, map[supply.Place]store.Counts{}
	for _, x := range s.addresses {
		counted[x.ENI] = plus(counted[x.ENI], x.State)
		if place := (supply.Place{ENI: x.ENI, Prefix: x.Prefix}); x.Prefix.IsValid() {
			prefixes[place] = plus(prefixes[place], x.State)
		}
	}
	for place, n := range prefixes {
		c := counted[place.ENI]
		c.Prefixes++
		c.InPrefixes += n.Total()
		if n.Free == pool.PrefixSize {
			c.FreePrefixes++
		} else {
			c.Scattered += n.Free
		}
		counted[place.ENI] = c
	}
	for _, e := range s.enis {
		got, want := s.counts[e.ID], counted[e.ID]
		got.Changed = 0
		if got != want {
			t.Errorf("%s counts %+v, and has %+v", e.ID, got, want)
		}
		delete(counted, e.ID)
	}
	for eni, c := range counted {
		t.Errorf("%+v of %s, which is not in the store", c, eni)
	}
}

// plus counts one more address.
func plus(n store.Counts, s store.State) store.Counts {
	switch s {
	case store.Free:
		n.Free++
	case store.Cooling:
		n.Cooling++
	case store.Releasing:
		n.Releasing++
	case store.Assigned:
		n.Assigned++
	}
	return n
}

func (a *account) checkOwner(t *testing.T, x store.Address, held map[string]store.Address) {
	t.Helper()
	if x.Owner == nil {
		t.Errorf("%s is assigned to nobody", x.IP)
		return
	}
	id := x.Owner.ContainerID
	if other, twice := held[id]; twice {
		t.Errorf("%s has %s and %s", id, other.IP, x.IP)
	}
	held[id] = x
	if _, live := a.live[id]; !live && !a.unsure[id] {
		t.Errorf("%s is %s's, which is gone", x.IP, id)
	}
}

// thawing says whether addresses cool down that nobody makes free.
func thawing(s snapshot) bool {
	for _, a := range s.addresses {
		if a.State == store.Cooling || a.State == store.Releasing {
			return true
		}
	}
	return false
}

// agree compares cloud and store. What containers hold that was taken away is theirs until they go.
func (a *account) agree(t *testing.T) {
	t.Helper()
	s := a.snapshot(t)
	if len(s.intents) > 0 {
		t.Errorf("left open: %+v", s.intents)
	}
	managed := map[string]bool{}
	for _, e := range s.enis {
		managed[e.ID] = true
	}
	for _, x := range s.addresses {
		if s.cloud[x.IP] != (supply.Place{ENI: x.ENI, Prefix: x.Prefix}) && (x.State != store.Assigned || !a.excused[x.IP]) {
			t.Errorf("the store has %s (%s) on %s %v, the cloud on %v", x.IP, x.State, x.ENI, x.Prefix, s.cloud[x.IP])
		}
		delete(s.cloud, x.IP)
	}
	for ip, place := range s.cloud {
		if managed[place.ENI] {
			t.Errorf("the cloud has %s on %v, and the store does not know", ip, place)
		}
	}
}
