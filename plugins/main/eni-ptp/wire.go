package main

import (
	"errors"
	"fmt"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
)

// wire brings both namespaces to what layout says, all of it after both ends are up. A new attachment first takes away
// the rules that an earlier owner of its addresses may have left; an old one, which may carry traffic, only those that
// differ.
func (c *call) wire(inside *netstate.Handle, ns *sandbox.Netns, ends pair, place placement, w ways) error {
	a := layout.Attachment{
		Veth: ends.veth.Device, VethMAC: ends.veth.MAC, Interface: ends.peer.Device,
		Addresses: place.addresses, Beside: w.beside, Destinations: w.to, Routing: c.conf.Routing,
	}
	if err := c.makeWay(a, ends.old); err != nil {
		return err
	}
	onHost := layout.OnHost(a)
	if err := c.host.Apply(layout.State{Sysctls: onHost.Sysctls, Links: onHost.Links}); err != nil {
		return err
	}
	if err := c.wireInside(inside, ns, a, ends.old); err != nil {
		return fmt.Errorf("in the container: %w", err)
	}
	onHost.Sysctls, onHost.Links = nil, nil
	if err := c.host.Apply(onHost); err != nil {
		return err
	}
	if err := c.setSource(a, place); err != nil {
		return err
	}
	if err := c.mark(a, ends, place); err != nil || !ends.old {
		return err
	}
	return c.host.RemoveOwn(a.In(layout.Other(a.Routing)))
}

// makeWay takes away what would be in the way of an attachment: of a new one, what an earlier owner of its addresses left; of an old
// one, whose routes keep their source, the rules that differ.
func (c *call) makeWay(a layout.Attachment, old bool) error {
	if !old {
		return c.forgetEarlier(a)
	}
	if err := c.host.KeepSource(a); err != nil {
		return err
	}
	return c.host.RemoveStaleRules(layout.OnHost(a).Rules...)
}

// forgetEarlier takes away what an earlier owner of the addresses may have left. Only above another IPAM, which may give an
// address away before its veth is gone, can that be a route.
func (c *call) forgetEarlier(a layout.Attachment) error {
	if err := c.forgetRules(placement{addresses: a.Addresses}.ips()); err != nil || c.conf.OwnIPAM() {
		return err
	}
	a.Veth = layout.Device{} // any
	return c.host.RemoveOwn(a.In(layout.Other(a.Routing)))
}

// mark has the packets of the container's veth marked, where the rules are per ENI.
func (c *call) mark(a layout.Attachment, ends pair, p placement) error {
	if a.Routing != netconf.PerENI {
		if ends.old {
			return marking.Clear(c.host, ends.veth)
		}
		return nil
	}
	eni, alone := p.marked()
	o, err := marking.Set(c.ctx, c.host, ends.veth, a, c.conf.Marking, eni.Program, c.numbered)
	if errors.Is(err, marking.ErrNoTCX) {
		return cnierr.New(cnierr.Kernel, err, `"marking": "auto", or "nftables", needs no tcx (Linux 6.6)`)
	}
	if err != nil {
		return err
	}
	c.log.Info("packets are marked", "by", o.By, "number", eni.Number, "notTCX", o.Against)
	if alone && o.Program != 0 && o.Program != eni.Program {
		if err := c.remember(eni.ID, func(now *store.ENI) { now.Program = o.Program }); err != nil { // the next loads it again
			c.log.Warn("the program is not remembered", "error", err)
		}
	}
	return c.keepNumbers(p)
}

// keepNumbers adds the rules of the ENIs' numbers that a repair, which saw no container yet, took away since they were prepared.
func (c *call) keepNumbers(p placement) error {
	for _, eni := range p.enis {
		if !p.owns(eni) {
			continue
		}
		if err := c.host.Apply(layout.State{Rules: layout.NumberRules(eni)}); err != nil {
			return err
		}
	}
	return nil
}

// wireInside brings the container to what layout says.
func (c *call) wireInside(inside *netstate.Handle, ns *sandbox.Netns, a layout.Attachment, old bool) (err error) {
	if settings := layout.SysctlsInside(a); len(settings) > 0 {
		if err := ns.Do(func() error { return inside.Apply(layout.State{Sysctls: settings}) }); err != nil {
			return err
		}
	}
	rules := layout.RulesInside(a)
	switch {
	case len(rules) == 0:
	case old:
		err = inside.RemoveStaleRules(rules...)
	default:
		_, err = inside.RemoveRules(rules...)
	}
	if err != nil {
		return err
	}
	if err := inside.Apply(layout.Inside(a)); err != nil {
		return err
	}
	if err := keepApart(inside, a); err != nil {
		return err
	}
	return inside.Apply(layout.ToDestinations(a))
}

// setSource makes the node's address the source of what the host sends to the container, where the kernel would choose
// another: kubelet's probes, to which NetworkPolicy and the container's replies refer.
func (c *call) setSource(a layout.Attachment, place placement) error {
	for i, address := range a.Addresses {
		node := place.primary.OwnIP(address.IP)
		if !node.IsValid() {
			continue
		}
		got, err := c.host.SourceTo(address.IP)
		if err != nil {
			return err
		}
		if got == node {
			continue
		}
		a.Addresses[i].Src = node
		if err := c.host.Apply(layout.State{Routes: layout.OnHost(a).Routes}); err != nil {
			return fmt.Errorf("%w (is %s, the primary ENI's address, on this host?)", err, node)
		}
	}
	return nil
}
