package supply

import (
	"cmp"
	"context"
	"errors"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// knowledge is what the store says at a moment.
type knowledge struct {
	node    store.Node
	known   bool // node is
	enis    []store.ENI
	counts  map[string]store.Counts
	rests   map[string]store.Rest
	intents []store.Intent
	waiting int // owners
	failure store.Failure
	refused map[string]error // by ENI, or "" for another one: what took nothing in this growth
}

// know reads the store. What has cooled down is free then: it may be all that is lacking, or be too much.
func (s *Supply) know(ctx context.Context) (*knowledge, error) {
	k := &knowledge{counts: map[string]store.Counts{}}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Thaw(); err != nil {
			return err
		}
		var errs [6]error
		k.node, k.known, errs[0] = tx.Node()
		k.enis, errs[1] = tx.ENIs()
		k.waiting, errs[2] = tx.Waiting()
		k.intents, errs[3] = tx.Intents()
		k.failure, _, errs[4] = tx.LastFailure()
		k.rests, errs[5] = tx.Rests()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		return k.count(tx)
	})
	return k, err
}

// count reads what the ENIs have.
func (k *knowledge) count(tx *store.Tx) error {
	for _, e := range k.enis {
		n, err := tx.Counts(e.ID)
		if err != nil {
			return err
		}
		k.counts[e.ID] = n
	}
	return nil
}

// What rests, in the store's words: calls, new ENIs, and prefixes of new ENIs.
const restAPI, restENIs, restNewPrefixes = "api", "enis", "prefixes"

func restOfENI(id string) string    { return "eni/" + id }
func restOfSubnet(id string) string { return "subnet/" + id }

// restOfPrefixes is of the prefixes of a subnet, or of an ENI whose subnet is not known.
func restOfPrefixes(id string) string { return "prefixes/" + id }

// prefixesOf is what rests where the ENI gets no prefixes.
func prefixesOf(e store.ENI) string { return restOfPrefixes(cmp.Or(e.SubnetID, e.ID)) }

// rest is the first of those that are not over, and whether one is not.
func (k *knowledge) rest(of ...string) (store.Rest, bool) {
	for _, what := range of {
		if r, rests := k.rests[what]; rests {
			return r, true
		}
	}
	return store.Rest{}, false
}

// state is the pool in the arithmetic's words.
func (s *Supply) state(k *knowledge) pool.State {
	_, resting := k.rests[restENIs]
	_, prefixesRest := k.rests[restNewPrefixes]
	st := pool.State{
		NoPrefixes: k.node.NoPrefixes || prefixesRest,
		ENILimit:   k.node.MaxENIs, PerENI: k.node.AddressesPerENI, Waiting: k.waiting,
		CanCreate: s.conf.Cloud != netconf.StaticCloud && !resting && k.refused[""] == nil,
	}
	now := s.store.Now()
	for _, e := range k.enis {
		if e.Lost {
			continue
		}
		if !s.usable(e) {
			st.Others++
			continue
		}
		n := k.counts[e.ID]
		_, eniRests := k.rests[restOfENI(e.ID)]
		_, subnetRests := k.rests[restOfSubnet(e.SubnetID)]
		_, prefixesRest := k.rests[prefixesOf(e)]
		st.ENIs = append(st.ENIs, pool.ENI{
			ID: e.ID, DeviceIndex: e.DeviceIndex, Slots: 1 + n.Places(), Limit: e.Limit, Closed: eniRests || subnetRests || k.refused[e.ID] != nil,
			NoPrefixes: k.node.NoPrefixes || prefixesRest,
			Free:       n.Free, Assigned: n.Assigned, Cooling: n.Cooling, Releasing: n.Releasing,
			FreePrefixes: n.FreePrefixes, Scattered: n.Scattered,
			Ours: e.Ours && !e.Primary, Idle: now - n.Changed,
		})
	}
	st.Others += k.node.ForeignENIs
	return st
}

// offline says that the cloud may not be asked.
func (s *Supply) offline() bool { return s.conf.Mode == netconf.Offline }
