package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/sandbox"
)

// compare names the first difference between the kernel and what an ADD would make; "" says that there is none. What
// chained plugins may change is not one: further interfaces, the container's MAC and MTU (tuning), the table of its
// routes (sbr).
func (c *call) compare(ns *sandbox.Netns, result *types100.Result) (string, error) {
	ips := netconf.Addresses(result, c.owner.IfName)
	if len(ips) == 0 {
		return "prevResult has no address of " + c.owner.IfName, nil
	}
	place, err := c.locate(ips)
	if err != nil {
		return "", err
	}
	inside, err := netstate.At(ns)
	if err != nil {
		return "", err
	}
	defer inside.Close()
	a, peer, d, err := c.findPair(inside, ns)
	if d != "" || err != nil {
		return d, err
	}
	a.Addresses = place.addresses
	w := waysOf(result)
	a.Beside, a.Destinations = w.beside, w.to
	// One that is from before the configuration was changed is whole in the layout that it has.
	a.Routing = c.conf.Routing
	if a.Routing, err = c.host.RoutingOf(a); err != nil {
		return "", err
	}
	steps := []func() (string, error){
		func() (string, error) { return c.compareHost(place, a.Routing) },
		func() (string, error) { return c.host.Diff(layout.OnHost(a)) },
		func() (string, error) { return c.compareMarks(a) },
		func() (string, error) { return c.compareSource(place) },
		func() (string, error) { return c.compareInside(inside, a, peer) },
	}
	for _, step := range steps {
		if d, err := step(); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

// findPair returns the attachment's links, or says what is missing of them.
func (c *call) findPair(inside *netstate.Handle, ns *sandbox.Netns) (a layout.Attachment, peer netstate.Link, d string, err error) {
	veth, err := c.host.LinkByName(c.names.Veth)
	if errors.Is(err, netstate.ErrNoLink) {
		return a, peer, fmt.Sprintf("link %s is missing", c.names.Veth), nil
	}
	if err != nil {
		return a, peer, "", err
	}
	peer, err = inside.LinkByName(c.owner.IfName)
	if errors.Is(err, netstate.ErrNoLink) {
		return a, peer, fmt.Sprintf("in the container: link %s is missing", c.owner.IfName), nil
	}
	if err != nil {
		return a, peer, "", err
	}
	same, err := c.host.IsPair(veth, peer, ns)
	if err == nil && !same {
		d = fmt.Sprintf("link %s is not the peer of the container's %s", veth.Name, peer.Name)
	}
	if d != "" || err != nil {
		return a, peer, d, err
	}
	return layout.Attachment{Veth: veth.Device, VethMAC: veth.MAC, Interface: peer.Device}, peer, "", nil
}

// compareHost compares forwarding and the ENIs.
func (c *call) compareHost(p placement, routing netconf.Routing) (string, error) {
	forwarding, err := c.host.Forwarding(p.families())
	if err != nil {
		return "", err
	}
	if d, err := c.host.Diff(forwarding); d != "" || err != nil {
		return d, err
	}
	for _, eni := range p.enis {
		link, err := c.host.ENILink(eni)
		if errors.Is(err, netstate.ErrNoLink) {
			return fmt.Sprintf("the link of %s is missing", eni.ID), nil
		}
		if err != nil {
			return "", err
		}
		if d, err := c.host.Diff(layout.ENI(eni, link.Device, routing)); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

// compareMarks looks at what marks the veth's packets, where the rules are per ENI.
func (c *call) compareMarks(a layout.Attachment) (string, error) {
	if a.Routing != netconf.PerENI {
		return "", nil
	}
	veth, err := c.host.LinkByIndex(a.Veth.Index)
	if err != nil {
		return "", err
	}
	by, d, err := marking.Diff(c.ctx, veth, a)
	c.log.Info("looked at what marks the packets", "by", by, "difference", d)
	return d, err
}

func (c *call) compareSource(p placement) (string, error) {
	for _, a := range p.addresses {
		node := p.primary.OwnIP(a.IP)
		if !node.IsValid() {
			continue
		}
		if d, err := c.host.DiffSource(a.IP, node); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

func (c *call) compareInside(inside *netstate.Handle, a layout.Attachment, peer netstate.Link) (string, error) {
	want := layout.Inside(a)
	want.Routes = nil // sbr moves them: Reach asks for them, wherever they are
	if c.macChanged(peer) {
		want.Neighs = nil // the kernel forgets a link's neighbours with its MAC; the veth answers ARP
	}
	d, err := inside.Diff(want)
	for _, address := range a.Addresses {
		if d != "" || err != nil {
			break
		}
		d, err = compareReach(inside, a, address.IP)
	}
	if d == "" && err == nil {
		d, err = compareDestinations(inside, a)
	}
	if d != "" {
		d = "in the container: " + d
	}
	return d, err
}

// compareDestinations asks for the routes to Destinations, unless another has rules for the attachment's addresses: sbr takes
// the routes out of main, and puts its own default route in their place.
func compareDestinations(inside *netstate.Handle, a layout.Attachment) (string, error) {
	if len(a.Destinations) == 0 {
		return "", nil
	}
	rules, err := inside.Rules()
	if err != nil {
		return "", err
	}
	for _, r := range rules {
		theirs := !r.Ours && r.From.IsValid()
		if theirs && slices.ContainsFunc(a.Addresses, func(own layout.Address) bool { return r.From == layout.Host(own.IP) }) {
			return "", nil
		}
	}
	return inside.Diff(layout.ToDestinations(a))
}

func compareReach(inside *netstate.Handle, a layout.Attachment, ip netip.Addr) (string, error) {
	for _, l := range layout.Reach(a, ip) {
		if d, err := inside.DiffLookup(l); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

// macChanged says whether the container's link has another MAC than ADD gave it.
func (c *call) macChanged(peer netstate.Link) bool {
	given, err := c.conf.RequestedMAC(c.args.Args)
	if err != nil || given == nil {
		given = c.names.Peer
	}
	return !bytes.Equal(peer.MAC, given)
}
