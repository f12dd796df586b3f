package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/vpcsim"
)

// vpc6 is the VPC's range of IPv6; its subnets are 2001:db8:19:a::/64 and 2001:db8:19:b::/64.
func vpc6() netip.Prefix { return netip.MustParsePrefix("2001:db8:19::/56") }

func internetGateway6() netip.Prefix { return netip.MustParsePrefix("2001:db8:100::1/64") }
func internetHost6() netip.Prefix    { return netip.MustParsePrefix("2001:db8:100::10/64") }

// subnets6 is subnets with a /64 each.
func subnets6() []vpcsim.Subnet {
	all := subnets()
	for n, cidr := range []string{"2001:db8:19:a::/64", "2001:db8:19:b::/64"} {
		all[n].IPv6 = netip.MustParsePrefix(cidr)
	}
	return all
}

// six says whether the lab has IPv6.
func (p provider) six() bool { return p.gateway6.IsValid() }

// routeIPv6 makes the calling thread's network a fabric for IPv6 too. Ports that come later start from its settings: they
// have the gateway's address alone.
func routeIPv6() error {
	if err := write6([]sysctl{
		{"conf/all/disable_ipv6", "0"},
		{"conf/default/disable_ipv6", "0"},
		{"conf/all/forwarding", "1"},
		{"conf/default/forwarding", "1"},
		{"conf/default/accept_ra", "0"},
		{"conf/default/addr_gen_mode", "1"}, // none
	}); err != nil {
		return err
	}
	everything := ipNet(netip.IPv6Unspecified(), 0)
	if err := netlink.RouteAdd(&netlink.Route{Dst: everything, Type: unix.RTN_BLACKHOLE}); err != nil {
		return fmt.Errorf("add the blackhole route: %w", err)
	}
	return nil
}

// hostIPv6 gives the calling thread's network the kernel's own settings, as a host has them.
func hostIPv6() error {
	return write6([]sysctl{
		{"conf/all/disable_ipv6", "0"},
		{"conf/default/disable_ipv6", "0"},
		{"conf/all/forwarding", "0"},
		{"conf/default/forwarding", "0"},
		{"conf/all/accept_ra", "1"},
		{"conf/default/accept_ra", "1"},
		{"conf/default/accept_dad", "1"},
		{"conf/default/addr_gen_mode", "0"},
	})
}

// portAddresses are what the router's end of an ENI has: the gateway of IPv6.
func (p provider) portAddresses() []netip.Prefix {
	if !p.six() {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(p.gateway6, 64)}
}

// writeBoth makes settings that both families have.
func (p provider) writeBoth(settings []sysctl) error {
	err := write(settings)
	if p.six() {
		err = errors.Join(err, write6(settings))
	}
	return err
}

// withoutDAD says of an address of IPv6 that nobody else has it.
func withoutDAD(ip netip.Addr) int {
	if ip.Is6() {
		return unix.IFA_F_NODAD
	}
	return 0
}

// joinIPv6 gives the internet and its link their addresses, and the internet the way to the VPC.
func (f *fabric) joinIPv6() error {
	// Without an address of the link the kernel could ask nobody there for its MAC.
	if err := setUp(f.router, igwPort, netip.PrefixFrom(f.provider.gateway6, 64), internetGateway6()); err != nil {
		return err
	}
	if err := setUp(f.internet, "eth0", internetHost6()); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: f.igw, Dst: ipNet(vpc6().Addr(), vpc6().Bits()), Gw: internetGateway6().Addr().AsSlice()}
	if err := f.internet.RouteAdd(route); err != nil {
		return fmt.Errorf("add the route to %s in the internet: %w", vpc6(), err)
	}
	return nil
}

// lease6 configures a link as DHCPv6 and a router's advertisement would: the address alone, and the default route.
func (n *Node) lease6(ip netip.Addr, name string) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: ipNet(ip, 128), Flags: unix.IFA_F_NODAD}
	if err := n.links.AddrAdd(link, address); err != nil {
		return fmt.Errorf("add %s: %w", address, err)
	}
	everything := ipNet(netip.IPv6Unspecified(), 0)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: everything, Gw: n.gateway6.AsSlice(), Protocol: unix.RTPROT_RA}
	if err := n.links.RouteAdd(route); err != nil {
		return fmt.Errorf("add the default route of IPv6: %w", err)
	}
	return nil
}
