package demo

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/family"
)

// stack is what the walks of IPv4, or of IPv6, have that those of the other have not.
type stack struct {
	family.Family
	number   int    // netlink's
	ip, nft  string // how ip(8) is called to show what it has, and nft(8) its tables
	internet netip.Addr
	service  netip.AddrPort // outside the VPC, as clusters have it
	// private says that its addresses are good in the VPC alone: beyond it a container is seen as its node.
	private bool
	table   nftables.TableFamily
	// Offsets of the addresses in its header.
	source, destination uint32
}

func ipv4() stack {
	return stack{
		Family: family.IPv4, number: netlink.FAMILY_V4, ip: "ip", nft: "ip", private: true,
		internet: netip.MustParseAddr("198.51.100.10"), service: netip.MustParseAddrPort("172.20.0.10:80"),
		table: nftables.TableFamilyIPv4, source: 12, destination: 16,
	}
}

func ipv6() stack {
	return stack{
		Family: family.IPv6, number: netlink.FAMILY_V6, ip: "ip -6", nft: "ip6",
		internet: netip.MustParseAddr("2001:db8:100::10"), service: netip.MustParseAddrPort("[fd00:20::a]:80"),
		table: nftables.TableFamilyIPv6, source: 8, destination: 24,
	}
}

// stacks are those of the lab.
func (d *demo) stacks() []stack {
	if d.IPv6 {
		return []stack{ipv4(), ipv6()}
	}
	return []stack{ipv4()}
}

// walked are those of which containers have addresses.
func (d *demo) walked() []stack {
	return slices.DeleteFunc(d.stacks(), func(f stack) bool { return !f.of(d.nodes[0].containers[0].ips).IsValid() })
}

// of returns the address of the family, or none.
func (f stack) of(ips []netip.Addr) netip.Addr {
	for _, ip := range ips {
		if family.Of(ip) == f.Family {
			return ip
		}
	}
	return netip.Addr{}
}
