package netstate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
)

// Rule is a rule of the kernel. Ours says that it has our protocol; Plain, that it selects and acts in no other way than
// a layout.Rule can say.
type Rule struct {
	layout.Rule
	Ours  bool
	Plain bool
}

// Rules returns all rules of IPv4 and IPv6, those of each family in the order in which the kernel tries them.
func (h *Handle) Rules() ([]Rule, error) {
	all, err := dump("rules", func() ([]netlink.Rule, error) { return h.nl.RuleList(netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	rules := make([]Rule, 0, len(all))
	for _, k := range all {
		if k.Family != netlink.FAMILY_V4 && k.Family != netlink.FAMILY_V6 { // multicast routing has rules too
			continue
		}
		rules = append(rules, Rule{
			Rule: layout.Rule{
				Pref: k.Priority, From: prefix(k.Src), To: prefix(k.Dst), Mark: k.Mark, Out: k.OifName, Table: k.Table,
				IPv6: k.Family == netlink.FAMILY_V6,
				Goto: max(k.Goto, 0),
				Mask: maskOf(k),
			},
			Ours:  k.Protocol == layout.Protocol,
			Plain: plain(k),
		})
	}
	return rules, nil
}

// plain says whether a rule has nothing that a layout.Rule lacks.
func plain(k netlink.Rule) bool {
	return !k.Invert && k.Tos == 0 && k.TunID == 0 && k.IifName == "" &&
		k.SuppressPrefixlen < 0 && k.SuppressIfgroup < 0 && k.IPProto == 0 && k.Sport == nil && k.Dport == nil &&
		k.UIDRange == nil && (k.Mask == nil || *k.Mask == k.Mark || k.Mark != 0)
}

// maskOf returns the Mask of a layout.Rule.
func maskOf(k netlink.Rule) uint32 {
	if k.Mask == nil || *k.Mask == k.Mark {
		return 0
	}
	return *k.Mask
}

func sameSelector(a, b layout.Rule) bool {
	return a.Pref == b.Pref && a.From == b.From && a.To == b.To && a.Mark == b.Mark && a.MarkMask() == b.MarkMask() && a.Out == b.Out && a.Family() == b.Family()
}

// RouteTo returns the route that the kernel finds for a packet of the host's own to the address, as it stands in its
// table; false where there is none. No dump is needed for it.
func (h *Handle) RouteTo(to netip.Addr) (layout.Route, bool, error) {
	return h.lookup(layout.Lookup{To: to}, true)
}

// RouteIn returns the table's route to exactly the destination, the first there is; false where there is none.
func (h *Handle) RouteIn(table int, dst netip.Prefix) (layout.Route, bool, error) {
	all, err := h.routes(table, layout.Device{}, family.Of(dst.Addr()))
	if err != nil {
		return layout.Route{}, false, err
	}
	for _, r := range all {
		if routePrefix(r) == dst {
			return layout.Route{Dst: dst, Via: addr(r.Gw), Dev: layout.Device{Index: r.LinkIndex}, Table: table, Src: addr(r.Src)}, true, nil
		}
	}
	return layout.Route{}, false, nil
}

// BySource returns what makes packets with an address of a device leave by that device, whatever main will say: its routes
// of main in a table of its own, and a rule for each address, where that has none yet at our preference.
func (h *Handle) BySource() (layout.State, error) {
	var s layout.State
	rules, err := h.Rules()
	if err != nil {
		return s, err
	}
	all, err := dump("addresses", func() ([]netlink.Addr, error) { return h.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return s, err
	}
	devices := map[int]bool{}
	for _, a := range all {
		from := layout.Host(addr(a.IP))
		ruled := slices.ContainsFunc(rules, func(r Rule) bool { return r.Pref == layout.PrefFromContainer && r.From == from })
		if from.Addr().IsLoopback() || from.Addr().IsLinkLocalUnicast() || ruled {
			continue
		}
		devices[a.LinkIndex] = true
		s.Rules = append(s.Rules, layout.Rule{Pref: layout.PrefFromContainer, From: from, Table: layout.TableInside + a.LinkIndex})
	}
	for _, f := range family.All() {
		main, err := h.routes(layout.TableMain, layout.Device{}, f)
		if err != nil {
			return s, err
		}
		for _, r := range main {
			if devices[r.LinkIndex] && r.Type == unix.RTN_UNICAST {
				s.Routes = append(s.Routes, layout.Route{
					Dst: routePrefix(r), Via: addr(r.Gw), Dev: layout.Device{Index: r.LinkIndex}, Table: layout.TableInside + r.LinkIndex, Src: addr(r.Src),
				})
			}
		}
	}
	return s, nil
}

// SourceTo returns the source address that the host's own packets to the address get.
func (h *Handle) SourceTo(to netip.Addr) (netip.Addr, error) {
	r, found, err := h.lookup(layout.Lookup{To: to}, false)
	if err == nil && !found {
		err = fmt.Errorf("find source address to %s: %w", to, unix.ENETUNREACH)
	}
	return r.Src, err
}

// lookup asks the kernel; with match it answers the table's route, without, what becomes of the packet. The device in
// the answer has no name.
func (h *Handle) lookup(l layout.Lookup, match bool) (layout.Route, bool, error) {
	got, err := h.nl.RouteGetWithOptions(ip(l.To), &netlink.RouteGetOptions{SrcAddr: ip(l.From), Mark: l.Mark, FIBMatch: match})
	switch {
	case err == nil && len(got) > 0:
		r := got[0]
		return layout.Route{
			Dst: routePrefix(r), Via: addr(r.Gw), Dev: layout.Device{Index: r.LinkIndex}, Table: r.Table, Src: addr(r.Src),
		}, true, nil
	case err == nil, unreachable(err):
		return layout.Route{}, false, nil
	}
	return layout.Route{}, false, fmt.Errorf("%s: %w", l, err)
}

// unreachable says whether a lookup's error is an answer: no route, or a source address that is not the host's.
func unreachable(err error) bool {
	for _, errno := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.ENOENT, unix.ENODEV, unix.EAFNOSUPPORT, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// Addresses returns the addresses of all links, by the link's index, in the order in which the kernel has them.
func (h *Handle) Addresses() (map[int][]netip.Addr, error) {
	all, err := dump("addresses", func() ([]netlink.Addr, error) { return h.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	out := make(map[int][]netip.Addr)
	for _, a := range all {
		out[a.LinkIndex] = append(out[a.LinkIndex], addr(a.IP))
	}
	return out, nil
}

// HostRoutes returns the single addresses that are routed by the device, in any of the layouts: what a host veth leads to.
func (h *Handle) HostRoutes(dev layout.Device) ([]netip.Addr, error) {
	var ips []netip.Addr
	for _, table := range []int{layout.TableMain, layout.TablePods} {
		routed, err := h.singles(table, dev)
		if gone(err) { // the device has gone since it was found, and its routes with it
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, ip := range routed {
			if !slices.Contains(ips, ip) {
				ips = append(ips, ip)
			}
		}
	}
	return ips, nil
}

// singles returns the single addresses that a table routes by a device, or by all where the device is none.
func (h *Handle) singles(table int, dev layout.Device) ([]netip.Addr, error) {
	var ips []netip.Addr
	for _, f := range family.All() {
		routes, err := h.routes(table, dev, f)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if p := routePrefix(r); p.IsSingleIP() {
				ips = append(ips, p.Addr())
			}
		}
	}
	return ips, nil
}

// KeepSource gives an attachment's addresses the source that their routes by its veth have, in whatever layout.
func (h *Handle) KeepSource(c layout.Attachment) error {
	for i, a := range c.Addresses {
		route, found, err := h.RouteTo(a.IP)
		if err != nil {
			return err
		}
		if found && route.Dst == layout.Host(a.IP) && route.Dev.Index == c.Veth.Index {
			c.Addresses[i].Src = route.Src
		}
	}
	return nil
}

// RoutingOf returns the layout that an attachment has on the host: its own, unless it is its routes of the other that are there.
func (h *Handle) RoutingOf(c layout.Attachment) (netconf.Routing, error) {
	for _, routing := range []netconf.Routing{c.Routing, layout.Other(c.Routing)} {
		for _, r := range layout.OwnOnHost(c.In(routing)).Routes {
			r.Src = netip.Addr{}
			if d, err := h.diffRoute(r); d == "" || err != nil {
				return routing, err
			}
		}
	}
	return c.Routing, nil
}

// Routed returns the single addresses that a table routes.
func (h *Handle) Routed(table int) (map[netip.Addr]bool, error) {
	ips, err := h.singles(table, layout.Device{})
	routed := make(map[netip.Addr]bool, len(ips))
	for _, ip := range ips {
		routed[ip] = true
	}
	return routed, err
}

// Empty says whether a table has no route.
func (h *Handle) Empty(table int) (bool, error) {
	for _, f := range family.All() {
		if routes, err := h.routes(table, layout.Device{}, f); err != nil || len(routes) > 0 {
			return false, err
		}
	}
	return true, nil
}
