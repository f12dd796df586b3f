package netstate

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
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
// was done before, two questions to the kernel and one read show it, with no dump. It may run in many processes at once.
func (h *Handle) PrepareENI(eni store.ENI) (Link, error) {
	link, err := h.ENILink(eni)
	if err != nil {
		return Link{}, fmt.Errorf("find the link of %s: %w", eni.ID, err)
	}
	ready, err := h.isReady(eni, link)
	if err != nil {
		return Link{}, fmt.Errorf("prepare %s: %w", eni.ID, err)
	}
	if ready {
		return link, nil
	}
	return h.repair(eni, link)
}

// RepairENI is PrepareENI without the short check, which does not see all damage.
func (h *Handle) RepairENI(eni store.ENI) (Link, error) {
	link, err := h.ENILink(eni)
	if err != nil {
		return Link{}, fmt.Errorf("find the link of %s: %w", eni.ID, err)
	}
	return h.repair(eni, link)
}

func (h *Handle) repair(eni store.ENI, link Link) (Link, error) {
	state := layout.ENI(eni, link.Device)
	if len(state.Rules) > 0 {
		if err := h.refuseTaken(eni, link); err != nil {
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

// refuseTaken returns an error where the ENI's table leads out of another device, whose containers would be cut off: two
// stores, or somebody else, count tables alike. A device that went took its routes along.
func (h *Handle) refuseTaken(eni store.ENI, link Link) error {
	route, found, err := h.RouteIn(eni.Table, layout.Default(eni.PrimaryIP))
	if err != nil || !found || route.Dev.Index == link.Index {
		return err
	}
	other, err := h.LinkByIndex(route.Dev.Index)
	if err != nil {
		return err
	}
	return fmt.Errorf("table %d has the default route of %s: networks with stores of their own need a \"tableBase\" each",
		eni.Table, other.Name)
}

func (h *Handle) isReady(eni store.ENI, link Link) (bool, error) {
	state := layout.ENI(eni, link.Device)
	if d, err := h.Diff(layout.State{Sysctls: state.Sysctls}); d != "" || err != nil {
		return false, err
	}
	if eni.Primary {
		return true, nil
	}
	if !link.Up || eni.MTU != 0 && link.MTU != eni.MTU {
		return false, nil
	}
	d, err := h.DiffLookup(layout.Ready(eni, link.Device))
	if r := layout.Ready6(eni, link.Device); d == "" && err == nil && r.Dst.IsValid() {
		d, err = h.diffRoute(r)
	}
	return d == "", err
}
