package main

import (
	"context"
	"net/netip"

	"github.com/enichain/enichain/cloud"
)

// witness is a driver that remembers what the cloud's API listed, and in a dry run lets nothing be changed. It embeds no
// driver: a call that is new to the interface must be sorted in here.
type witness struct {
	driver  cloud.Driver
	dry     bool
	refused bool // something was to be changed in a dry run
	listed  []cloud.ENI
	listErr error
}

// ENIs implements cloud.Driver.
func (w *witness) ENIs(ctx context.Context, instance string) ([]cloud.ENI, error) {
	w.listed, w.listErr = w.driver.ENIs(ctx, instance)
	return w.listed, w.listErr
}

// CreateENI implements cloud.Driver.
func (w *witness) CreateENI(ctx context.Context, r cloud.CreateENIRequest) (*cloud.ENI, error) {
	if w.dry {
		return nil, w.refuse()
	}
	return w.driver.CreateENI(ctx, r)
}

// DeleteENI implements cloud.Driver.
func (w *witness) DeleteENI(ctx context.Context, instance, eni string) error {
	if w.dry {
		return w.refuse()
	}
	return w.driver.DeleteENI(ctx, instance, eni)
}

// Assign implements cloud.Driver.
func (w *witness) Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	if w.dry {
		return nil, w.refuse()
	}
	return w.driver.Assign(ctx, eni, count)
}

// Unassign implements cloud.Driver.
func (w *witness) Unassign(ctx context.Context, eni string, ips []netip.Addr) error {
	if w.dry {
		return w.refuse()
	}
	return w.driver.Unassign(ctx, eni, ips)
}

// AssignPrefixes implements cloud.Driver.
func (w *witness) AssignPrefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	if w.dry {
		return nil, w.refuse()
	}
	return w.driver.AssignPrefixes(ctx, eni, count)
}

// UnassignPrefixes implements cloud.Driver.
func (w *witness) UnassignPrefixes(ctx context.Context, eni string, prefixes []netip.Prefix) error {
	if w.dry {
		return w.refuse()
	}
	return w.driver.UnassignPrefixes(ctx, eni, prefixes)
}

// refuse answers as a cloud that did not: the intent stays open.
func (w *witness) refuse() error {
	w.refused = true
	return &cloud.Error{Class: cloud.Unreachable, Message: "nothing is changed in a dry run"}
}

// Node implements cloud.Driver.
func (w *witness) Node(ctx context.Context) (*cloud.Node, error) { return w.driver.Node(ctx) }

// Limits implements cloud.Driver.
func (w *witness) Limits(ctx context.Context, instanceType string) (cloud.Limits, error) {
	return w.driver.Limits(ctx, instanceType)
}

// Subnets implements cloud.Driver.
func (w *witness) Subnets(ctx context.Context, q cloud.SubnetQuery) ([]cloud.Subnet, error) {
	return w.driver.Subnets(ctx, q)
}

// TaggedENIs implements cloud.Driver.
func (w *witness) TaggedENIs(ctx context.Context, tags map[string]string) ([]cloud.ENI, error) {
	return w.driver.TaggedENIs(ctx, tags)
}
