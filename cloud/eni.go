package cloud

import (
	"net/netip"
	"time"
)

// Node is what the metadata service says of this machine.
type Node struct {
	InstanceID   string         `json:"instanceID"`
	InstanceType string         `json:"instanceType,omitempty"`
	Region       string         `json:"region,omitempty"`
	PrimaryMAC   string         `json:"primaryMAC"`
	VPCCIDRs     []netip.Prefix `json:"vpcCIDRs"` // of either family
	ENIs         []ENI          `json:"enis"`
}

// ENI is an elastic network interface. What a source does not know is left zero: the metadata service knows the subnet's
// CIDR, the API need not.
type ENI struct {
	ID          string         `json:"id"`
	MAC         string         `json:"mac"` // lower case
	Link        string         `json:"link,omitempty"`
	DeviceIndex int            `json:"deviceIndex"`
	Primary     bool           `json:"primary,omitempty"`
	SubnetID    string         `json:"subnetID,omitempty"`
	Subnet      netip.Prefix   `json:"subnet,omitzero"`
	Gateway     netip.Addr     `json:"gateway,omitzero"`
	PrimaryIP   netip.Addr     `json:"primaryIP"`
	Addresses   []netip.Addr   `json:"addresses"`          // the secondary ones of IPv4, without those of the prefixes
	Prefixes    []netip.Prefix `json:"prefixes,omitempty"` // of either family; all their addresses are the ENI's
	MTU         int            `json:"mtu,omitempty"`

	// Subnet6 and Gateway6, a link-local address, are zero where the subnet has no IPv6.
	Subnet6  netip.Prefix `json:"subnet6,omitzero"`
	Gateway6 netip.Addr   `json:"gateway6,omitzero"`
	// PrimaryIP6 is the ENI's own address of IPv6, the host's. An ENI may have none, and others all the same: IPv6.
	PrimaryIP6 netip.Addr   `json:"primaryIP6,omitzero"`
	IPv6       []netip.Addr `json:"ipv6,omitempty"` // the others, without those of the prefixes

	// What only the API knows.
	State               ENIState          `json:"state,omitempty"`
	InstanceID          string            `json:"instanceID,omitempty"` // which it is attached to, or is being
	SecurityGroups      []string          `json:"securityGroups,omitempty"`
	Tags                map[string]string `json:"tags,omitempty"`
	DeleteOnTermination bool              `json:"deleteOnTermination,omitempty"`
	// Created is the cloud's time of creation, and where the cloud has none the one of TagCreated.
	Created time.Time `json:"created,omitzero"`
}

// ENIState is where an ENI is in its life, in the words of no cloud in particular.
type ENIState string

// The states of an ENI. Only an Attached one carries packets.
const (
	Pending   ENIState = "pending"   // being made
	Available ENIState = "available" // made, and attached to nothing
	Attaching ENIState = "attaching"
	Attached  ENIState = "attached"
	Detaching ENIState = "detaching"
	Deleting  ENIState = "deleting"
)

// Tags of an ENI that drivers know.
const (
	// TagCreated is when the caller of CreateENI had it made (RFC 3339), for clouds that don't keep the time. The
	// caller gives it, so that a repetition asks for the same.
	TagCreated = "enichain/created"
	// TagToken is the Token of CreateENI. The driver adds it, and finds by it what an earlier call made.
	TagToken = "enichain/token"
)

// Limits is what an instance type may hold.
type Limits struct {
	ENIs            int `json:"enis"`
	AddressesPerENI int `json:"addressesPerENI"` // IPv4, the primary counted
	// Prefixes says that a prefix may be in the place of each secondary address.
	Prefixes bool `json:"prefixes,omitempty"`
	// IPv6PerENI is how many addresses of IPv6 an ENI may have, its own counted; 0 where there is no IPv6.
	IPv6PerENI int `json:"ipv6PerENI,omitempty"`
}

// SubnetQuery asks for subnets of the instance's VPC and zone: those of the IDs; those that have all of the Tags, where
// there are no IDs; and the one of the instance's primary ENI, where there are neither.
type SubnetQuery struct {
	InstanceID string            `json:"instanceID"`
	IDs        []string          `json:"ids,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
}

// Subnet is a range of a VPC.
type Subnet struct {
	ID      string       `json:"id"`
	Zone    string       `json:"zone,omitempty"`
	CIDR    netip.Prefix `json:"cidr"`
	Gateway netip.Addr   `json:"gateway"`
	CIDR6   netip.Prefix `json:"cidr6,omitzero"` // zero where it has no IPv6
	Free    int          `json:"free"`           // addresses of IPv4 that an ENI could still get; for prefixes they may be too scattered
}

// CreateENIRequest says what ENI to make.
type CreateENIRequest struct {
	InstanceID string `json:"instanceID"`
	SubnetID   string `json:"subnetID"`
	// Token tells this request from all others: 1 to 64 printable characters of ASCII, no space.
	Token          string            `json:"token"`
	DeviceIndex    int               `json:"deviceIndex,omitempty"`    // 0 is the first that is free
	SecurityGroups []string          `json:"securityGroups,omitempty"` // none is those of the primary ENI
	Addresses      int               `json:"addresses,omitempty"`      // secondary ones; not together with Prefixes
	Prefixes       int               `json:"prefixes,omitempty"`
	IPv6           int               `json:"ipv6,omitempty"` // addresses of IPv6; not together with IPv6Prefixes
	IPv6Prefixes   int               `json:"ipv6Prefixes,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"` // TagCreated among them
}
