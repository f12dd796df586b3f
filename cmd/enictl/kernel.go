package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/core/store"
)

// healer brings the kernel to what the store says, or only says what it would do.
type healer struct {
	net  *network
	host *netstate.Handle
	say  func(format string, args ...any)
	dry  bool

	changed int  // what was put right, or would be
	broken  bool // something cannot be put right from here
}

// put reports a difference, and puts it right.
func (k *healer) put(what, difference string, right func() error) error {
	k.changed++
	if k.dry {
		k.say("would repair %s: %s", what, difference)
		return nil
	}
	if err := right(); err != nil {
		return fmt.Errorf("repair %s (%s): %w", what, difference, err)
	}
	k.say("repaired %s: %s", what, difference)
	return nil
}

// warn reports what only a person can put right.
func (k *healer) warn(format string, args ...any) {
	k.broken = true
	k.say(format, args...)
}

// heal puts the host, the ENIs and the containers' host ends right. It goes on after a failure: what else is broken is
// no better for it.
func (k *healer) heal(ctx context.Context, s *snapshot) error {
	if len(s.enis) == 0 {
		return nil
	}
	forwarding, err := k.host.Forwarding(familiesOf(s.assigned()))
	errs := []error{err, k.compare("the host", forwarding, func() error { return k.host.Apply(forwarding) })}
	perENI, err := k.hasPerENI(s)
	errs = append(errs, err)
	broken := map[int]bool{} // tables, whose containers are left as they are
	for _, e := range s.enis {
		whole, err := k.healENI(e, perENI)
		errs, broken[layout.TableOf(e)] = append(errs, err), !whole
	}
	links, err := k.host.Links()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	own, failed := map[store.Owner]*attached{}, map[store.Owner]bool{}
	veths := map[family.Family][]string{} // of the network, by the family of the address
	for _, a := range s.assigned() {
		veth, found := vethOf(*a.Owner, links, k.net)
		switch {
		case found:
			err := k.healAddress(s, a, veth, own)
			if err != nil { // what it has of the other layout may be all that works
				failed[*a.Owner] = true
			}
			errs = append(errs, err)
			if a.Owner.Network == k.net.name {
				f := family.Of(a.IP)
				veths[f] = append(veths[f], veth.Name)
			}
		case k.net.ptp != nil && a.Owner.Network == k.net.name:
			k.warn("%s has no link on this host: %s was not attached to the end, or is gone; the runtime's GC frees the address", a.IP, ownerOf(a))
		}
	}
	for owner, c := range own {
		if !failed[owner] && !slices.ContainsFunc(c.Addresses, func(a layout.Address) bool { return broken[a.Table] }) {
			errs = append(errs, k.healAttachment(ctx, c))
		}
	}
	errs = append(errs, k.removeUnused(ctx, s))
	for _, f := range family.All() {
		errs = append(errs, k.healSNAT(ctx, veths[f], f))
	}
	return errors.Join(errs...)
}

// compare puts a state right that differs.
func (k *healer) compare(what string, want layout.State, right func() error) error {
	d, err := k.host.Diff(want)
	if err != nil {
		return fmt.Errorf("look at %s: %w", what, err)
	}
	if d == "" {
		return nil
	}
	return k.put(what, d, right)
}

// healENI puts an ENI right, for rules per ENI too where there may be such; whole says that containers can leave by it.
func (k *healer) healENI(e store.ENI, perENI bool) (whole bool, err error) {
	link, err := k.host.ENILink(e)
	if errors.Is(err, netstate.ErrNoLink) {
		k.warn("%s has no link on this host: is it attached, and in the host's namespace?", e.ID)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find the link of %s: %w", e.ID, err)
	}
	routing := netconf.PerPod
	if perENI && (e.Number != 0 || k.net.routing() == netconf.PerENI) {
		routing = netconf.PerENI
	}
	err = k.compare(e.ID, layout.ENI(e, link.Device, routing), func() error {
		_, err := k.host.RepairENI(e, routing)
		return err
	})
	return err == nil && (e.Primary || e.Number != 0 || k.net.routing() != netconf.PerENI), err
}

// hasPerENI says whether the network's rules are per ENI, or those of a container are whose address is of the store.
func (k *healer) hasPerENI(s *snapshot) (bool, error) {
	if k.net.routing() == netconf.PerENI {
		return true, nil
	}
	routed, err := k.host.Routed(layout.TablePods)
	return slices.ContainsFunc(s.assigned(), func(a store.Address) bool { return routed[a.IP] }), err
}

// vethOf finds the host end of an owner's veth: by its alias, or by its name where it is of this network.
func vethOf(o store.Owner, links []netstate.Link, net *network) (netstate.Link, bool) {
	name := ""
	if net.ptp != nil && o.Network == net.name {
		name = layout.Identify(net.ptp.VethPrefix, o.ContainerID, o.IfName).Veth
	}
	for _, l := range links {
		owner, marked := layout.ParseAlias(l.Alias)
		if l.Kind == "veth" && (marked && owner == o || !marked && l.Name == name) {
			return l, true
		}
	}
	return netstate.Link{}, false
}

// healAddress puts the route, the rules and the settings of a container's host end right, for one of its addresses, and adds
// that to its attachment.
func (k *healer) healAddress(s *snapshot, a store.Address, veth netstate.Link, own map[store.Owner]*attached) error {
	eni, known := s.eni(a.ENI)
	if !known {
		k.warn("%s is of %s, which the store does not have: reconcile looks for it", a.IP, a.ENI)
		return nil
	}
	want := layout.Attachment{
		Veth: veth.Device, VethMAC: veth.MAC, Routing: k.net.routing(),
		Addresses: []layout.Address{layout.AddressOn(eni, a.IP)},
	}
	if err := k.chooseLayout(&want, *a.Owner, own[*a.Owner]); err != nil {
		return err
	}
	if own[*a.Owner] == nil {
		own[*a.Owner] = &attached{Attachment: want, veth: veth}
	} else {
		own[*a.Owner].Addresses = append(own[*a.Owner].Addresses, want.Addresses...)
	}
	what := fmt.Sprintf("%s on %s", a.IP, veth.Name)
	before := k.changed
	err := k.compare(what, layout.OnHost(want), func() error {
		if err := k.host.KeepSource(want); err != nil {
			return err
		}
		state := layout.OnHost(want)
		if err := k.host.RemoveStaleRules(state.Rules...); err != nil {
			return err
		}
		return k.host.Apply(state)
	})
	primary, known := s.eni(s.node.PrimaryENI)
	node := primary.OwnIP(a.IP)
	if err != nil || k.dry && k.changed > before || !known || !node.IsValid() {
		return err
	}
	return k.healSource(what, want, node)
}

// healSource makes the node's address the source of what the host sends to the container.
func (k *healer) healSource(what string, want layout.Attachment, node netip.Addr) error {
	d, err := k.host.DiffSource(want.Addresses[0].IP, node)
	if err != nil || d == "" {
		return err
	}
	want.Addresses[0].Src = node
	return k.put(what, d, func() error { return k.host.Apply(layout.State{Routes: layout.OnHost(want).Routes}) })
}

// healSNAT puts the network's rulesets of a family right, where a container needs them.
func (k *healer) healSNAT(ctx context.Context, veths []string, f family.Family) error {
	policy, d, err := k.diffSNAT(ctx, veths, f)
	if err != nil || d == "" {
		return err
	}
	return k.put(policy.String(), d, func() error {
		_, err := snat.Apply(ctx, k.host, policy)
		return err
	})
}

// diffSNAT says in what the network's rulesets of a family differ from what the containers with these veths need.
func (k *healer) diffSNAT(ctx context.Context, veths []string, f family.Family) (p snat.Policy, difference string, err error) {
	if k.net.snat == nil || len(veths) == 0 {
		return p, "", nil
	}
	if p, err = snat.Resolve(ctx, k.host, k.net.snat, veths, f); err != nil {
		return p, "", fmt.Errorf("resolve %s: %w", p, err)
	}
	if difference, err = snat.Check(ctx, k.host, p); err != nil {
		err = fmt.Errorf("check %s: %w", p, err)
	}
	return p, difference, err
}

// removeLeftovers removes our rules of addresses that are no container's and no ENI's, and of numbers whose table leads nowhere.
// read reads the store: it is asked after the rules, because an address has its owner before it has rules, and loses it after them.
func (k *healer) removeLeftovers(read func() (*snapshot, error)) error {
	rules, err := k.host.Rules()
	if err != nil {
		return err
	}
	s, err := read()
	if err != nil {
		return err
	}
	for _, r := range rules {
		left, err := k.isLeftover(s, r)
		if err != nil {
			return err
		}
		if !left {
			continue
		}
		k.changed++
		if k.dry {
			k.say("would remove the rule %q: it is nobody's", r.Rule)
			continue
		}
		if err := k.host.RemoveRule(r.Rule); err != nil {
			return err
		}
		k.say("removed the rule %q: it was nobody's", r.Rule)
	}
	return nil
}

// isLeftover says whether a rule of ours serves nobody.
func (k *healer) isLeftover(s *snapshot, r netstate.Rule) (bool, error) {
	if r.Numbered() && !slices.ContainsFunc(s.enis, func(e store.ENI) bool { return e.Table == r.Table }) {
		leads, err := k.host.Leads(r.Rule)
		return !leads, err
	}
	ip, ours := r.Of()
	if !ours || slices.ContainsFunc(s.enis, func(e store.ENI) bool { return e.PrimaryIP == ip || e.PrimaryIP6 == ip }) {
		return false, nil
	}
	a, known := s.address(ip)
	if known && a.State == store.Assigned {
		eni, _ := s.eni(a.ENI)
		return eni.Primary && r.Pref == layout.PrefFromContainer, nil // what is on the primary ENI leaves by main
	}
	return k.host.Unrouted(ip)
}
