// Package layout says, as data, what enichain wants in the kernel: the state of a node, of an ENI and of a container.
// Its functions are pure; package netstate compares what they return with the kernel, and applies it.
package layout

import (
	"net/netip"

	"github.com/enichain/enichain/core/store"
)

// The numbers that we put into the kernel, each chosen not to meet those of the neighbours.
const (
	// Protocol is the rtnetlink protocol (rtm_protocol, FRA_PROTOCOL) of every route and rule that enichain adds, so
	// that ours can be listed and removed without guessing. It is free in iproute2's rt_protos.
	Protocol = 101

	// PrefToContainer is the preference of `to IP lookup main`, and of `lookup TablePods`: a container of this node is always
	// reached by its veth.
	PrefToContainer = 512
	// PrefMark is the preference of `fwmark Mark/Mark lookup main`: marked traffic leaves by the primary ENI.
	PrefMark = 1024
	// PrefNewStays and PrefNewLeaves are those of the rules that judge, where iptables cannot, by its destination where a
	// new connection goes: on to PrefFromContainer, or by main. Rules for any destination have the preferences behind.
	PrefNewStays, PrefNewLeaves = 1280, 1408
	// PrefFromContainer is the preference of `from IP lookup T`, and of `fwmark N/MaskENI lookup T`: the rest leaves by the ENI
	// that owns the source address.
	PrefFromContainer = 1536

	// TableBase is added to an ENI's device index to give its routing table, where the configuration says nothing else.
	TableBase = 1

	// TablePods holds a route to each container, and nothing else, where the rules are per ENI: what it does not find goes on
	// to the next rule. It is Protocol and PrefToContainer written one behind the other. ENIs' tables are counted from TableBase;
	// the numbers that others document are below 1000 (Tailscale 52, sbr from 100, the kernel's 253 to 255), and 2004 and 2005
	// (Cilium).
	TablePods = store.ReservedTable

	// TableInside is added to the index of a container's interface to give its table in the container, where there are
	// several. sbr takes tables from 100 on.
	TableInside = 10000

	// Mark is the one bit of fwmark and ct mark that enichain sets and reads. kube-proxy has 0x4000 and 0x8000, portmap
	// 0x2000, Calico 0xffff0000, Cilium 0x0f00; it is the bit of amazon-vpc-cni-k8s, which never shares a node with us.
	Mark = 0x80
	// MarkNew is the bit of fwmark that tells the rules of PrefNewStays and PrefNewLeaves which packets are theirs. A packet
	// has it for its routing decision only.
	MarkNew = 0x40
	// MarkMasquerade is the bit of fwmark by which kube-proxy tells itself what to masquerade (its masqueradeBit, 14).
	MarkMasquerade = 0x4000
	// MaskENI are the bits of fwmark that hold the number of the ENI by which a container's packet leaves, where the rules are
	// per ENI; 0 is none. They are beside those of the others that are named at Mark.
	MaskENI = store.Numbers - 1
	// GroupMarked is the group (IFLA_GROUP) of the host veths whose packets nftables marks: an element of its map that outlives
	// its container's veth says nothing of a veth that is not in the group.
	GroupMarked = 101

	// VethPrefix begins the name of a container's host veth, where the configuration says nothing else.
	VethPrefix = "pod"
)

// Gateway6 is every container's next hop for IPv6. The host's veths hold it: a link-local address is of one link alone, and
// so the kernel answers for it, and asks from it, with no setting that proxies.
func Gateway6() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1}) }

// AllGateways returns the next hops of both families.
func AllGateways() []netip.Addr { return []netip.Addr{Gateway4(), Gateway6()} }

// GatewayOf returns the next hop of a container's packets of the address' family.
func GatewayOf(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return Gateway4()
	}
	return Gateway6()
}

// Gateway4 is every container's next hop for IPv4: a link-local address that no interface holds (amazon-vpc-cni-k8s, Calico and
// Terway do the same); the host's veth answers for it.
func Gateway4() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 1, 1}) }
