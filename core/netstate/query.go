package netstate

import (
	"fmt"
	"net/netip"
	"slices"

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
func (h *Handle) Rules() ([]Rule, error) { return list(h, "rules", allRules(), decodeRule) }

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
		if r.Dst == dst {
			return r.Route, true, nil
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
	all, err := h.addrs(0, unix.AF_UNSPEC)
	if err != nil {
		return s, err
	}
	devices := map[int]bool{}
	for _, a := range all {
		from := layout.Host(a.Addr())
		ruled := slices.ContainsFunc(rules, func(r Rule) bool { return r.Pref == layout.PrefFromContainer && r.From == from })
		if from.Addr().IsLoopback() || from.Addr().IsLinkLocalUnicast() || ruled {
			continue
		}
		devices[a.index] = true
		s.Rules = append(s.Rules, layout.Rule{Pref: layout.PrefFromContainer, From: from, Table: layout.TableInside + a.index})
	}
	for _, f := range family.All() {
		main, err := h.routes(layout.TableMain, layout.Device{}, f)
		if err != nil {
			return s, err
		}
		for _, r := range main {
			if devices[r.Dev.Index] && r.kind == unix.RTN_UNICAST {
				apart := r.Route
				apart.Table = layout.TableInside + r.Dev.Index
				s.Routes = append(s.Routes, apart)
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
	body, err := h.nl.Do(routeTo(l, match))
	if unreachable(err) {
		return layout.Route{}, false, nil
	}
	var r route
	if err == nil {
		r, err = decodeRoute(body)
	}
	if err != nil {
		return layout.Route{}, false, fmt.Errorf("%s: %w", l, err)
	}
	return r.Route, true, nil
}

// unreachable says whether a lookup's error is an answer: no route, or a source address that is not the host's.
func unreachable(err error) bool {
	return isOneOf(err, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.ENOENT, unix.ENODEV, unix.EAFNOSUPPORT, unix.EOPNOTSUPP)
}

// Addresses returns the addresses of all links, by the link's index, in the order in which the kernel has them.
func (h *Handle) Addresses() (map[int][]netip.Addr, error) {
	all, err := h.addrs(0, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	out := make(map[int][]netip.Addr)
	for _, a := range all {
		out[a.index] = append(out[a.index], a.Addr())
	}
	return out, nil
}

// HostRoutes returns the single addresses that are routed by the device, in any of the layouts: what a host veth leads to.
func (h *Handle) HostRoutes(dev layout.Device) ([]netip.Addr, error) {
	var ips []netip.Addr
	for _, f := range family.All() {
		routes, err := h.routes(anyTable, dev, f)
		if gone(err) { // the device has gone since it was found, and its routes with it
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			ours := r.Table == layout.TableMain || r.Table == layout.TablePods
			if ours && r.Dst.IsSingleIP() && !slices.Contains(ips, r.Dst.Addr()) {
				ips = append(ips, r.Dst.Addr())
			}
		}
	}
	return ips, nil
}

// singles returns the single addresses that a table routes.
func (h *Handle) singles(table int) ([]netip.Addr, error) {
	var ips []netip.Addr
	for _, f := range family.All() {
		routes, err := h.routes(table, layout.Device{}, f)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.Dst.IsSingleIP() {
				ips = append(ips, r.Dst.Addr())
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
	ips, err := h.singles(table)
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
