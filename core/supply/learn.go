package supply

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

// settled is how old a free address must be before the API's list, which may lag behind a change, is believed that it is
// gone.
const settled = time.Minute

// Learn asks the cloud what this node is and has, and settles what earlier calls left open. The caller need not hold the
// lock of growth.
func (s *Supply) Learn(ctx context.Context) error {
	release, err := s.store.LockGrowth(ctx)
	if err != nil {
		return err
	}
	defer release()
	return s.relearn(ctx)
}

// learn is Learn under the lock of growth. The metadata service adds, and never removes: it is stale now and then, and
// what looks gone may be a live container's. What the API itself does not list, and no container owns, goes.
func (s *Supply) learn(ctx context.Context, driver cloud.Driver) error {
	k, err := s.know(ctx)
	if err != nil {
		return err
	}
	node, err := driver.Node(ctx)
	if err != nil {
		return fmt.Errorf("ask the metadata service what this node is: %w", err)
	}
	listed, listErr := driver.ENIs(ctx, node.InstanceID)
	node.ENIs, listed = keepOwn(node.ENIs, k.enis), keepOwn(listed, k.enis)
	authoritative := listErr == nil
	if !authoritative {
		listErr = fmt.Errorf("list the ENIs of %s: %w", node.InstanceID, listErr)
		if len(k.intents) > 0 || len(node.ENIs) == 0 {
			return listErr
		}
		// The metadata's addresses serve while the API does not: a pool that could serve an ADD never refuses it.
		s.log.Warn("learn from the metadata service alone", "error", listErr)
	}
	limits, sure := s.limits(ctx, driver, node.InstanceType)
	seen, staleness := merge(node.ENIs, listed, k.enis), time.Duration(math.MaxInt64)
	if len(seen) == 0 {
		return listErr // the metadata service knows no ENI's ID, and the API did not answer
	}
	if authoritative {
		staleness = settled
	}
	managed, foreign := s.managed(seen, authoritative, k)
	places := Places(listed)
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if err := move(tx, places); err != nil {
			return err
		}
		for _, e := range managed {
			record := s.eniRecord(e, node.InstanceID, limits)
			record.Lost = !authoritative && lost(k, e.ID)
			if err := tx.PutENI(record); err != nil {
				return err
			}
		}
		for _, e := range slices.Concat(managed, omitted(node.ENIs, listed, k)) {
			if err := shareOf(e, s.conf.Families...).addSeen(tx, e.ID, staleness); err != nil {
				return err
			}
		}
		n := nodeRecord(node, seen, foreign, limits)
		n.NoIPv6 = limits.IPv6PerENI == 0
		n.Learnt = slices.Concat(s.conf.Families, without(k.node.Learnt, s.conf.Families))
		keepKnown(&n, k.node, sure)
		if err := tx.SetNode(n); err != nil || !authoritative {
			return err
		}
		return s.forget(tx, listed, places)
	})
	switch {
	case err != nil:
		return err
	case !authoritative && hurried(ctx):
		return listErr // no time is left to ask for more, and this is why
	}
	return s.settle(ctx, driver, node.InstanceID, k.intents, listed)
}

// keepOwn returns the ENIs with the host's own addresses of IPv6 that are known: AWS tells that of a primary ENI by an order that
// it does not promise, and another's place in it would make a container's address the host's.
func keepOwn(enis []cloud.ENI, known []store.ENI) []cloud.ENI {
	enis = slices.Clone(enis)
	for i, e := range enis {
		at := slices.IndexFunc(known, func(have store.ENI) bool { return have.ID == e.ID && have.PrimaryIP6.IsValid() })
		if at < 0 {
			continue
		}
		if n := slices.Index(e.IPv6, known[at].PrimaryIP6); n >= 0 {
			others := slices.Delete(slices.Clone(e.IPv6), n, n+1)
			if e.PrimaryIP6.IsValid() {
				others = append(others, e.PrimaryIP6)
			}
			enis[i].PrimaryIP6, enis[i].IPv6 = known[at].PrimaryIP6, others
		}
	}
	return enis
}

// limits returns what the instance type may hold, by the configuration or else by the cloud, which sure says that it told;
// what neither says is left to the cloud's refusals.
func (s *Supply) limits(ctx context.Context, driver cloud.Driver, instanceType string) (limits cloud.Limits, sure bool) {
	given := cloud.Limits{ENIs: s.conf.Limits.ENIs, AddressesPerENI: s.conf.Limits.AddressesPerENI}
	if given.ENIs > 0 && given.AddressesPerENI > 0 && !s.gives(family.IPv6) {
		given.Prefixes = true
		return given, false
	}
	limits, err := driver.Limits(ctx, instanceType)
	if err != nil {
		s.log.Warn("leave the limits to the cloud's refusals", "instanceType", instanceType, "error", err)
		limits.Prefixes = true
	}
	if given.ENIs > 0 {
		limits.ENIs = given.ENIs
	}
	if given.AddressesPerENI > 0 {
		limits.AddressesPerENI = given.AddressesPerENI
	}
	return limits, err == nil
}

// merge puts together what the metadata service and the API say of the same ENIs. The former knows the subnet's range;
// the latter knows the rest best, where it answered: an ENI that only the API has waits until its link is there, and one
// that only the metadata service has is gone, and that service late. Not every metadata service knows IDs and device
// indexes: where the API did not tell them either, the store may know them, and an ENI that nobody can name waits for the
// API.
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
		api, ok := byID[e.ID]
		if ok {
			e.Addresses, e.Prefixes, e.Tags, e.State, e.SubnetID = api.Addresses, api.Prefixes, api.Tags, api.State, api.SubnetID
			e.IPv6, e.PrimaryIP6 = api.IPv6, api.PrimaryIP6
		}
		if e.ID != "" && (ok || len(listed) == 0) {
			merged = append(merged, e)
		}
	}
	return merged
}

// omitted returns the ENIs that the API lists and the store has, and of which the metadata service says nothing.
func omitted(metadata, listed []cloud.ENI, k *knowledge) []cloud.ENI {
	return slices.DeleteFunc(slices.Clone(listed), func(e cloud.ENI) bool {
		return slices.ContainsFunc(metadata, func(m cloud.ENI) bool { return m.ID == e.ID }) ||
			!slices.ContainsFunc(k.enis, func(have store.ENI) bool { return have.ID == e.ID })
	})
}

// managed returns the ENIs that are ours to use: the primary one, those with our tag, those that the configuration
// lists, and those that the store has already. It also says how many others there are. Without the API, which knows the
// tags, the last two are all that can be told.
func (s *Supply) managed(enis []cloud.ENI, authoritative bool, k *knowledge) (ours []cloud.ENI, foreign int) {
	for _, e := range enis {
		_, tagged := e.Tags[TagOwner]
		known := slices.ContainsFunc(k.enis, func(have store.ENI) bool { return have.ID == e.ID })
		switch {
		case e.Primary, s.conf.Cloud == netconf.StaticCloud, s.conf.Manage.All, slices.Contains(s.conf.Manage.IDs, e.ID), authoritative && tagged, known:
			ours = append(ours, e)
		default:
			foreign++
		}
	}
	return ours, foreign
}

// eniRecord is an ENI as the store has it. Its table follows its device index, so that it is the same after a reboot.
func (s *Supply) eniRecord(e cloud.ENI, instanceID string, limits cloud.Limits) store.ENI {
	base := s.conf.TableBase
	if base == 0 {
		base = layout.TableBase
	}
	r := store.ENI{
		ID: e.ID, MAC: e.MAC, Link: e.Link, DeviceIndex: e.DeviceIndex, Primary: e.Primary, Table: base + e.DeviceIndex,
		Subnet: e.Subnet, Gateway: e.Gateway, PrimaryIP: e.PrimaryIP, MTU: e.MTU, Limit: limits.AddressesPerENI,
		SubnetID: e.SubnetID, Ours: !e.Primary && e.Tags[TagInstance] == instanceID,
		Subnet6: e.Subnet6, Gateway6: e.Gateway6, PrimaryIP6: e.PrimaryIP6, Limit6: limits.IPv6PerENI,
	}
	if e.Primary {
		r.Table = layout.TableMain
	}
	return r
}

// nodeRecord is the node, with its merged ENIs, as the store has it.
func nodeRecord(n *cloud.Node, enis []cloud.ENI, foreign int, limits cloud.Limits) store.Node {
	r := store.Node{
		InstanceID: n.InstanceID, InstanceType: n.InstanceType, Region: n.Region, VPCCIDRs: n.VPCCIDRs,
		MaxENIs: limits.ENIs, AddressesPerENI: limits.AddressesPerENI, NoPrefixes: !limits.Prefixes,
		IPv6PerENI: limits.IPv6PerENI, ForeignENIs: foreign,
	}
	for _, e := range enis {
		if e.Primary {
			r.PrimaryENI = e.ID
		}
	}
	return r
}

// keepKnown keeps what was known of the node where the cloud did not tell it this time; sure says that it told the limits.
func keepKnown(n *store.Node, old store.Node, sure bool) {
	if len(n.VPCCIDRs) == 0 {
		n.VPCCIDRs = old.VPCCIDRs
	}
	if n.MaxENIs == 0 {
		n.MaxENIs = old.MaxENIs
	}
	if n.AddressesPerENI == 0 {
		n.AddressesPerENI = old.AddressesPerENI
	}
	if n.IPv6PerENI == 0 {
		n.IPv6PerENI = old.IPv6PerENI
	}
	if !sure {
		n.NoPrefixes, n.NoIPv6 = old.NoPrefixes, old.NoIPv6
	}
}

// lost says whether the store has the ENI as Lost.
func lost(k *knowledge, eni string) bool {
	return slices.ContainsFunc(k.enis, func(e store.ENI) bool { return e.ID == eni && e.Lost })
}
