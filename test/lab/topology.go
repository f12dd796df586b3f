package lab

import (
	"net/netip"

	"github.com/enichain/enichain/test/vpcsim"
)

// The VPC's numbers are those of the recipes, so that what a test sees can be read beside them.
const (
	subnetA  = "subnet-a" // 10.19.0.0/20
	subnetB  = "subnet-b" // 10.19.16.0/20
	maxNodes = 50

	internetMTU = 1500 // through an internet gateway
)

func vpcCIDRs() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.19.0.0/16")} }

func subnets() []vpcsim.Subnet {
	return []vpcsim.Subnet{
		{ID: subnetA, CIDR: netip.MustParsePrefix("10.19.0.0/20")},
		{ID: subnetB, CIDR: netip.MustParsePrefix("10.19.16.0/20")},
	}
}

func internetGateway() netip.Prefix { return netip.MustParsePrefix("198.51.100.1/24") }
func internetHost() netip.Prefix    { return netip.MustParsePrefix("198.51.100.10/24") }

// place says where a node's ENI goes: eth1, eth3.. in the other subnet, eth2, eth4.. in the primary's own. The first two
// nodes have the recipes' addresses. A zero address leaves the choice to the cloud.
func place(node, index int) (subnet string, primary netip.Addr) {
	recipe := map[[2]int]string{
		{1, 0}: "10.19.0.22", {1, 1}: "10.19.16.17", {1, 2}: "10.19.0.24",
		{2, 0}: "10.19.0.11", {2, 1}: "10.19.16.33", {2, 2}: "10.19.0.40",
	}
	subnet = subnetA
	if index%2 == 1 {
		subnet = subnetB
	}
	if s, ok := recipe[[2]int{node, index}]; ok {
		return subnet, netip.MustParseAddr(s)
	}
	switch index {
	case 0:
		return subnet, netip.AddrFrom4([4]byte{10, 19, 0, byte(100 + node)})
	case 1:
		return subnet, netip.AddrFrom4([4]byte{10, 19, 16, byte(100 + node)})
	case 2:
		return subnet, netip.AddrFrom4([4]byte{10, 19, 0, byte(150 + node)})
	}
	return subnet, netip.Addr{}
}

// gateway is the VPC's router in a subnet: its first address.
func gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// portName names the router's end of an ENI: "node1-eth0".
func portName(node, link string) string { return node + "-" + link }

// linkNames is how Linux names devices, in the order in which they come.
const linkNames = "eth%d"
