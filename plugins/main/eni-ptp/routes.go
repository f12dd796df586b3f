package main

import (
	"fmt"
	"net/netip"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/sandbox"
)

// ways says what a container reaches by the interface.
type ways struct {
	beside []netip.Addr // the gateways of families in which another interface has the default route
	to     []netip.Prefix
}

// chooseWays decides about the default route: the first interface has it, unless the configuration says otherwise. A second
// one is never put in the first one's place, whose traffic it would take.
func (c *call) chooseWays(inside *netstate.Handle, links []netstate.Link, ends pair) (ways, error) {
	to, err := c.conf.Destinations()
	if err != nil {
		return ways{}, err
	}
	wanted := c.conf.DefaultRoute
	if wanted != nil && !*wanted {
		return ways{beside: layout.AllGateways(), to: to}, nil
	}
	w := ways{to: to}
	if len(links) == 1 { // lo
		return w, nil
	}
	for _, gw := range layout.AllGateways() {
		other, found, err := otherWayOut(inside, ends.peer, gw)
		if err != nil {
			return ways{}, err
		}
		if !found {
			continue
		}
		if wanted != nil {
			return ways{}, c.refuseRoute(inside, other, `leave "defaultRoute" out, or give the other network none`)
		}
		w.beside = append(w.beside, gw)
	}
	return w, nil
}

// otherWayOut returns the route by which another interface of the container has the gateway, or the default route of its
// family.
func otherWayOut(inside *netstate.Handle, own netstate.Link, gw netip.Addr) (layout.Route, bool, error) {
	for _, to := range []netip.Addr{gw, layout.Elsewhere(gw)} {
		route, found, err := inside.RouteTo(to)
		if err != nil {
			return route, false, err
		}
		if found && route.Table == layout.TableMain && route.Dev.Index != own.Index &&
			(route.Dst == layout.Host(gw) || route.Dst == layout.Default(gw)) {
			return route, true, nil
		}
	}
	return layout.Route{}, false, nil
}

// refuseRoute is the error of a route that another interface of the container has.
func (c *call) refuseRoute(inside *netstate.Handle, other layout.Route, hint string) error {
	link, err := inside.LinkByIndex(other.Dev.Index)
	if err != nil {
		return err
	}
	return cnierr.New(cnierr.Config, fmt.Errorf("the container has a route to %s by %s already", other.Dst, link.Name), hint)
}

// add adds the routes that IPAM wants. By which gateway is no question: there is one a family, and of a family without an
// address there are no routes.
func (w *ways) add(granted *types100.Result, ips []netip.Addr) {
	for _, r := range granted.Routes {
		if r == nil {
			continue
		}
		if dst := netconf.Prefix(r.Dst); dst.IsValid() && dst.Bits() > 0 && !slices.Contains(w.to, dst) {
			w.to = append(w.to, dst)
		}
	}
	gateways := layout.Gateways(ips)
	w.to = slices.DeleteFunc(w.to, func(dst netip.Prefix) bool { return !slices.Contains(gateways, layout.GatewayOf(dst.Addr())) })
}

// refuseTaken returns an error where one of the destinations is another interface's already, which would lose it.
func (c *call) refuseTaken(inside *netstate.Handle, w ways, own netstate.Link) error {
	for _, dst := range w.to {
		route, found, err := inside.RouteIn(layout.TableMain, dst)
		if err != nil {
			return err
		}
		if found && route.Dev.Index != own.Index {
			return c.refuseRoute(inside, route, `leave it out of "routes", or out of the other network's`)
		}
	}
	return nil
}

// keepApart routes what has an address of the container by the interface of that address, where some interface has
// destinations, which would draw it: answers, for which the VPC and strict reverse path filters know one way. A container
// with one interface needs none of it.
func keepApart(inside *netstate.Handle, a layout.Attachment) error {
	first := len(a.Beside) == 0
	if !first && len(a.Destinations) == 0 || a.Interface.Index == layout.Loopback().Index+1 { // nothing was there before
		return nil
	}
	if first {
		rules, err := inside.Rules()
		if err != nil || !slices.ContainsFunc(rules, func(r netstate.Rule) bool { return r.Ours && r.Out != "" }) {
			return err
		}
	}
	apart, err := inside.BySource()
	if err != nil {
		return err
	}
	rules := apart.Rules
	apart.Rules = nil
	if err := inside.Apply(apart); err != nil { // no rule to a table that is not whole: it is not ours alone to undo
		return err
	}
	return inside.Apply(layout.State{Rules: rules})
}

// waysOf reads from a result what ADD chose: only routes of main are in it.
func waysOf(result *types100.Result) ways {
	w := ways{beside: layout.AllGateways()}
	for _, r := range result.Routes {
		if r == nil {
			continue
		}
		gw, _ := netip.AddrFromSlice(r.GW)
		switch dst := netconf.Prefix(r.Dst); {
		case gw.Unmap() != layout.GatewayOf(dst.Addr()):
		case dst.Bits() == 0:
			w.beside = slices.DeleteFunc(w.beside, func(other netip.Addr) bool { return other == gw.Unmap() })
		default:
			w.to = append(w.to, dst)
		}
	}
	return w
}

// forgetInside removes the rules that an attachment beside another has in the container: unlike its routes, they do not go
// with its interface.
func forgetInside(inside *netstate.Handle, ifName string, ips []netip.Addr) error {
	a := layout.Attachment{Interface: layout.Device{Name: ifName}, Beside: layout.AllGateways()}
	for _, ip := range ips {
		a.Addresses = append(a.Addresses, layout.Address{IP: ip})
	}
	if _, err := inside.RemoveRules(layout.RulesInside(a)...); err != nil {
		return fmt.Errorf("in the container: %w", err)
	}
	return nil
}

// leaveSandbox is forgetInside for an attachment that goes, if its container is still there: the veth leads to it, so that the
// namespace at the path is no later container's. A path that cannot be opened is no obstacle.
func (c *call) leaveSandbox(a attachment, veth netstate.Link, ips []netip.Addr) error {
	if veth.Index == 0 {
		return nil
	}
	ns, err := sandbox.Open(a.netns)
	if err != nil {
		c.log.Info("the container's rules stay", "error", err)
		return nil
	}
	defer ns.Close()
	if same, err := c.host.LeadsTo(veth, ns); err != nil || !same {
		return err
	}
	inside, err := netstate.At(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	return forgetInside(inside, a.owner.IfName, ips)
}
