package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
)

// snapshot is what the store says at a moment.
type snapshot struct {
	now       int64 // nanoseconds since boot
	node      store.Node
	known     bool // node is
	enis      []store.ENI
	counts    map[family.Family]map[string]store.Counts // by ENI
	addresses []store.Address
	ranges    []prefixUse
	rests     map[string]store.Rest
	intents   []store.Intent
	failure   store.Failure
	failed    bool // failure is one
}

// look reads the store. One that is not there yet is an empty one.
func look(ctx context.Context, at *store.Store) (*snapshot, error) {
	s := &snapshot{}
	err := at.View(ctx, s.read)
	if errors.Is(err, store.ErrNoStore) {
		err = nil
	}
	s.now = int64(store.SinceBoot())
	return s, err
}

func (s *snapshot) read(tx *store.Tx) error {
	var errs [6]error
	s.node, s.known, errs[0] = tx.Node()
	s.enis, errs[1] = tx.ENIs()
	s.addresses, errs[2] = tx.Addresses()
	s.rests, errs[3] = tx.Rests()
	s.intents, errs[4] = tx.Intents()
	s.failure, s.failed, errs[5] = tx.LastFailure()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	var err error
	s.counts, err = tx.AllCounts(s.enis)
	return errors.Join(err, s.readRanges(tx))
}

func (s *snapshot) readRanges(tx *store.Tx) error {
	all, err := tx.Ranges()
	for _, r := range all {
		if err != nil {
			return err
		}
		var n store.Counts
		n, err = tx.RangeCounts(r)
		s.ranges = append(s.ranges, prefixUse{r.Prefix, r.ENI, n.Free, n.Assigned, n.Cooling, n.Releasing})
	}
	return err
}

// eni returns the ENI of an ID; false where the store has none.
func (s *snapshot) eni(id string) (store.ENI, bool) {
	i := slices.IndexFunc(s.enis, func(e store.ENI) bool { return e.ID == id })
	if i < 0 {
		return store.ENI{}, false
	}
	return s.enis[i], true
}

// needed says whether a container has, or had, an address of the ENI, so that eni-ptp has prepared it.
func (s *snapshot) needed(e store.ENI) bool {
	return e.IfIndex != 0 || slices.ContainsFunc(s.assigned(), func(a store.Address) bool { return a.ENI == e.ID })
}

// familiesOf returns the families that matter to a host with the addresses: IPv4 in any case, and first.
func familiesOf(addresses []store.Address) []family.Family {
	if slices.ContainsFunc(addresses, func(a store.Address) bool { return family.Of(a.IP) == family.IPv6 }) {
		return family.All()
	}
	return []family.Family{family.IPv4}
}

// prefixUse is a prefix of an ENI, and how many of its addresses are in which state.
type prefixUse struct {
	Prefix    netip.Prefix `json:"prefix"`
	ENI       string       `json:"eni"`
	Free      int          `json:"free"`
	Assigned  int          `json:"assigned"`
	Cooling   int          `json:"cooling"`
	Releasing int          `json:"releasing"`
}

func (p prefixUse) total() int { return p.Free + p.Assigned + p.Cooling + p.Releasing }

func (p prefixUse) size() int { return 1 << (p.Prefix.Addr().BitLen() - p.Prefix.Bits()) }

// prefixesOf returns the prefixes that addresses are of, in their order, but no ranges: not all of theirs have a record.
func prefixesOf(addresses []store.Address) []prefixUse {
	all := []prefixUse{}
	at := map[supply.Place]int{}
	for _, a := range addresses {
		if !a.Prefix.IsValid() || a.Ranged() {
			continue
		}
		place := supply.Place{ENI: a.ENI, Prefix: a.Prefix}
		i, known := at[place]
		if !known {
			i = len(all)
			at[place] = i
			all = append(all, prefixUse{Prefix: a.Prefix, ENI: a.ENI})
		}
		switch a.State {
		case store.Free:
			all[i].Free++
		case store.Assigned:
			all[i].Assigned++
		case store.Cooling:
			all[i].Cooling++
		case store.Releasing:
			all[i].Releasing++
		}
	}
	return all
}

// assigned returns the addresses that have an owner.
func (s *snapshot) assigned() []store.Address {
	var owned []store.Address
	for _, a := range s.addresses {
		if a.State == store.Assigned && a.Owner != nil {
			owned = append(owned, a)
		}
	}
	return owned
}

// address returns the record of an address; false where the store has none.
func (s *snapshot) address(ip netip.Addr) (store.Address, bool) {
	i := slices.IndexFunc(s.addresses, func(a store.Address) bool { return a.IP == ip })
	if i < 0 {
		return store.Address{}, false
	}
	return s.addresses[i], true
}

// rangeOf returns the range that is a prefix; false where the store has none.
func (s *snapshot) rangeOf(p netip.Prefix) (prefixUse, bool) {
	i := slices.IndexFunc(s.ranges, func(r prefixUse) bool { return r.Prefix == p })
	if i < 0 {
		return prefixUse{}, false
	}
	return s.ranges[i], true
}
