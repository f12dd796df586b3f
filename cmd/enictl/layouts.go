package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
)

// attached is a container's attachment with all of its addresses, and its host veth.
type attached struct {
	layout.Attachment
	veth netstate.Link
}

// chooseLayout leaves the attachment of another network the layout that it has, which is one for all of its addresses: the
// network's configuration is not looked at.
func (k *healer) chooseLayout(c *layout.Attachment, owner store.Owner, own *attached) (err error) {
	switch {
	case own != nil:
		c.Routing = own.Routing
	case k.net.ptp == nil || owner.Network != k.net.name:
		c.Routing, err = k.host.RoutingOf(*c)
	}
	return err
}

// healAttachment brings a container, whose routes and rules are right, from the other layout to its own: first its packets'
// marks, and then what the other layout has of it goes.
func (k *healer) healAttachment(ctx context.Context, c *attached) error {
	if err := k.healMarks(ctx, c); err != nil {
		return err
	}
	other := c.In(layout.Other(c.Routing))
	d, err := k.host.FindOwn(other)
	if err != nil || d == "" {
		return err
	}
	return k.put("what is left of "+string(other.Routing)+" on "+c.veth.Name, d, func() error {
		if c.Routing != netconf.PerENI {
			if err := marking.Clear(k.host, c.veth); err != nil {
				return err
			}
		}
		return k.host.RemoveOwn(other)
	})
}

// healMarks has a container's packets marked as its layout needs it, in the configured way.
func (k *healer) healMarks(ctx context.Context, c *attached) error {
	if c.Routing != netconf.PerENI { // no rule asks for them
		return nil
	}
	want := netconf.Auto
	if k.net.ptp != nil {
		want = k.net.ptp.Marking
	}
	by, d, err := marking.Diff(ctx, c.veth, c.Attachment)
	if err != nil {
		return err
	}
	if d == "" {
		d, err = otherWay(by, want, c.veth)
	}
	if err != nil || d == "" {
		return err
	}
	return k.put("the marks of "+c.veth.Name, d, func() error {
		o, err := marking.Set(ctx, k.host, c.veth, c.Attachment, want, 0, nil)
		if err == nil && o.Against != nil {
			k.say("%s marks the packets of %s: %v", o.By, c.veth.Name, o.Against)
		}
		return err
	})
}

// unmarked counts the containers whose layout needs marks that their packets do not have, and says what is wrong with one of them.
func (k *healer) unmarked(ctx context.Context, s *snapshot) (count int, difference string, err error) {
	links, err := k.host.Links()
	if err != nil {
		return 0, "", err
	}
	all := map[store.Owner]*attached{}
	for _, a := range s.assigned() {
		veth, found := vethOf(*a.Owner, links, k.net)
		eni, known := s.eni(a.ENI)
		if !found || !known {
			continue
		}
		if all[*a.Owner] == nil {
			all[*a.Owner] = &attached{Attachment: layout.Attachment{Veth: veth.Device, Routing: k.net.routing()}, veth: veth}
		}
		c := all[*a.Owner]
		c.Addresses = append(c.Addresses, layout.AddressOn(eni, a.IP))
	}
	for _, c := range all {
		if c.Routing, err = k.host.RoutingOf(c.Attachment); err != nil {
			return count, difference, err
		}
		if c.Routing != netconf.PerENI {
			continue
		}
		_, d, err := marking.Diff(ctx, c.veth, c.Attachment)
		if err != nil {
			return count, difference, err
		}
		if d != "" {
			count, difference = count+1, d
		}
	}
	return count, difference, nil
}

// otherWay says that packets are marked in a way that is not the wanted one, where that can be had.
func otherWay(by, want netconf.Marking, veth netstate.Link) (string, error) {
	if want == netconf.Auto {
		var err error
		if want, _, err = marking.Choose(veth.Index); err != nil {
			return "", err
		}
	}
	if by == "" || by == want {
		return "", nil
	}
	return fmt.Sprintf("they are marked by %s, not by %s", by, want), nil
}

// removeUnused removes what the containers of a layout, or of a way to mark packets, have in common, once there is none.
func (k *healer) removeUnused(ctx context.Context, s *snapshot) error {
	return errors.Join(k.removeShared(s), k.removeTables(ctx))
}

// anyPerENI says whether a container of any network has rules per ENI.
func (k *healer) anyPerENI() (bool, error) {
	empty, err := k.host.Empty(layout.TablePods)
	return !empty, err
}

// anyMarked says whether nftables marks the packets of a veth.
func (k *healer) anyMarked() (bool, error) {
	links, err := k.host.Links()
	return slices.ContainsFunc(links, func(l netstate.Link) bool { return l.Group == layout.GroupMarked }), err
}

// errMeanwhile says that containers came while the tables went, because none had needed them.
var errMeanwhile = errors.New("containers were started meanwhile, and may lack what was removed: repeat the command")

// removeTables removes the tables of nftables that mark packets, where no veth needs them.
func (k *healer) removeTables(ctx context.Context) error {
	if marked, err := k.anyMarked(); err != nil || marked {
		return err
	}
	has, err := marking.HasTables(ctx)
	if err != nil || !has {
		return err
	}
	err = k.put("nftables", "table "+marking.Table+" marks no container's packets", func() error { return marking.RemoveTables(ctx) })
	if err != nil || k.dry {
		return err
	}
	marked, err := k.anyMarked()
	if err == nil && marked {
		err = errMeanwhile
	}
	return err
}

// removeElements removes the elements of nftables' maps whose addresses are nobody's: they outlive containers, for the next with
// the address, which with IPv6 may never come.
func (k *healer) removeElements(ctx context.Context) error {
	has, err := marking.HasTables(ctx)
	if err != nil || !has {
		return err
	}
	routed, err := k.host.Routed(layout.TablePods)
	if err != nil {
		return err
	}
	unused, err := marking.Unused(ctx, func(ip netip.Addr) bool { return routed[ip] })
	if err != nil || len(unused) == 0 {
		return err
	}
	difference := fmt.Sprintf("table %s has the numbers of %d addresses that are nobody's", marking.Table, len(unused))
	return k.put("nftables", difference, func() error { return marking.RemoveElements(ctx, unused) })
}

// removeShared removes the rules that all containers have in common where the rules are per ENI, unless one needs them. Those of an
// ADD that had its ENI prepared before, and came to its route meanwhile, are put back.
func (k *healer) removeShared(s *snapshot) error {
	if k.net.routing() == netconf.PerENI {
		return nil
	}
	if needed, err := k.anyPerENI(); err != nil || needed {
		return err
	}
	unused, err := k.sharedRules(s)
	if err != nil {
		return err
	}
	for _, r := range unused {
		if err := k.put("the rules", fmt.Sprintf("%q serves no container", r), func() error { return k.host.RemoveRule(r) }); err != nil {
			return err
		}
	}
	if len(unused) == 0 || k.dry {
		return nil
	}
	needed, err := k.anyPerENI()
	if err == nil && needed {
		k.say("put the rules back: containers were started meanwhile")
		err = k.host.Apply(layout.State{Rules: unused})
	}
	return err
}

// sharedRules are those rules, as far as they are the store's.
func (k *healer) sharedRules(s *snapshot) ([]layout.Rule, error) {
	shared := []layout.Rule{layout.PodsRule(false), layout.PodsRule(true)}
	for _, e := range s.enis {
		if !e.Primary && e.Number != 0 {
			e.Gateway6 = netip.IPv6Unspecified() // of both families
			shared = append(shared, layout.NumberRules(e)...)
		}
	}
	all, err := k.host.Rules()
	if err != nil {
		return nil, err
	}
	var has []layout.Rule
	for _, r := range all {
		if r.Ours && slices.ContainsFunc(shared, func(u layout.Rule) bool { return u.String() == r.String() && u.IPv6 == r.IPv6 }) {
			has = append(has, r.Rule)
		}
	}
	return has, nil
}
