package netstate

import (
	"fmt"
	"net/netip"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
)

// RemoveRule removes one rule of ours, that to its table alone. One that is gone already is no error.
func (h *Handle) RemoveRule(r layout.Rule) error {
	if err := h.change(deleteRule(r)); err != nil && !gone(err) {
		return fmt.Errorf("remove rule %s: %w", r, err)
	}
	return nil
}

// Of returns the one address that a rule of ours serves, a container's or an ENI's own; false where it is another rule.
func (r Rule) Of() (netip.Addr, bool) {
	switch {
	case !r.Ours || !r.Plain:
		return netip.Addr{}, false
	case r.Pref == layout.PrefToContainer && r.To.IsSingleIP():
		return r.To.Addr(), true
	case r.Pref == layout.PrefFromContainer && r.From.IsSingleIP():
		return r.From.Addr(), true
	}
	return netip.Addr{}, false
}

// Numbered says whether a rule of ours is that of an ENI's number.
func (r Rule) Numbered() bool {
	return r.Ours && r.Plain && r.Pref == layout.PrefFromContainer && r.Mark != 0 && r.MarkMask() == layout.MaskENI
}

// Leads says whether the table of a rule has a default route of the rule's family. That of an ENI which is gone has none.
func (h *Handle) Leads(r layout.Rule) (bool, error) {
	unspecified := netip.IPv4Unspecified()
	if r.Family() == family.IPv6 {
		unspecified = netip.IPv6Unspecified()
	}
	_, found, err := h.RouteIn(r.Table, layout.Default(unspecified))
	return found, err
}

// Unrouted says whether no route is for the address alone. One that has such a route is somebody's, whoever knows of it:
// eni-ptp works above other IPAM plugins, and networks may have stores of their own. A container's address has its route
// before its rules and loses it after them, except with its namespace; an ENI's is local.
func (h *Handle) Unrouted(ip netip.Addr) (bool, error) {
	route, found, err := h.RouteTo(ip)
	return err == nil && (!found || route.Dst != layout.Host(ip)), err
}
