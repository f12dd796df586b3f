package main

import (
	"errors"
	"fmt"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/store"
)

// knowledge is what the store says that growth needs to know.
type knowledge struct {
	node    store.Node
	known   bool // node is
	enis    []store.ENI
	holds   map[string]int // secondary addresses by ENI
	free    int            // addresses that a container could have now
	cooling int
	waiting int // owners
	intents []store.Intent
	failure store.Failure
}

// knowledge reads the store.
func (c *call) knowledge() (*knowledge, error) {
	k := &knowledge{holds: map[string]int{}}
	err := c.store.Update(c.ctx, func(tx *store.Tx) error {
		var errs [6]error
		var addresses []store.Address
		k.node, k.known, errs[0] = tx.Node()
		k.enis, errs[1] = tx.ENIs()
		addresses, errs[2] = tx.Addresses()
		k.waiting, errs[3] = tx.Waiting()
		k.intents, errs[4] = tx.Intents()
		k.failure, _, errs[5] = tx.LastFailure()
		k.count(addresses, c.usable)
		return errors.Join(errs[:]...)
	})
	return k, err
}

// count fills in how many addresses there are, of which kinds.
func (k *knowledge) count(addresses []store.Address, usable func(store.ENI) bool) {
	ours := map[string]bool{}
	for _, e := range k.enis {
		ours[e.ID] = usable(e)
	}
	for _, a := range addresses {
		k.holds[a.ENI]++
		switch {
		case !ours[a.ENI]:
		case a.State == store.Free:
			k.free++
		case a.State == store.Cooling:
			k.cooling++
		}
	}
}

// learn asks the cloud what this node is and has, and adds to the store what is new. It never takes anything out: the
// metadata service is stale now and then, and what looks gone may be a live container's. The intents, whose outcome the
// answer shows, are settled.
func (c *call) learn(driver cloud.Driver, intents []store.Intent) error {
	node, err := driver.Node(c.ctx)
	if err != nil {
		return fmt.Errorf("ask the metadata service what this node is: %w", err)
	}
	listed, listErr := driver.ENIs(c.ctx, node.InstanceID)
	if listErr != nil {
		listErr = fmt.Errorf("list the ENIs of %s: %w", node.InstanceID, listErr)
	}
	if listErr != nil && (len(intents) > 0 || len(node.ENIs) == 0) {
		return listErr
	}
	if listErr != nil {
		// The metadata's addresses serve while the API does not: a pool that could serve an ADD never refuses it.
		c.log.Warn("learn from the metadata service alone", "error", listErr)
	}
	limits, err := driver.Limits(c.ctx, node.InstanceType)
	if err != nil {
		c.log.Warn("leave the limits to the cloud's refusals", "instanceType", node.InstanceType, "error", err)
	}
	err = c.store.Update(c.ctx, func(tx *store.Tx) error {
		known, err := tx.ENIs()
		if err != nil {
			return err
		}
		enis := merge(node.ENIs, listed, known)
		if len(enis) == 0 {
			return listErr // the metadata service knows no ENI's ID, and the API did not answer
		}
		for _, e := range enis {
			if err := errors.Join(tx.PutENI(c.eniRecord(e, limits)), tx.AddAddresses(e.ID, e.Addresses)); err != nil {
				return err
			}
		}
		for _, i := range intents {
			if err := tx.Settle(i.Number); err != nil {
				return err
			}
		}
		return setNode(tx, nodeRecord(node, enis))
	})
	if err == nil && listErr != nil && c.hurried() {
		return listErr // no time is left to ask for more, and this is why
	}
	return err
}

// merge puts together what the metadata service and the API say of the same ENIs. The former knows the subnet's range;
// the latter knows the addresses best, where it answered. An ENI that only the API has waits until its link is there. Not
// every metadata service knows IDs and device indexes: where the API did not tell them either, the store may know them,
// and an ENI that nobody can name waits for the API.
func merge(metadata, listed []cloud.ENI, known []store.ENI) []cloud.ENI {
	names := map[string]cloud.ENI{} // by MAC
	for _, e := range known {
		names[e.MAC] = cloud.ENI{ID: e.ID, DeviceIndex: e.DeviceIndex}
	}
	byID := map[string]cloud.ENI{}
	for _, e := range listed {
		byID[e.ID], names[e.MAC] = e, e
	}
	var merged []cloud.ENI
	for _, e := range metadata {
		if e.ID == "" {
			e.ID, e.DeviceIndex = names[e.MAC].ID, names[e.MAC].DeviceIndex
		}
		if api, ok := byID[e.ID]; ok {
			e.Addresses = api.Addresses
		}
		if e.ID != "" {
			merged = append(merged, e)
		}
	}
	return merged
}

// setNode keeps what is known of the VPC's ranges where the driver could not tell them.
func setNode(tx *store.Tx, n store.Node) error {
	old, known, err := tx.Node()
	if err != nil {
		return err
	}
	if known && len(n.VPCCIDRs) == 0 {
		n.VPCCIDRs = old.VPCCIDRs
	}
	return tx.SetNode(n)
}

// eniRecord is an ENI as the store has it. Its table follows its device index, so that it is the same after a reboot.
func (c *call) eniRecord(e cloud.ENI, limits cloud.Limits) store.ENI {
	base := c.request.IPAM.TableBase
	if base == 0 {
		base = layout.TableBase
	}
	r := store.ENI{
		ID: e.ID, MAC: e.MAC, Link: e.Link, DeviceIndex: e.DeviceIndex, Primary: e.Primary, Table: base + e.DeviceIndex,
		Subnet: e.Subnet, Gateway: e.Gateway, PrimaryIP: e.PrimaryIP, MTU: e.MTU, Limit: limits.AddressesPerENI,
	}
	if e.Primary {
		r.Table = layout.TableMain
	}
	return r
}

// nodeRecord is the node, with its merged ENIs, as the store has it.
func nodeRecord(n *cloud.Node, enis []cloud.ENI) store.Node {
	r := store.Node{InstanceID: n.InstanceID, InstanceType: n.InstanceType, Region: n.Region, VPCCIDRs: n.VPCCIDRs}
	for _, e := range enis {
		if e.Primary {
			r.PrimaryENI = e.ID
		}
	}
	return r
}
