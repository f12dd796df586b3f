package snat

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netstate"
)

// ownAddress returns the address by which the host itself sends to the internet, which must be by the interface.
func ownAddress(h *netstate.Handle, name string) (netip.Addr, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find primary interface: %w", err)
	}
	internet := layout.Elsewhere(netip.IPv4Unspecified())
	route, found, err := h.RouteTo(internet)
	if err != nil {
		return netip.Addr{}, err
	}
	if !found || route.Dev.Index != link.Index {
		return netip.Addr{}, fmt.Errorf("the host has no default route by %s, whose address would be the primary one: %w", name, ErrUnknown)
	}
	return h.SourceTo(internet)
}

// describe returns what the host knows of an interface. It makes no dump.
func describe(h *netstate.Handle, name string) (Link, error) {
	link, err := h.LinkByName(name)
	if errors.Is(err, netstate.ErrNoLink) {
		return Link{}, nil
	}
	if err != nil {
		return Link{}, fmt.Errorf("find interface %s: %w", name, err)
	}
	l := Link{Kind: link.Kind}
	if link.Master == 0 {
		return l, nil
	}
	master, err := h.LinkByIndex(link.Master)
	if err != nil {
		return Link{}, fmt.Errorf("find master %d of interface %s: %w", link.Master, name, err)
	}
	if master.Kind == "bridge" {
		l.Bridge = master.Name
	}
	return l, nil
}
