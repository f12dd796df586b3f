package netstate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

// Forwarding returns what the host needs to forward for containers with addresses of the families, of which IPv4 is one in
// any case: its uplinks are those of its default routes.
func (h *Handle) Forwarding(families []family.Family) (layout.State, error) {
	s := layout.Forwarding()
	uplinks, err := h.uplinks(netip.IPv4Unspecified())
	if err != nil {
		return s, err
	}
	for _, dev := range uplinks {
		s.Sysctls = append(s.Sysctls, layout.Forwards(dev))
	}
	if !slices.Contains(families, family.IPv6) {
		return s, nil
	}
	uplinks, err = h.uplinks(netip.IPv6Unspecified())
	s.Sysctls = append(s.Sysctls, layout.Forwarding6(uplinks...).Sysctls...)
	return s, err
}

// uplinks returns the device of the default route of an address's family, where there is one.
func (h *Handle) uplinks(ip netip.Addr) ([]layout.Device, error) {
	route, found, err := h.RouteTo(layout.Elsewhere(ip))
	if err != nil || !found || route.Dev.Index == 0 {
		return nil, err
	}
	link, err := h.LinkByIndex(route.Dev.Index)
	return []layout.Device{link.Device}, err
}

// PrepareENI brings the ENI's link, its table and its rules to what layout.ENI says, and returns the link. Where that
// was done before, a few questions to the kernel and one read show it, with no dump. It may run in many processes at once.
func (h *Handle) PrepareENI(eni store.ENI, routing netconf.Routing) (Link, error) {
	link, err := h.ENILink(eni)
	if err != nil {
		return Link{}, fmt.Errorf("find the link of %s: %w", eni.ID, err)
	}
	ready, err := h.isReady(eni, link, routing)
	if err != nil {
		return Link{}, fmt.Errorf("prepare %s: %w", eni.ID, err)
	}
	if ready {
		return link, nil
	}
	return h.repair(eni, link, routing)
}

// RepairENI is PrepareENI without the short check, which does not see all damage.
func (h *Handle) RepairENI(eni store.ENI, routing netconf.Routing) (Link, error) {
	link, err := h.ENILink(eni)
	if err != nil {
		return Link{}, fmt.Errorf("find the link of %s: %w", eni.ID, err)
	}
	return h.repair(eni, link, routing)
}

func (h *Handle) repair(eni store.ENI, link Link, routing netconf.Routing) (Link, error) {
	state := layout.ENI(eni, link.Device, routing)
	if len(state.Rules) > 0 {
		if err := h.refuseTaken(eni, link, routing); err != nil {
			return Link{}, fmt.Errorf("prepare %s: %w", eni.ID, err)
		}
		if err := h.RemoveStaleRules(state.Rules...); err != nil {
			return Link{}, fmt.Errorf("prepare %s: %w", eni.ID, err)
		}
	}
	if err := h.Apply(state); err != nil {
		return Link{}, fmt.Errorf("prepare %s: %w", eni.ID, err)
	}
	return h.LinkByIndex(link.Index)
}

// refuseTaken returns an error where the ENI's table, or that of its number, leads out of another device, whose containers
// would be cut off: two stores, or somebody else, count alike. A device that went took its routes along.
func (h *Handle) refuseTaken(eni store.ENI, link Link, routing netconf.Routing) error {
	name, err := h.taken(eni.Table, eni, link)
	if name != "" {
		err = fmt.Errorf("table %d has the default route of %s: networks with stores of their own need a \"tableBase\" each",
			eni.Table, name)
	}
	if err != nil || routing != netconf.PerENI {
		return err
	}
	if eni.Number == 0 {
		return fmt.Errorf("it has no number, which \"routing\": %q needs: an ADD gives it one, unless others have all %d", netconf.PerENI, store.Numbers-1)
	}
	all, err := h.Rules()
	if err != nil {
		return err
	}
	want := layout.NumberRules(eni)[0]
	for _, got := range all {
		if !sameSelector(got.Rule, want) || got.Table == want.Table {
			continue
		}
		name, err := h.taken(got.Table, eni, link)
		if err != nil {
			return err
		}
		if name != "" || !got.Ours {
			return fmt.Errorf("the rule %q takes the number %d to a table of %s: networks with stores of their own need \"tableBase\"s "+
				"whose tables do not meet modulo %d, or \"routing\": %q", got.Rule, eni.Number, cmp.Or(name, "others"), store.Numbers, netconf.PerPod)
		}
	}
	return nil
}

// taken returns the name of the device, other than the ENI's, that has the default route of a table; "" where none has.
func (h *Handle) taken(table int, eni store.ENI, link Link) (string, error) {
	route, found, err := h.RouteIn(table, layout.Default(eni.PrimaryIP))
	if err != nil || !found || route.Dev.Index == link.Index {
		return "", err
	}
	other, err := h.LinkByIndex(route.Dev.Index)
	return other.Name, err
}

func (h *Handle) isReady(eni store.ENI, link Link, routing netconf.Routing) (bool, error) {
	state := layout.ENI(eni, link.Device, routing)
	if d, err := h.Diff(layout.State{Sysctls: state.Sysctls}); d != "" || err != nil {
		return false, err
	}
	if eni.Primary {
		return true, nil
	}
	if !link.Up || eni.MTU != 0 && link.MTU != eni.MTU {
		return false, nil
	}
	d, err := first(layout.Ready(eni, link.Device, routing), h.DiffLookup)
	if r := layout.Ready6(eni, link.Device); d == "" && err == nil && r.Dst.IsValid() && routing != netconf.PerENI {
		d, err = h.diffRoute(r)
	}
	return d == "", err
}
