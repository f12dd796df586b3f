package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// newRouter makes the VPC's fabric: a namespace that forwards between its ports, one for each ENI, and answers ARP for all
// that it has a route to. It holds the subnets' gateways and the cloud's services.
func newRouter(p provider) (*Host, error) {
	return newHost("vpc", func() error {
		// Ports that come later start from these.
		if err := write([]sysctl{
			{"ip_forward", "1"},
			{"conf/all/rp_filter", "0"},
			{"conf/default/rp_filter", "0"}, // the guard drops, and counts
			{"conf/all/proxy_arp", "1"},
			{"conf/all/arp_ignore", "0"},
			{"conf/all/arp_filter", "0"},
			{"conf/all/send_redirects", "0"},
			{"conf/default/send_redirects", "0"},
		}); err != nil {
			return err
		}
		prepare6 := silenceIPv6
		if p.six() {
			prepare6 = routeIPv6
		}
		if err := addAddresses("lo"); err != nil { // before a route of IPv6 can be on it
			return err
		}
		if err := prepare6(); err != nil {
			return err
		}
		if err := addAddresses("lo", p.routerAddresses()...); err != nil {
			return err
		}
		// A fabric says nothing of what it cannot deliver, where a router would send an ICMP error.
		everything := ipNet(netip.IPv4Unspecified(), 0)
		if err := netlink.RouteAdd(&netlink.Route{Dst: everything, Type: unix.RTN_BLACKHOLE}); err != nil {
			return fmt.Errorf("add the blackhole route: %w", err)
		}
		return nil
	})
}

func (p provider) routerAddresses() []netip.Prefix {
	held := []netip.Addr{p.metadata.Addr(), apiAddr().Addr()}
	for _, s := range subnets() {
		held = append(held, gateway(s.CIDR))
	}
	var all []netip.Prefix
	for _, ip := range held {
		all = append(all, netip.PrefixFrom(ip, 32))
	}
	return all
}

// newInternet makes the one host of the internet. Its link comes with the fabric.
func newInternet(six bool) (*Host, error) {
	return newHost("internet", func() error {
		if err := write(hostSettings(1)); err != nil {
			return err
		}
		prepare6 := silenceIPv6
		if six {
			prepare6 = hostIPv6
		}
		if err := prepare6(); err != nil {
			return err
		}
		return linkUp("lo")
	})
}

// silenceIPv6 keeps neighbour discovery out of captures where there is no IPv6. A kernel without IPv6 is silent anyway.
func silenceIPv6() error {
	for _, which := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0o644)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// linkUp sets a link of the calling thread's namespace up.
func linkUp(name string) error { return addAddresses(name) }

// addAddresses gives a link of the calling thread's namespace addresses, and sets it up.
func addAddresses(name string, addresses ...netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, p := range addresses {
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p.Addr(), p.Bits())}); err != nil {
			return fmt.Errorf("add %s to %s: %w", p, name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// ipNet is an address with a mask in the net package's form.
func ipNet(ip netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, ip.BitLen())}
}
