package snat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/primary"
)

// detect finds the primary interface where the configuration says by which method.
func (p *Policy) detect(ctx context.Context, h *netstate.Handle, c *netconf.SNAT) error {
	method, asked, err := primary.Parse(c.Primary)
	if err != nil || !asked {
		return err
	}
	known, err := recall(ctx, c.DataDir)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	return p.take(h, c, known.others, method)
}

// defaultRoutes returns the methods for where nothing says which interface it is. A host has one for both families: where
// it has no default route of IPv6, that of IPv4 tells it.
func defaultRoutes(f family.Family) []primary.Method {
	of4 := primary.ByRouteTo(layout.Elsewhere(netip.IPv4Unspecified()))
	if f == family.IPv4 {
		return []primary.Method{of4}
	}
	return []primary.Method{primary.ByRouteTo(layout.Elsewhere(netip.IPv6Unspecified())), of4}
}

// take makes the interface that the first of the methods finds, or else the next, the primary one.
func (p *Policy) take(h *netstate.Handle, c *netconf.SNAT, others []string, methods ...primary.Method) error {
	var failed []error
	for _, m := range methods {
		dev, ip, err := p.find(h, m, others)
		if err == nil {
			err = c.CheckContainers(dev.Name)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		p.Primary = dev.Name
		if p.SNAT && !p.PrimaryIP.IsValid() {
			p.PrimaryIP = ip
		}
		return nil
	}
	return fmt.Errorf("find the primary interface: %w: %w", errors.Join(failed...), ErrUnknown)
}

// find looks for the primary interface in the kernel. others are the MACs, in lower case, of ENIs that are for containers.
func (p *Policy) find(h *netstate.Handle, m primary.Method, others []string) (layout.Device, netip.Addr, error) {
	if to, asked := m.Lookup(); asked {
		return reaching(h, m, to)
	}
	links, err := h.Links()
	if err != nil {
		return layout.Device{}, netip.Addr{}, err
	}
	addresses, err := h.Addresses()
	if err != nil {
		return layout.Device{}, netip.Addr{}, err
	}
	all := make([]primary.Link, 0, len(links))
	for _, l := range links {
		_, ours := layout.ParseAlias(l.Alias)
		ours = ours || slices.Contains(others, l.MAC.String())
		all = append(all, primary.Link{Index: l.Index, Name: l.Name, Up: l.Up, Container: ours, Addresses: addresses[l.Index]})
	}
	chosen, ip, err := p.choose(m, all)
	return layout.Device{Index: chosen.Index, Name: chosen.Name}, ip, err
}

// choose looks by the family's addresses. Where those of IPv6 do not tell the interface, because it has none or the ranges
// are of IPv4, those of IPv4 do: it is the same one.
func (p *Policy) choose(m primary.Method, links []primary.Link) (primary.Link, netip.Addr, error) {
	if p.Family == family.IPv4 {
		return m.Choose(links, netip.Addr.Is4)
	}
	l, ip, err := m.Choose(links, netip.Addr.Is6)
	if err == nil {
		return l, ip, nil
	}
	if l, ip, failed := m.Choose(links, netip.Addr.Is4); failed == nil {
		return l, ip, nil
	}
	return l, ip, err
}

// reaching returns the interface by which the host sends to the address, and the source address that it uses.
func reaching(h *netstate.Handle, m primary.Method, to netip.Addr) (layout.Device, netip.Addr, error) {
	none := layout.Device{}
	route, found, err := h.RouteTo(to)
	if err != nil {
		return none, netip.Addr{}, err
	}
	if !found {
		return none, netip.Addr{}, fmt.Errorf("%s: the host has no route to %s", m, to)
	}
	link, err := h.LinkByIndex(route.Dev.Index)
	if err != nil {
		return none, netip.Addr{}, err
	}
	ip, err := h.SourceTo(to)
	if err == nil && !ip.IsGlobalUnicast() {
		err = fmt.Errorf("%s: the host sends to %s by %s with the address %s", m, to, link.Name, ip)
	}
	return link.Device, ip, err
}
