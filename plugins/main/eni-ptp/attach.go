package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/conntrack"
	"github.com/enichain/enichain/core/delegate"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/sandbox"
)

// pair is the two ends of a container's veth.
type pair struct {
	veth, peer netstate.Link
	old        bool // an earlier ADD made it
}

// attach makes the attachment, or completes what an earlier ADD of the same key made. Where it fails, what it made goes,
// and the address with it; what an earlier ADD made stays, for that may be in use.
func (c *call) attach(ns *sandbox.Netns) (result *types100.Result, err error) {
	mac, err := c.conf.RequestedMAC(c.args.Args)
	if err != nil {
		return nil, cnierr.New(cnierr.Config, err, "")
	}
	inside, err := netstate.At(ns)
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	links, err := inside.Links() // a single answer says, nearly always, that there is nothing yet
	if err != nil {
		return nil, err
	}
	ends, err := c.earlierPair(links, ns)
	if err != nil {
		return nil, err
	}
	w, err := c.chooseWays(inside, links, ends)
	if err != nil {
		return nil, err
	}
	granted, err := c.requestAddress(ns, ends.old)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	ok := false
	defer func() {
		if !ok && !ends.old {
			err = errors.Join(err, c.undo(inside, ips))
		}
	}()
	given, err := c.usable(granted, ends)
	if err != nil {
		return nil, err
	}
	w.add(granted, given)
	if err := c.refuseTaken(inside, w, ends.peer); err != nil {
		return nil, err
	}
	ips = given // from here on their rules are ours to undo
	place, err := c.locateNumbered(ips)
	if err != nil {
		return nil, err
	}
	mtu, err := c.prepareHost(place, ends.old)
	if err != nil {
		return nil, err
	}
	if !ends.old {
		if ends, err = c.makePair(inside, ns, mac, mtu); err != nil {
			return nil, err
		}
	}
	if err := c.wire(inside, ns, ends, place, w); err != nil {
		return nil, err
	}
	result = c.result(granted, ips, ends, w)
	if err := c.translate(result, place); err != nil {
		return nil, err
	}
	ok = true
	c.log.Info("attached", "addresses", ips, "veth", c.names.Veth, "again", ends.old)
	return result, nil
}

// minMTU6 is the least MTU of a link with IPv6 (RFC 8200, section 5): the kernel has no IPv6 on one below it.
const minMTU6 = 1280

// earlierPair looks, among the container's links too, for what an earlier ADD left: its pair is used again, a veth whose peer is
// elsewhere removed. An interface that is not ours is another's.
func (c *call) earlierPair(inside []netstate.Link, ns *sandbox.Netns) (pair, error) {
	veth, err := c.host.LinkByName(c.names.Veth)
	missing := errors.Is(err, netstate.ErrNoLink)
	if err != nil && !missing {
		return pair{}, err
	}
	i := slices.IndexFunc(inside, func(l netstate.Link) bool { return l.Name == c.args.IfName })
	free := i < 0
	if !missing && !free {
		peer := inside[i]
		same, err := c.host.IsPair(veth, peer, ns)
		if err != nil || same {
			return pair{veth: veth, peer: peer, old: same}, err
		}
	}
	if !free {
		return pair{}, cnierr.New(cnierr.Environment, fmt.Errorf("the container has an interface %s already", c.args.IfName),
			"choose another CNI_IFNAME, or remove the interface")
	}
	if !missing {
		return pair{}, c.host.RemoveLink(veth.Device)
	}
	return pair{}, nil
}

// requestAddress asks IPAM. Where that did not fail in due form, it may have taken an address all the same, which is given
// back; not that of a container which lives, whose ADD is repeated.
func (c *call) requestAddress(ns *sandbox.Netns, again bool) (*types100.Result, error) {
	if free := c.takeFree(ns); free != nil {
		return free, nil
	}
	granted, err := c.ipam().Add(c.ctx)
	var said *types.Error
	absent := errors.Is(err, delegate.ErrType) || errors.Is(err, delegate.ErrMissing)
	switch {
	case err == nil:
		return granted, nil
	case absent:
		return nil, cnierr.New(cnierr.Config, fmt.Errorf("get an address: %w", err),
			`correct "type" in "ipam", or install the plugin beside this one`)
	case !again && (errors.Is(err, delegate.ErrResult) || !errors.As(err, &said)):
		err = errors.Join(err, c.releaseAddress())
	}
	return nil, cnierr.New(cnierr.IO, fmt.Errorf("get an address: %w", err), "")
}

// releaseAddress gives the address back to IPAM; it is no error if there is none.
func (c *call) releaseAddress() error {
	if c.conf.IPAM.Type == "" {
		return nil
	}
	if c.releaseFree() {
		return nil
	}
	if err := c.ipam().Run(c.ctx, "DEL"); err != nil {
		return fmt.Errorf("give the address back: %w", err)
	}
	return nil
}

// usable returns IPAM's addresses, where the container can have them.
func (c *call) usable(granted *types100.Result, ends pair) ([]netip.Addr, error) {
	given, err := containerAddresses(granted)
	if err != nil {
		return nil, err
	}
	if err := c.refuseInUse(given, ends); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(given, netip.Addr.Is6) && c.conf.MTU != 0 && c.conf.MTU < minMTU6 {
		return nil, cnierr.New(cnierr.Config, fmt.Errorf(`"mtu" is %d, and IPAM gave an IPv6 address`, c.conf.MTU),
			fmt.Sprintf("IPv6 needs %d (RFC 8200, section 5)", minMTU6))
	}
	return given, nil
}

// containerAddresses returns IPAM's addresses. Their masks say nothing here: a container has only routes.
func containerAddresses(granted *types100.Result) ([]netip.Addr, error) {
	var ips []netip.Addr
	for _, ip := range granted.IPs {
		if ip == nil {
			return nil, cnierr.New(cnierr.Config, errors.New("IPAM gave an address that is null"), "")
		}
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		if a = a.Unmap(); !ok || !a.IsGlobalUnicast() {
			return nil, cnierr.New(cnierr.Config, fmt.Errorf("IPAM gave the address %s", ip.Address.IP), "no container can have it")
		}
		ips = append(ips, a)
	}
	if len(ips) == 0 {
		return nil, cnierr.New(cnierr.Config, errors.New("IPAM gave no address"), "")
	}
	return ips, nil
}

// refuseInUse is the kernel's word against the store's: an address of the host itself, or one that is routed to another
// link, has an owner that the store does not know. Somebody removed the store, another CNI plugin has it, or two networks
// with different stores share an ENI. Another IPAM may give an address away before its veth is gone, so that there the
// route is taken over.
func (c *call) refuseInUse(ips []netip.Addr, ends pair) error {
	if !c.conf.OwnIPAM() || ends.old {
		return nil
	}
	for _, ip := range ips {
		route, found, err := c.host.RouteTo(ip)
		if err != nil {
			return err
		}
		if !found || route.Dst != layout.Host(ip) {
			continue
		}
		link, err := c.host.LinkByIndex(route.Dev.Index)
		if err != nil {
			return err
		}
		return cnierr.New(cnierr.Kernel, fmt.Errorf("%s is in use on this host: %s", ip, usedBy(route, link)),
			"the store does not know that owner: see what it is; a retry gets another address")
	}
	return nil
}

// usedBy says who has an address that a route leads to.
func usedBy(route layout.Route, link netstate.Link) string {
	if route.Table == layout.TableLocal {
		return "it is the host's own, on " + link.Name
	}
	if owner, ours := layout.ParseAlias(link.Alias); ours {
		return fmt.Sprintf("it is routed to %s, of %s", link.Name, owner)
	}
	return "it is routed to " + link.Name
}

func (c *call) makePair(inside *netstate.Handle, ns *sandbox.Netns, mac net.HardwareAddr, mtu int) (pair, error) {
	if mac == nil {
		mac = c.names.Peer
	}
	veth, err := c.host.AddVeth(netstate.Veth{
		Name: c.names.Veth, MAC: c.names.MAC, Alias: layout.Alias(c.owner), MTU: mtu,
		Peer: c.args.IfName, PeerMAC: mac, PeerIn: ns,
	})
	if err != nil {
		return pair{}, err
	}
	peer, err := inside.LinkByName(c.args.IfName)
	return pair{veth: veth, peer: peer}, err
}

func (c *call) forgetRules(ips []netip.Addr) error {
	var rules []layout.Rule
	for _, ip := range ips {
		rules = append(rules, netstate.ForAddress(ip)...)
	}
	_, err := c.host.RemoveRules(rules...)
	return err
}

// undo takes away what attach made. The address is kept where its veth would not go.
func (c *call) undo(inside *netstate.Handle, ips []netip.Addr) error {
	err := errors.Join(c.forgetRules(ips), forgetInside(inside, c.args.IfName, ips), c.host.RemoveLink(layout.Device{Name: c.names.Veth}))
	if _, e := c.host.LinkByName(c.names.Veth); err == nil || errors.Is(e, netstate.ErrNoLink) {
		err = errors.Join(err, conntrack.Flush(ips...), c.releaseAddress())
	}
	if err != nil {
		return fmt.Errorf("and undo it: %w", err)
	}
	return nil
}

// result says what was made: the host's end, the container's, each address as the container has it, and its routes in main.
func (c *call) result(granted *types100.Result, ips []netip.Addr, ends pair, w ways) *types100.Result {
	r := &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{
			{Name: ends.veth.Name, Mac: ends.veth.MAC.String(), Mtu: ends.veth.MTU},
			{Name: ends.peer.Name, Mac: ends.peer.MAC.String(), Mtu: ends.peer.MTU, Sandbox: c.args.Netns},
		},
		DNS: granted.DNS,
	}
	for _, gw := range layout.Gateways(ips) {
		if slices.Contains(w.beside, gw) {
			continue
		}
		r.Routes = append(r.Routes,
			&types.Route{Dst: netconf.IPNet(layout.Default(gw)), GW: gw.AsSlice()}, &types.Route{Dst: netconf.IPNet(layout.Host(gw))})
	}
	for _, dst := range w.to {
		r.Routes = append(r.Routes, &types.Route{Dst: netconf.IPNet(dst), GW: layout.GatewayOf(dst.Addr()).AsSlice()})
	}
	if !c.conf.DNS.IsEmpty() {
		r.DNS = c.conf.DNS
	}
	for _, ip := range ips {
		r.IPs = append(r.IPs, &types100.IPConfig{
			Interface: types100.Int(1), Address: netconf.IPNet(layout.Host(ip)), Gateway: layout.GatewayOf(ip).AsSlice(),
		})
	}
	return r
}
