// Package netconf is the configuration of the three plugins: the types, the defaults, and the checks that need nothing
// but the configuration itself. Unknown fields are ignored, because runtimes add their own.
package netconf

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/family"
)

// DefaultDataDir holds the store. It is gone after a reboot, as are the containers.
const DefaultDataDir = "/run/enichain"

// Duration is a time.Duration written as Go writes it: "30s".
type Duration time.Duration

// UnmarshalText reads a duration such as "30s"; it may not be negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("duration %q is negative", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the duration as UnmarshalText reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// IPAM is the "ipam" section of a network configuration whose type is eni-ipam.
type IPAM struct {
	Type string `json:"type"`
	// DataDir is the folder of the store.
	DataDir string `json:"dataDir,omitempty"`
	// Cloud names the driver: "aws" runs eni-cloud-aws; "static" is Static below, and no cloud.
	Cloud string `json:"cloud"`
	// Driver is handed to the driver as it is: endpoints and the like.
	Driver json.RawMessage `json:"driver,omitempty"`
	Static *Static         `json:"static,omitempty"`
	// Families are those of which a container gets an address each, in the order of the result; IPv4 where none is named.
	Families []family.Family `json:"families,omitempty"`
	// Addressing is "routed" (IP/32 and 169.254.1.1) or "subnet" (the subnet's mask and gateway, for bridge or macvlan).
	Addressing string `json:"addressing,omitempty"`
	// Batch is how many addresses are assigned at once, at the least, when the pool is empty.
	Batch int `json:"batch,omitempty"`
	// Cooldown is how long a released address rests before it is given to another container.
	Cooldown *Duration `json:"cooldown,omitempty"`
	// Timeout bounds an ADD: the waiting for locks and for the cloud together.
	Timeout Duration `json:"timeout,omitempty"`
	// FirstDeviceIndex keeps the ENIs before it out of use: 1 leaves the primary ENI to the host.
	FirstDeviceIndex int `json:"firstDeviceIndex,omitempty"`
	// TableBase is added to an ENI's device index to give its routing table.
	TableBase int `json:"tableBase,omitempty"`
	Pool
	Log Log `json:"log,omitzero"`
}

// PTP is the configuration of eni-ptp.
type PTP struct {
	types.NetConf
	// IPAM shadows the field of NetConf, to see the store's place; the section is eni-ipam's or another's.
	IPAM struct {
		Type    string   `json:"type"`
		DataDir string   `json:"dataDir,omitempty"`
		Timeout Duration `json:"timeout,omitempty"`
	} `json:"ipam"`
	// MTU is the container's; 0 takes that of the ENI's link.
	MTU int `json:"mtu,omitempty"`
	// DefaultRoute says whether the container's default route is by this interface; nil makes it so where it has none.
	DefaultRoute *bool `json:"defaultRoute,omitempty"`
	// Routes are what is reached by this interface whatever has the default route.
	Routes []Route `json:"routes,omitempty"`
	// VethPrefix begins the host veth's name; 12 hexadecimal digits follow. At most 3 characters.
	VethPrefix string `json:"vethPrefix,omitempty"`
	// Routing is the layout of the policy rules, and Marking how packets are marked in that of PerENI.
	Routing Routing `json:"routing,omitempty"`
	Marking Marking `json:"marking,omitempty"`
	// SNAT is eni-snat's configuration, where eni-ptp sees to it that its rules are there; nil where eni-snat does so by itself,
	// behind eni-ptp in the list, or nobody does (see SNATOf).
	SNAT json.RawMessage `json:"snat,omitempty"`
	Log  Log             `json:"log,omitzero"`

	RuntimeConfig struct {
		MAC string `json:"mac,omitempty"`
	} `json:"runtimeConfig,omitempty"`
	Args struct {
		CNI struct {
			MAC string `json:"mac,omitempty"`
		} `json:"cni"`
	} `json:"args"`
}

// Route is a destination, as in the "routes" of the CNI's IPAM plugins: "10.0.0.0/8". It is text, so that a DEL works with
// what an ADD would refuse.
type Route struct {
	Dst string `json:"dst"`
}

// SNAT is the configuration of eni-snat.
type SNAT struct {
	types.NetConf
	// DataDir is the folder of the store, from which the VPC's CIDRs and the primary ENI are read where they are not
	// given here.
	DataDir string `json:"dataDir,omitempty"`
	// SNAT and NodePort switch the two halves; both are on where nothing is said.
	SNAT     *bool `json:"snat,omitempty"`
	NodePort *bool `json:"nodePort,omitempty"`
	// Forward lets containers' packets pass where the host's filter drops what it forwards; on where nothing is said.
	Forward *bool `json:"forward,omitempty"`
	// VPCCIDRs replaces the VPC's CIDRs; ExcludeCIDRs are added to them; IncludeCIDRs, where given, are the only
	// destinations that are SNATed.
	VPCCIDRs     []netip.Prefix `json:"vpcCIDRs,omitempty"`
	ExcludeCIDRs []netip.Prefix `json:"excludeCIDRs,omitempty"`
	IncludeCIDRs []netip.Prefix `json:"includeCIDRs,omitempty"`
	// Primary is the interface by which SNATed traffic leaves, and PrimaryIP the address that it gets.
	Primary   string     `json:"primary,omitempty"`
	PrimaryIP netip.Addr `json:"primaryIP,omitzero"`
	// ContainerInterfaces are the host ends of containers: names, or beginnings of names with a '*' behind.
	ContainerInterfaces []string `json:"containerInterfaces,omitempty"`
	// Backend is "nftables" or "iptables"; nftables where empty.
	Backend string `json:"backend,omitempty"`
	Log     Log    `json:"log,omitzero"`
}

// Log says where a plugin logs to; nothing is logged where File is empty.
type Log struct {
	File  string `json:"file,omitempty"`
	Level string `json:"level,omitempty"` // debug, info, warn or error; info where empty
}
