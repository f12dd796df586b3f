// Package cloud is the contract between enichain and the cloud drivers: the Go interface that a driver implements, and
// the exec protocol by which eni-ipam calls it (docs/cloud-driver.md). It imports no cloud SDK.
package cloud

import (
	"context"
	"net/netip"
)

// Driver is one cloud. A call returns an *Error, which says what kind of failure it was. No call retries a change whose
// outcome is unknown: the caller settles that by describing.
type Driver interface {
	// Node asks the instance's metadata service what this machine is. The addresses in it may be stale; they are never
	// proof that one is gone. What that service never knows may come from the API: IDs and device indexes of ENIs, the
	// VPC's ranges. Where the API cannot tell them they are zero, and Node has not failed.
	Node(ctx context.Context) (*Node, error)
	// ENIs asks the cloud's API which ENIs are attached to the instance, with all their addresses.
	ENIs(ctx context.Context, instanceID string) ([]ENI, error)
	// Limits asks the cloud's API what an instance type may hold.
	Limits(ctx context.Context, instanceType string) (Limits, error)
	// Assign adds count secondary addresses to the ENI and returns those added, usable now. There are fewer where that
	// took several calls and a later one was refused.
	Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error)
	// AssignIPv6 adds count addresses of IPv6 to the ENI, none of which becomes its own (PrimaryIP6), and returns those
	// added, usable now. A cloud, an instance or a subnet that has no IPv6 is an error of class Unsupported, and so is an
	// ENI that would take the first for its own.
	AssignIPv6(ctx context.Context, eni string, count int) ([]netip.Addr, error)
	// Unassign takes addresses of either family from the ENI, but its own. One that is already gone is no error. Where it
	// fails and they are of both families, those of one may be gone.
	Unassign(ctx context.Context, eni string, addresses []netip.Addr) error
	// AssignPrefixes adds count prefixes to the ENI and returns those added, usable now. A cloud that has none answers
	// class Unsupported.
	AssignPrefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error)
	// AssignIPv6Prefixes is AssignPrefixes for IPv6.
	AssignIPv6Prefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error)
	// UnassignPrefixes takes prefixes from the ENI, as Unassign takes addresses.
	UnassignPrefixes(ctx context.Context, eni string, prefixes []netip.Prefix) error

	// Subnets returns those of the subnets asked for in which an ENI of the instance may be, in no order. None at all
	// is an error of class NotFound.
	Subnets(ctx context.Context, query SubnetQuery) ([]Subnet, error)
	// CreateENI makes an ENI with its addresses and tags, attaches it, and has it deleted with the instance where the
	// cloud can do that. It returns when the cloud says that the ENI is attached and its addresses are usable; the link
	// may still be on its way. The ENI has Subnet and Gateway, and Subnet6 and Gateway6 where there is IPv6. A repetition with the same Token, after a lost answer or
	// a kill at any instant, finds what the first made, attached or not, and completes it, also where it asks for other
	// tags or security groups; it fails with class NotFound where that was deleted since. An ENI that was made and that
	// the cloud refuses to attach is deleted.
	CreateENI(ctx context.Context, request CreateENIRequest) (*ENI, error)
	// DeleteENI detaches the ENI if it is attached to the instance, and deletes it. One that is gone is no error; the
	// primary one, and one that is attached to anything else, is refused with class Invalid. With no instance only an
	// ENI that is not attached is deleted.
	DeleteENI(ctx context.Context, instanceID, eni string) error
	// TaggedENIs returns the ENIs of the account and region that have all the tags, of which there is at least one,
	// whatever their state and whatever they are attached to.
	TaggedENIs(ctx context.Context, tags map[string]string) ([]ENI, error)
}
