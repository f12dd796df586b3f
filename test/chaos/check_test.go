package chaos

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/vpcsim"
)

// snapshot is what store and cloud say at a moment.
type snapshot struct {
	addresses []store.Address
	enis      []store.ENI
	ranges    []store.Range
	counts    map[poolOf]store.Counts
	intents   []store.Intent
	cloud     supply.Whereabouts // of each secondary address that is attached
}

// poolOf is an ENI's addresses of a family.
type poolOf struct {
	eni string
	family.Family
}

// knows says whether the store has an address.
func (s snapshot) knows(ip netip.Addr) bool {
	return slices.ContainsFunc(s.addresses, func(x store.Address) bool { return x.IP == ip }) ||
		slices.ContainsFunc(s.ranges, func(r store.Range) bool { return r.Prefix.Contains(ip) })
}

// inCloud says where the cloud has an address; the zero Place is nowhere.
func (s snapshot) inCloud(ip netip.Addr) supply.Place {
	place, _ := s.cloud.Of(ip)
	return place
}

func (a *account) snapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{counts: map[poolOf]store.Counts{}}
	var attached []cloud.ENI
	for _, e := range a.ENIs(a.instanceID) {
		if e.State == vpcsim.Attached {
			attached = append(attached, cloud.ENI{ID: e.ID, Addresses: e.Secondary, IPv6: e.IPv6, Prefixes: slices.Concat(e.Prefixes, e.Prefixes6)})
		}
	}
	s.cloud = supply.Places(attached)
	err := a.update(t.Context(), func(tx *store.Tx) (err error) {
		if s.addresses, err = tx.Addresses(); err != nil {
			return err
		}
		if s.ranges, err = tx.Ranges(); err != nil {
			return err
		}
		if s.intents, err = tx.Intents(); err != nil {
			return err
		}
		if s.enis, err = tx.ENIs(); err != nil {
			return err
		}
		for _, e := range s.enis {
			for _, f := range family.All() {
				if s.counts[poolOf{e.ID, f}], err = tx.Counts(e.ID, f); err != nil {
					return err
				}
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
	held := map[string][]store.Address{}
	for _, x := range s.addresses {
		if x.State == store.Assigned {
			a.checkOwner(t, x, held)
		}
		switch {
		case a.away[x.ENI]: // EC2 assigns to an ENI that is attached to nothing, too
			a.excused.add(x.IP)
		case s.inCloud(x.IP).ENI == x.ENI:
			delete(a.excused, layout.Host(x.IP))
		}
	}
	for _, r := range s.ranges {
		switch {
		case a.away[r.ENI]:
			a.excused.addPrefixes(r.Prefix)
		case s.cloud.Ranges[r.Prefix] == r.ENI:
			delete(a.excused, r.Prefix)
		}
	}
	for _, id := range ids(a.live) {
		a.checkLive(t, id, held[id], s)
	}
	return s
}

// checkLive compares what a container was given with what the store has it hold, and with the cloud.
func (a *account) checkLive(t *testing.T, id string, held []store.Address, s snapshot) {
	t.Helper()
	given := addresses{}
	given.add(a.live[id]...)
	for _, x := range held {
		switch place := s.inCloud(x.IP); {
		case !given.has(x.IP):
			t.Errorf("%s was given %v, and holds %s too", id, a.live[id], x.IP)
		case place.ENI != x.ENI && !a.excused.has(x.IP):
			t.Errorf("%s has %s of %s, which in the cloud is of %v", id, x.IP, x.ENI, place)
		}
		delete(given, layout.Host(x.IP))
	}
	for p := range given {
		t.Errorf("%s was given %s, which it does not hold", id, p.Addr())
	}
}

// checkCounts compares the store's counts of each ENI with its addresses.
func (a *account) checkCounts(t *testing.T, s snapshot) {
	t.Helper()
	counted := map[poolOf]store.Counts{}
	for _, x := range s.addresses {
		if of := (poolOf{x.ENI, family.Of(x.IP)}); !x.Prefix.IsValid() {
			counted[of] = plus(counted[of], x.State, 1)
		}
	}
	for place, n := range s.prefixes() {
		of, size := poolOf{place.ENI, family.Of(place.Prefix.Addr())}, pool.PrefixSize
		if of.Family == family.IPv6 {
			size = store.RangeSize
		}
		c := counted[of]
		c = store.Counts{
			Free: c.Free + n.Free, Assigned: c.Assigned + n.Assigned, Cooling: c.Cooling + n.Cooling, Releasing: c.Releasing + n.Releasing,
			Prefixes: c.Prefixes + 1, InPrefixes: c.InPrefixes + n.Total(), FreePrefixes: c.FreePrefixes, Scattered: c.Scattered,
		}
		if n.Free == size {
			c.FreePrefixes++
		} else {
			c.Scattered += n.Free
		}
		counted[of] = c
	}
	for of, got := range s.counts {
		got.Changed = 0
		if got != counted[of] {
			t.Errorf("%v counts %+v, and has %+v", of, got, counted[of])
		}
		delete(counted, of)
	}
	for of, c := range counted {
		t.Errorf("%+v of %v, which is not in the store", c, of)
	}
}

// prefixes counts the addresses of each, those without a record too.
func (s snapshot) prefixes() map[supply.Place]store.Counts {
	all := map[supply.Place]store.Counts{}
	for _, x := range s.addresses {
		if place := (supply.Place{ENI: x.ENI, Prefix: x.Prefix}); x.Prefix.IsValid() {
			all[place] = plus(all[place], x.State, 1)
		}
	}
	for _, r := range s.ranges {
		place, unused := supply.Place{ENI: r.ENI, Prefix: r.Prefix}, store.Free
		if r.Releasing || r.Lost {
			unused = store.Releasing
		}
		all[place] = plus(all[place], unused, store.RangeSize-all[place].Total())
	}
	return all
}

// plus counts more addresses.
func plus(n store.Counts, s store.State, more int) store.Counts {
	switch s {
	case store.Free:
		n.Free += more
	case store.Cooling:
		n.Cooling += more
	case store.Releasing:
		n.Releasing += more
	case store.Assigned:
		n.Assigned += more
	}
	return n
}

func (a *account) checkOwner(t *testing.T, x store.Address, held map[string][]store.Address) {
	t.Helper()
	if x.Owner == nil {
		t.Errorf("%s is assigned to nobody", x.IP)
		return
	}
	id := x.Owner.ContainerID
	for _, other := range held[id] {
		if family.Of(other.IP) == family.Of(x.IP) {
			t.Errorf("%s has %s and %s", id, other.IP, x.IP)
		}
	}
	held[id] = append(held[id], x)
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
	return slices.ContainsFunc(s.ranges, func(r store.Range) bool { return r.Releasing })
}

// agree compares cloud and store. What containers hold that was taken away is theirs until they go, and what others gave of
// a family that the network does not give is none of its business.
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
		if place := s.inCloud(x.IP); place != (supply.Place{ENI: x.ENI, Prefix: x.Prefix}) && (x.State != store.Assigned || !a.excused.has(x.IP)) {
			t.Errorf("the store has %s (%s) on %s %v, the cloud on %v", x.IP, x.State, x.ENI, x.Prefix, place)
		}
		delete(s.cloud.Listed, x.IP)
	}
	prefixes := s.prefixes()
	for _, r := range s.ranges {
		inUse := prefixes[supply.Place{ENI: r.ENI, Prefix: r.Prefix}].Assigned > 0
		if eni := s.cloud.Ranges[r.Prefix]; (eni == r.ENI) == r.Lost || eni != r.ENI && !inUse {
			t.Errorf("the store has %+v, in use %v, and the cloud has it on %q", r, inUse, eni)
		}
		delete(s.cloud.Ranges, r.Prefix)
	}
	given := func(ip netip.Addr) bool { return slices.Contains(a.conf.Families, family.Of(ip)) || !a.gave.has(ip) }
	for ip, place := range s.cloud.Listed {
		if managed[place.ENI] && given(ip) {
			t.Errorf("the cloud has %s on %v, and the store does not know", ip, place)
		}
	}
	for p, eni := range s.cloud.Ranges {
		if managed[eni] && given(p.Addr()) {
			t.Errorf("the cloud has %s on %v, and the store does not know", p, eni)
		}
	}
}
