//go:build kube

package kube

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/enichain/enichain/test/lab"
)

// family is one of the families of addresses that a cluster's nodes, pods and Services have.
type family struct {
	name        string // to the API server; eni-ipam writes it in small letters
	unspecified netip.Addr
	internet    netip.Addr   // the internet's only host
	services    netip.Prefix // the Services' addresses, beyond the VPC
	// translated says whether pods go beyond the VPC under their node's address.
	translated bool
	ip         string // ip(8)'s option
	table      string // nft's name of it
	save       string // the program that prints its iptables
}

func ipv4() family {
	return family{
		name: "IPv4", unspecified: netip.IPv4Unspecified(), internet: netip.MustParseAddr("198.51.100.10"),
		services: netip.MustParsePrefix("10.96.0.0/16"), translated: true, ip: "-4", table: "ip", save: "iptables-save",
	}
}

func ipv6() family {
	return family{
		name: "IPv6", unspecified: netip.IPv6Unspecified(), internet: netip.MustParseAddr("2001:db8:100::10"),
		services: netip.MustParsePrefix("fd00:10:96::/112"), ip: "-6", table: "ip6", save: "ip6tables-save",
	}
}

// has says whether the address is of the family.
func (f family) has(ip netip.Addr) bool { return ip.IsValid() && ip.Is4() == f.unspecified.Is4() }

// service is the address of a Service: the number is its last byte.
func (f family) service(number int) netip.Addr {
	ip := f.services.Addr().AsSlice()
	ip[len(ip)-1] = byte(number)
	address, _ := netip.AddrFromSlice(ip) // as long as it was
	return address
}

// clusterIP is where a Service listens.
func (f family) clusterIP(number int) netip.AddrPort {
	return netip.AddrPortFrom(f.service(number), 80)
}

// primary is a node's address.
func (f family) primary(l *lab.Lab, n *lab.Node) netip.Addr {
	for _, e := range l.VPC.ENIs(n.InstanceID) {
		switch {
		case e.DeviceIndex != 0:
		case f.has(e.PrimaryIP6):
			return e.PrimaryIP6
		default:
			return e.PrimaryIP
		}
	}
	return netip.Addr{}
}

// each is what of returns for each of the cluster's families, in their order.
func each[T any](c *cluster, of func(f family) T) []T {
	var all []T
	for _, f := range c.families {
		all = append(all, of(f))
	}
	return all
}

// primaries are a node's addresses.
func (c *cluster) primaries(n *lab.Node) []netip.Addr {
	return each(c, func(f family) netip.Addr { return f.primary(c.Lab, n) })
}

// six says whether the cluster has IPv6.
func (c *cluster) six() bool {
	return slices.ContainsFunc(c.families, func(f family) bool { return f.unspecified.Is6() })
}

// joined is a list as Kubernetes' programs take it.
func joined[T interface{ String() string }](all []T) string {
	var words []string
	for _, one := range all {
		words = append(words, one.String())
	}
	return strings.Join(words, ",")
}
