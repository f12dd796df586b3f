package netstate

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
)

// RemoveRules removes all of our rules with the preference and the selector of each of the rules, whatever table they
// point to: an earlier owner's too. Rules of another protocol stay. It says how many went.
func (h *Handle) RemoveRules(rules ...layout.Rule) (int, error) {
	n := 0
	for _, r := range rules {
		if !r.From.IsValid() && !r.To.IsValid() && r.Mark == 0 && r.Out == "" {
			return n, fmt.Errorf("remove rule %d: it selects no packets, so that all of ours there would go", r.Pref)
		}
		r.Table = 0 // matches any (net/core/fib_rules.c, rule_find)
		for {
			err := h.nl.RuleDel(kernelRule(r))
			if gone(err) {
				break
			}
			if err != nil {
				return n, fmt.Errorf("remove rule %d of %s: %w", r.Pref, selector(r), err)
			}
			n++
		}
	}
	return n, nil
}

// RemoveStaleRules removes our rules that have the preference and the selector of one of the rules but another table.
// It dumps all rules, where RemoveRules does not, but never leaves a moment without the right one.
func (h *Handle) RemoveStaleRules(rules ...layout.Rule) error {
	all, err := h.Rules()
	if err != nil {
		return err
	}
	for _, want := range rules {
		for _, got := range all {
			if !got.Ours || !sameSelector(got.Rule, want) || got.Table == want.Table {
				continue
			}
			if err := h.nl.RuleDel(kernelRule(got.Rule)); err != nil && !gone(err) {
				return fmt.Errorf("remove stale rule %s: %w", got.Rule, err)
			}
		}
	}
	return nil
}

// RemoveOwn takes away what is a container's own on the host in a layout: its rules, whatever table they point to, and its
// routes, which where its veth is none are those by any device.
func (h *Handle) RemoveOwn(c layout.Attachment) error {
	own := layout.OwnOnHost(c)
	if _, err := h.RemoveRules(own.Rules...); err != nil {
		return err
	}
	return each("remove route", own.Routes, h.removeRoute)
}

// FindOwn names the first route or rule that is a container's own on the host in a layout, whatever table the rule points to;
// "" says that there is none.
func (h *Handle) FindOwn(c layout.Attachment) (string, error) {
	own := layout.OwnOnHost(c)
	for _, r := range own.Routes {
		r.Src = netip.Addr{}
		if d, err := h.diffAbsent(r); d != "" || err != nil {
			return d, err
		}
	}
	if len(own.Rules) == 0 {
		return "", nil
	}
	all, err := h.Rules()
	if err != nil {
		return "", err
	}
	for _, want := range own.Rules {
		for _, got := range all {
			if got.Ours && got.Plain && sameSelector(got.Rule, want) {
				return fmt.Sprintf("rule %q is there and must not be", got.Rule), nil
			}
		}
	}
	return "", nil
}

// ForAddress returns the rules that a container's address may have, with no table.
func ForAddress(ip netip.Addr) []layout.Rule { return layout.AddressRules(layout.Address{IP: ip}) }

// removeRoute removes the routes of the table, to the destination, by the device, whoever added them.
func (h *Handle) removeRoute(r layout.Route) error {
	routes, err := h.routes(r.Table, r.Dev, family.Of(r.Dst.Addr()))
	if err != nil {
		return err
	}
	for _, got := range routes {
		if routePrefix(got) != r.Dst {
			continue
		}
		if err := h.nl.RouteDel(&got); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// routes returns a table's routes by a device, or by all where the device is none.
func (h *Handle) routes(table int, dev layout.Device, f family.Family) ([]netlink.Route, error) {
	// With strict checking the kernel filters by table and device itself. It refuses the netlink package's dumps of other
	// things then, and kernels before 4.20 do not know it.
	if h.nl.SetStrictCheck(true) == nil {
		defer func() { _ = h.nl.SetStrictCheck(false) }()
	}
	filter, mask := &netlink.Route{Table: table, LinkIndex: dev.Index}, netlink.RT_FILTER_TABLE
	if dev.Index != 0 {
		mask |= netlink.RT_FILTER_OIF
	}
	return dump("routes", func() ([]netlink.Route, error) {
		all, err := h.nl.RouteListFiltered(afOf(f), filter, mask)
		if errors.Is(err, unix.ENOENT) { // there was never a route in the table
			return nil, nil
		}
		return all, err
	})
}

// routePrefix returns a route's destination; the kernel leaves out that of a default route.
func routePrefix(r netlink.Route) netip.Prefix {
	if r.Dst == nil {
		if r.Family == netlink.FAMILY_V6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return prefix(r.Dst)
}

// selector returns the part of a rule that says which packets it is for.
func selector(r layout.Rule) string {
	switch {
	case r.To.IsValid():
		return "to " + r.To.String()
	case r.Out != "":
		return "oif " + r.Out
	case r.Mark != 0:
		return fmt.Sprintf("fwmark %#x/%#x", r.Mark, r.MarkMask())
	}
	return "from " + r.From.String()
}
