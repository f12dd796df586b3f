package clouds

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/vpcsim"
)

// ENIs are those of the instance, when the cloud has done what it was asked for.
func (n *Node) ENIs() []vpcsim.ENI {
	n.Wait()
	return n.VPC.ENIs(n.Instance.ID)
}

// Store is the node's store.
func (n *Node) Store() *store.Store { return store.At(n.DataDir) }

// Update changes the store behind the plugins' back.
func (n *Node) Update(fn func(*store.Tx) error) {
	n.t.Helper()
	if err := n.Store().Update(n.t.Context(), fn); err != nil {
		n.t.Fatal(err)
	}
}

// Agree checks that cloud and store have the same secondary addresses, of the same prefixes, and the same ranges, and that no
// intent is left open. It returns the addresses, but those of ranges.
func (n *Node) Agree() []netip.Addr {
	n.t.Helper()
	var enis []cloud.ENI
	for _, e := range n.ENIs() {
		enis = append(enis, cloud.ENI{
			ID: e.ID, Addresses: e.Secondary, IPv6: e.IPv6, Prefixes: slices.Concat(e.Prefixes, e.Prefixes6),
		})
	}
	assigned := supply.Places(enis)
	var known []netip.Addr
	ranges := map[netip.Prefix]string{}
	err := n.Store().View(n.t.Context(), func(tx *store.Tx) error {
		addresses, err := tx.Addresses()
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if is, _ := assigned.Of(a.IP); is != (supply.Place{ENI: a.ENI, Prefix: a.Prefix}) {
				n.t.Errorf("the store has %s on %s %s, the cloud on %v", a.IP, a.ENI, a.Prefix, is)
			}
			if !a.Ranged() {
				known = append(known, a.IP)
			}
		}
		all, err := tx.Ranges()
		for _, r := range all {
			ranges[r.Prefix] = r.ENI
		}
		intents, intentsErr := tx.Intents()
		if len(intents) > 0 {
			n.t.Errorf("left open: %+v", intents)
		}
		return errors.Join(err, intentsErr)
	})
	if err != nil {
		n.t.Fatal(err)
	}
	if len(known) != len(assigned.Listed) {
		n.t.Errorf("the cloud has assigned %d addresses, the store knows %d", len(assigned.Listed), len(known))
	}
	if !maps.Equal(ranges, assigned.Ranges) {
		n.t.Errorf("the cloud has assigned the ranges %v, the store knows %v", assigned.Ranges, ranges)
	}
	return known
}

// patience is how long something that has to come about may take on a busy machine.
const patience = 30 * time.Second

// Eventually waits until what detached processes do has come about. free counts the addresses that have a record.
func (n *Node) Eventually(what string, is func(free int, enis []vpcsim.ENI) bool) {
	n.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		free := 0
		n.Update(func(tx *store.Tx) error {
			all, err := tx.Addresses()
			for _, a := range all {
				if a.State == store.Free {
					free++
				}
			}
			return err
		})
		enis := n.ENIs()
		if is(free, enis) {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("never came about: %s; %d are free, on %d ENIs", what, free, len(enis))
		}
		time.Sleep(20 * time.Millisecond) // what other processes do to the store is no event that can be waited for
	}
}
