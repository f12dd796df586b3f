// Package store is the node's memory: which ENIs and addresses it has, and which container owns which address.
// It is a bbolt file in a data directory, opened for each transaction under a lock of our own; it never calls a cloud
// or the kernel's network, and so its lock is never held for longer than a transaction.
package store

import (
	"net/netip"
	"time"

	"github.com/enichain/enichain/core/family"
)

// State is what an address may be used for.
type State string

// The states of an address. Only Free ones are given to containers.
const (
	Free      State = "free"
	Assigned  State = "assigned"
	Cooling   State = "cooling"   // released by its owner; not given to another before Until
	Releasing State = "releasing" // on its way back to the cloud
)

// Owner is the key of an attachment (CNI specification, "Section 2: Execution Protocol").
type Owner struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// Sandbox is what is known of an owner beyond its key, for people and for proof of death.
type Sandbox struct {
	Netns        string `json:"netns,omitempty"`
	NetnsInode   uint64 `json:"netnsInode,omitempty"`
	PodNamespace string `json:"podNamespace,omitempty"`
	PodName      string `json:"podName,omitempty"`
}

// Address is one address of an ENI. Sandbox is set only while it is Assigned, and Owner until its cool-down is over: the
// same owner may have it again.
type Address struct {
	IP  netip.Addr `json:"ip"`
	ENI string     `json:"eni"`
	// Prefix is the one that the cloud gave the ENI the address with, and that goes back only as a whole; zero where the
	// address was given by itself.
	Prefix  netip.Prefix `json:"prefix,omitzero"`
	State   State        `json:"state"`
	Owner   *Owner       `json:"owner,omitempty"`
	Sandbox *Sandbox     `json:"sandbox,omitempty"`
	// Since is when the state began and Until when a Cooling one ends, both in time since boot (CLOCK_BOOTTIME): the
	// store does not outlive a boot, and the wall clock jumps.
	Since time.Duration `json:"since"`
	Until time.Duration `json:"until,omitempty"`
}

// ENI is an elastic network interface of this node.
type ENI struct {
	ID          string       `json:"id"`
	MAC         string       `json:"mac,omitempty"`  // lower case; empty only where Link names the interface
	Link        string       `json:"link,omitempty"` // interface name, for "cloud": "static" without a MAC
	DeviceIndex int          `json:"deviceIndex"`
	Primary     bool         `json:"primary,omitempty"`
	Table       int          `json:"table"`            // routing table; kept for the ENI's life, main (254) for the primary
	Number      int          `json:"number,omitempty"` // 1 to 63, kept for its life: its containers' packets may carry it; 0 for the primary, and where all are taken
	Subnet      netip.Prefix `json:"subnet"`
	Gateway     netip.Addr   `json:"gateway"`
	PrimaryIP   netip.Addr   `json:"primaryIP"`
	MTU         int          `json:"mtu,omitempty"`     // 0 leaves the link's
	Limit       int          `json:"limit,omitempty"`   // addresses or prefixes of IPv4 it may hold, the primary address counted; 0 is unknown
	IfIndex     int          `json:"ifindex,omitempty"` // where the link was last seen: a hint, to be verified by MAC
	Program     uint32       `json:"program,omitempty"` // ID of the BPF program that marks packets with Number, when last seen: a hint
	SubnetID    string       `json:"subnetID,omitempty"`
	// Subnet6, Gateway6 and PrimaryIP6 are those of IPv6, and PrimaryIP6 the host's own; zero where there is none.
	Subnet6    netip.Prefix `json:"subnet6,omitzero"`
	Gateway6   netip.Addr   `json:"gateway6,omitzero"`
	PrimaryIP6 netip.Addr   `json:"primaryIP6,omitzero"`
	Limit6     int          `json:"limit6,omitempty"` // Limit for IPv6, PrimaryIP6 counted
	// Ours says that we made it: it has our tags, and may be deleted when it is empty.
	Ours bool `json:"ours,omitempty"`
	// Lost says that the API last did not list it among the instance's: others detached or deleted it. It is kept for the
	// containers that it has, and nothing of it is given to others.
	Lost bool `json:"lost,omitempty"`
	// Draining says that an operator wants it empty: no container gets an address of it any more.
	Draining bool `json:"draining,omitempty"`
}

// ReservedTable is the number of a routing table that no ENI gets.
const ReservedTable = 101512

// Numbers is how many numbers ENIs can have, with 0, which is none: those of six bits.
const Numbers = 64

// OwnIP returns the ENI's own address of the family of ip, which may be none.
func (e ENI) OwnIP(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return e.PrimaryIP
	}
	return e.PrimaryIP6
}

// Place returns the subnet, and the router in it, that an address of the ENI has by its family.
func (e ENI) Place(ip netip.Addr) (subnet netip.Prefix, gateway netip.Addr) {
	if ip.Is4() {
		return e.Subnet, e.Gateway
	}
	return e.Subnet6, e.Gateway6
}

// Node is what the cloud says of this machine.
type Node struct {
	InstanceID   string         `json:"instanceID"`
	InstanceType string         `json:"instanceType,omitempty"`
	Region       string         `json:"region,omitempty"`
	PrimaryENI   string         `json:"primaryENI"`
	VPCCIDRs     []netip.Prefix `json:"vpcCIDRs"`
	// MaxENIs and AddressesPerENI are the instance type's limits, the primary ENI and address counted; 0 is unknown.
	MaxENIs         int `json:"maxENIs,omitempty"`
	AddressesPerENI int `json:"addressesPerENI,omitempty"`
	// IPv6PerENI is AddressesPerENI for IPv6, which the instance type has not where NoIPv6 says so.
	IPv6PerENI int  `json:"ipv6PerENI,omitempty"`
	NoIPv6     bool `json:"noIPv6,omitempty"`
	// NoPrefixes says that the instance type takes no prefixes in the places of addresses.
	NoPrefixes bool `json:"noPrefixes,omitempty"`
	// Learnt are the families of which the store has what the cloud told of the ENIs: a network of another one asks first.
	Learnt []family.Family `json:"learnt,omitempty"`
	// ForeignENIs is how many ENIs the instance has that we do not manage.
	ForeignENIs int `json:"foreignENIs,omitempty"`
}

// String names the node for people.
func (n Node) String() string {
	if n.InstanceType == "" {
		return n.InstanceID
	}
	return n.InstanceID + " (" + n.InstanceType + ")"
}
