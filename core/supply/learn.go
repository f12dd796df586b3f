package supply

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/cloud"
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
	node.ENIs, listed = ofIPv4(node.ENIs), ofIPv4(listed)
	authoritative := listErr == nil
	if !authoritative {
		listErr = fmt.Errorf("list the ENIs of %s: %w", node.InstanceID, listErr)
		if len(k.intents) > 0 || len(node.ENIs) == 0 {
			return listErr
		}
		// The metadata's addresses serve while the API does not: a pool that could serve an ADD never refuses it.
		s.log.Warn("learn from the metadata service alone", "error", listErr)
	}
	limits := s.limits(ctx, driver, node.InstanceType)
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
			if err := (share{e.Addresses, e.Prefixes}).addSeen(tx, e.ID, staleness); err != nil {
				return err
			}
		}
		n := nodeRecord(node, seen, foreign, limits)
		keepKnown(&n, k.node)
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

// ofIPv4 leaves prefixes of IPv6 out: the addresses of those that the store has are listed, and theirs are too many.
func ofIPv4(enis []cloud.ENI) []cloud.ENI {
	enis = slices.Clone(enis)
	for n, e := range enis {
		enis[n].Prefixes = slices.DeleteFunc(slices.Clone(e.Prefixes), func(p netip.Prefix) bool { return !p.Addr().Is4() })
	}
	return enis
}

// limits returns what the instance type may hold, by the configuration or else by the cloud; what neither says is left to
// the cloud's refusals.
func (s *Supply) limits(ctx context.Context, driver cloud.Driver, instanceType string) cloud.Limits {
	given := cloud.Limits{ENIs: s.conf.Limits.ENIs, AddressesPerENI: s.conf.Limits.AddressesPerENI}
	if given.ENIs > 0 && given.AddressesPerENI > 0 {
		given.Prefixes = true
		return given
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
	return limits
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

// Place is where an address is: on an ENI, by a prefix or by itself.
type Place struct {
	ENI    string
	Prefix netip.Prefix
}

// Places says where each address of the ENIs is, beside the primary ones.
func Places(enis []cloud.ENI) map[netip.Addr]Place {
	at := map[netip.Addr]Place{}
	for _, e := range enis {
		for _, ip := range e.Addresses {
			at[ip] = Place{ENI: e.ID}
		}
		for _, p := range e.Prefixes {
			for ip := range store.AddressesIn(p) {
				at[ip] = Place{e.ID, p}
			}
		}
	}
	return at
}

// move records that addresses are elsewhere than the store has it: others took them from one ENI, and the cloud gave them
// to the other, or to the same by another way.
func move(tx *store.Tx, at map[netip.Addr]Place) error {
	addresses, err := tx.Addresses()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		now, held := at[a.IP]
		if !held || now == (Place{a.ENI, a.Prefix}) {
			continue
		}
		_, managed, err := tx.ENI(now.ENI)
		if err == nil && managed {
			err = tx.Move(a.IP, now.ENI, now.Prefix)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
		ForeignENIs: foreign,
	}
	for _, e := range enis {
		if e.Primary {
			r.PrimaryENI = e.ID
		}
	}
	return r
}

// keepKnown keeps what was known of the node where the cloud did not tell it this time.
func keepKnown(n *store.Node, old store.Node) {
	if len(n.VPCCIDRs) == 0 {
		n.VPCCIDRs = old.VPCCIDRs
	}
	if n.MaxENIs == 0 {
		n.MaxENIs = old.MaxENIs
	}
	if n.AddressesPerENI == 0 {
		n.AddressesPerENI = old.AddressesPerENI
	}
	n.NoPrefixes = n.NoPrefixes || old.NoPrefixes
}

// lost says whether the store has the ENI as Lost.
func lost(k *knowledge, eni string) bool {
	return slices.ContainsFunc(k.enis, func(e store.ENI) bool { return e.ID == eni && e.Lost })
}

// forget takes out of the store what the API does not list and no container owns: ENIs, and addresses that were free for
// long enough that the list cannot lag behind them. What is cooling or releasing is left to its own end.
func (s *Supply) forget(tx *store.Tx, listed []cloud.ENI, at map[netip.Addr]Place) error {
	attached := map[string]bool{}
	for _, e := range listed {
		attached[e.ID] = true
	}
	addresses, err := tx.Addresses()
	if err != nil {
		return err
	}
	now := s.store.Now()
	for _, a := range addresses {
		if _, has := at[a.IP]; a.State == store.Free && !has && now-a.Since > settled {
			s.log.Warn("the cloud took a free address away", "address", a.IP, "eni", a.ENI)
			if err := tx.Remove([]netip.Addr{a.IP}); err != nil {
				return err
			}
		}
	}
	enis, err := tx.ENIs()
	if err != nil {
		return err
	}
	for _, e := range enis {
		n, err := tx.Counts(e.ID)
		if err != nil {
			return err
		}
		if e.Lost != !attached[e.ID] {
			e.Lost = !attached[e.ID]
			if err := tx.PutENI(e); err != nil {
				return err
			}
		}
		if attached[e.ID] || n.Total() > 0 || now-n.Changed <= settled {
			continue
		}
		s.log.Warn("the cloud took an ENI away", "eni", e.ID)
		if err := tx.RemoveENI(e.ID); err != nil {
			return err
		}
	}
	return nil
}
