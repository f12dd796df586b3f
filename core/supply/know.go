package supply

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// knowledge is what the store says at a moment.
type knowledge struct {
	node    store.Node
	enis    []store.ENI
	counts  map[family.Family]map[string]store.Counts // by ENI
	rests   map[string]store.Rest
	intents []store.Intent
	waiting map[family.Family]int // owners
	failure store.Failure
	refused map[string]error // by ENI, or "" for another one: what took nothing in this growth
}

// know reads the store. What has cooled down is free then: it may be all that is lacking, or be too much.
func (s *Supply) know(ctx context.Context) (*knowledge, error) {
	k := &knowledge{}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Thaw(); err != nil {
			return err
		}
		var errs [6]error
		k.node, _, errs[0] = tx.Node()
		k.enis, errs[1] = tx.ENIs()
		k.waiting, errs[2] = tx.Waiting()
		k.intents, errs[3] = tx.Intents()
		k.failure, _, errs[4] = tx.LastFailure()
		k.rests, errs[5] = tx.Rests()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		var err error
		k.counts, err = tx.AllCounts(k.enis)
		return err
	})
	return k, err
}

// idle says for how long nothing has happened to any address of the ENI, and whether one of a family other than f is in use.
func (k *knowledge) idle(eni string, f family.Family, now time.Duration) (idle time.Duration, elsewhere bool) {
	idle = now
	for _, other := range family.All() {
		n := k.counts[other][eni]
		idle = min(idle, now-n.Changed)
		elsewhere = elsewhere || other != f && n.Assigned+n.Cooling+n.Releasing > 0
	}
	return idle, elsewhere
}

// What rests, in the store's words: calls, and new ENIs.
const restAPI, restENIs = "api", "enis"

// restOf is what rests of a family: an ENI, a subnet, or the prefixes of one of them.
func restOf(what string, f family.Family, id string) string {
	if f == family.IPv6 {
		what += "6"
	}
	if id == "" {
		return what
	}
	return what + "/" + id
}

func restOfENI(f family.Family, id string) string { return restOf("eni", f, id) }

// restOfENIs is of new ENIs that a family alone cannot have.
func restOfENIs(f family.Family) string { return restOf(restENIs, f, "") }

func restOfSubnet(f family.Family, id string) string { return restOf("subnet", f, id) }

// restOfPrefixes is of the prefixes of a subnet, of an ENI whose subnet is not known, or of new ENIs where that is empty.
func restOfPrefixes(f family.Family, id string) string { return restOf("prefixes", f, id) }

// prefixesOf is what rests where the ENI gets no prefixes.
func prefixesOf(f family.Family, e store.ENI) string {
	return restOfPrefixes(f, cmp.Or(e.SubnetID, e.ID))
}

// rest is the first of those that are not over, and whether one is not.
func (k *knowledge) rest(of ...string) (store.Rest, bool) {
	for _, what := range of {
		if r, rests := k.rests[what]; rests {
			return r, true
		}
	}
	return store.Rest{}, false
}

// state is the pool of a family in the arithmetic's words.
func (s *Supply) state(k *knowledge, f family.Family) pool.State {
	_, resting := k.rest(restENIs, restOfENIs(f))
	_, prefixesRest := k.rests[restOfPrefixes(f, "")]
	st := pool.State{
		NoPrefixes: k.node.NoPrefixes || prefixesRest,
		ENILimit:   k.node.MaxENIs, PerENI: k.node.AddressesPerENI, Waiting: k.waiting[f],
		CanCreate: s.conf.Cloud != netconf.StaticCloud && !resting && k.refused[""] == nil,
	}
	if f == family.IPv6 {
		st.PerENI, st.PrefixSize, st.CanCreate = k.node.IPv6PerENI, store.RangeSize, st.CanCreate && !k.node.NoIPv6
	}
	for _, e := range k.enis {
		if e.Lost {
			continue
		}
		if !s.pool().Usable(e) {
			st.Others++
			continue
		}
		st.ENIs = append(st.ENIs, s.eniState(k, f, e))
	}
	st.Others += k.node.ForeignENIs
	return st
}

// eniState is an ENI in the arithmetic's words.
func (s *Supply) eniState(k *knowledge, f family.Family, e store.ENI) pool.ENI {
	n := k.counts[f][e.ID]
	_, rests := k.rest(restOfENI(f, e.ID), restOfSubnet(f, e.SubnetID))
	_, prefixesRest := k.rests[prefixesOf(f, e)]
	idle, elsewhere := k.idle(e.ID, f, s.store.Now())
	st := pool.ENI{
		ID: e.ID, DeviceIndex: e.DeviceIndex, Slots: 1 + n.Places(), Limit: e.Limit,
		Closed: rests || k.refused[e.ID] != nil, NoPrefixes: k.node.NoPrefixes || prefixesRest,
		Free: n.Free, Assigned: n.Assigned, Cooling: n.Cooling, Releasing: n.Releasing,
		FreePrefixes: n.FreePrefixes, Scattered: n.Scattered,
		Stays: s.pool().Stays(e), Ours: e.Ours && !e.Primary, Needed: elsewhere, Idle: idle,
	}
	if f == family.IPv6 {
		st.Limit, st.Closed = e.Limit6, st.Closed || s.withoutIPv6(k, e)
		if !e.PrimaryIP6.IsValid() {
			st.Slots--
		}
		// One takes a single place, and is never too much: it goes with its ENI.
		st.FreePrefixes, st.Scattered = 0, n.Scattered+n.FreePrefixes*store.RangeSize
	}
	return st
}

// withoutIPv6 says whether the ENI cannot have addresses of IPv6.
func (s *Supply) withoutIPv6(k *knowledge, e store.ENI) bool {
	return k.node.NoIPv6 || !e.Gateway6.IsValid() || s.conf.Cloud == netconf.StaticCloud
}

// offline says that the cloud may not be asked.
func (s *Supply) offline() bool { return s.conf.Mode == netconf.Offline }
