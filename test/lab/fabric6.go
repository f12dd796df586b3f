package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/vpcsim"
)

// eniLinkLocal stands for an ENI on its port, whatever link-local address it has: the cloud sends to its MAC, and asks nobody.
func eniLinkLocal() netip.Addr { return netip.MustParseAddr("fe80::e") }

// route6 delivers a prefix of IPv6 to the port's ENI.
func (p port) route6(to netip.Prefix) *netlink.Route {
	return &netlink.Route{
		LinkIndex: p.index, Dst: ipNet(to.Addr(), to.Bits()), Gw: eniLinkLocal().AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	}
}

func (p port) neighbour6() *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: p.index, IP: eniLinkLocal().AsSlice(), HardwareAddr: p.mac, State: unix.NUD_PERMANENT, Family: unix.AF_INET6,
	}
}

// AssignPrefix makes the fabric deliver a prefix of IPv6 to the ENI.
func (f *fabric) AssignPrefix(eni vpcsim.ENI, to netip.Prefix) error {
	p, err := f.port(eni)
	if err != nil {
		return err
	}
	if err := f.router.NeighSet(p.neighbour6()); err != nil {
		return fmt.Errorf("add the neighbour at %s: %w", p.name, err)
	}
	if err := f.router.RouteReplace(p.route6(to)); err != nil {
		return fmt.Errorf("add route %s to %s: %w", to, p.name, err)
	}
	return nil
}

// UnassignPrefix undoes AssignPrefix.
func (f *fabric) UnassignPrefix(eni vpcsim.ENI, to netip.Prefix) error {
	p, err := f.port(eni)
	if err != nil {
		return err
	}
	return f.router.RouteDel(p.route6(to))
}
