package aws

import (
	"context"
	"net/netip"

	"github.com/enichain/enichain/cloud"
)

func unsupported(what string) error {
	return &cloud.Error{Class: cloud.Unsupported, Message: "this driver cannot " + what}
}

// AssignPrefixes implements cloud.Driver.
func (d *Driver) AssignPrefixes(context.Context, string, int) ([]netip.Prefix, error) {
	return nil, unsupported("assign prefixes")
}

// UnassignPrefixes implements cloud.Driver.
func (d *Driver) UnassignPrefixes(context.Context, string, []netip.Prefix) error {
	return unsupported("unassign prefixes")
}

// Subnets implements cloud.Driver.
func (d *Driver) Subnets(context.Context, cloud.SubnetQuery) ([]cloud.Subnet, error) {
	return nil, unsupported("list subnets")
}

// CreateENI implements cloud.Driver.
func (d *Driver) CreateENI(context.Context, cloud.CreateENIRequest) (*cloud.ENI, error) {
	return nil, unsupported("make an ENI")
}

// DeleteENI implements cloud.Driver.
func (d *Driver) DeleteENI(context.Context, string, string) error {
	return unsupported("delete an ENI")
}

// TaggedENIs implements cloud.Driver.
func (d *Driver) TaggedENIs(context.Context, map[string]string) ([]cloud.ENI, error) {
	return nil, unsupported("list ENIs by their tags")
}
