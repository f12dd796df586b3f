// Package cloud is the contract between enichain and the cloud drivers: the Go interface that a driver implements, and
// the exec protocol by which eni-ipam calls it (docs/cloud-driver.md). It imports no cloud SDK.
package cloud

import (
	"context"
	"fmt"
	"net/netip"
)

// Driver is one cloud. A call returns an *Error, which says what kind of failure it was. No call retries a change whose
// outcome is unknown: the caller settles that by describing.
type Driver interface {
	// Node asks the instance's metadata service, and nothing else, what this machine is. The addresses in it may be
	// stale; they are never proof that one is gone.
	Node(ctx context.Context) (*Node, error)
	// ENIs asks the cloud's API which ENIs are attached to the instance, with all their addresses.
	ENIs(ctx context.Context, instanceID string) ([]ENI, error)
	// Limits asks the cloud's API what an instance type may hold.
	Limits(ctx context.Context, instanceType string) (Limits, error)
	// Assign adds count secondary addresses to the ENI and returns those added, usable now.
	Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error)
	// Unassign takes secondary addresses from the ENI. One that is already gone is no error.
	Unassign(ctx context.Context, eni string, addresses []netip.Addr) error
}

// Node is what the metadata service says of this machine.
type Node struct {
	InstanceID   string         `json:"instanceID"`
	InstanceType string         `json:"instanceType,omitempty"`
	Region       string         `json:"region,omitempty"`
	PrimaryMAC   string         `json:"primaryMAC"`
	VPCCIDRs     []netip.Prefix `json:"vpcCIDRs"`
	ENIs         []ENI          `json:"enis"`
}

// ENI is an attached elastic network interface. What a source does not know is left zero: the metadata service knows
// the subnet's CIDR, the API need not.
type ENI struct {
	ID          string       `json:"id"`
	MAC         string       `json:"mac"` // lower case
	Link        string       `json:"link,omitempty"`
	DeviceIndex int          `json:"deviceIndex"`
	Primary     bool         `json:"primary,omitempty"`
	SubnetID    string       `json:"subnetID,omitempty"`
	Subnet      netip.Prefix `json:"subnet,omitzero"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	PrimaryIP   netip.Addr   `json:"primaryIP"`
	Addresses   []netip.Addr `json:"addresses"` // the secondary ones
	MTU         int          `json:"mtu,omitempty"`
}

// Limits is what an instance type may hold.
type Limits struct {
	ENIs            int `json:"enis"`
	AddressesPerENI int `json:"addressesPerENI"` // IPv4, the primary counted
}

// Class says what a caller can do about an error.
type Class string

// The classes of errors.
const (
	Throttled   Class = "throttled"   // back off and try again
	Quota       Class = "quota"       // the ENI, instance or account holds all that it may
	SubnetFull  Class = "subnet-full" // the subnet has no address left
	Auth        Class = "auth"        // credentials are missing, refused or not sufficient
	Unreachable Class = "unreachable" // no answer; a change may or may not have happened
	NotFound    Class = "not-found"   // the thing named does not exist
	Invalid     Class = "invalid"     // the request or the configuration is wrong
	Internal    Class = "internal"    // the cloud's or the driver's own failure
)

// Temporary says whether the same call may succeed later with nothing changed on this node.
func (c Class) Temporary() bool {
	return c == Throttled || c == Quota || c == SubnetFull || c == Unreachable || c == Internal
}

// Ambiguous says whether a change that failed so may have been made all the same: whoever asked for it has to look.
func (c Class) Ambiguous() bool { return c == Unreachable || c == Internal }

// Error is a failed call, with the cloud's own words.
type Error struct {
	Class     Class  `json:"class"`
	Code      string `json:"code,omitempty"`      // the cloud's code, e.g. RequestLimitExceeded
	Message   string `json:"message"`             // the cloud's message, with no secret in it
	RequestID string `json:"requestID,omitempty"` // for the cloud's support
}

// Error returns the message with the cloud's code and request ID.
func (e *Error) Error() string {
	s := e.Message
	if e.Code != "" {
		s = e.Code + ": " + s
	}
	if e.RequestID != "" {
		s = fmt.Sprintf("%s (request %s)", s, e.RequestID)
	}
	return s
}
