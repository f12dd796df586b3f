package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/enichain/enichain/cloud"
)

// witness is a driver that says what it is asked for, remembers what the cloud's API listed, and in a dry run lets nothing
// be changed. It embeds no driver: a call that is new to the interface must be sorted in here.
type witness struct {
	driver  cloud.Driver
	doing   func(format string, args ...any)
	dry     bool
	refused bool // something was to be changed in a dry run
	listed  []cloud.ENI
	listErr error
}

// ENIs implements cloud.Driver.
func (w *witness) ENIs(ctx context.Context, instance string) ([]cloud.ENI, error) {
	w.doing("list the ENIs of %s", instance)
	w.listed, w.listErr = w.driver.ENIs(ctx, instance)
	return w.listed, w.listErr
}

// CreateENI implements cloud.Driver.
func (w *witness) CreateENI(ctx context.Context, r cloud.CreateENIRequest) (*cloud.ENI, error) {
	if err := w.change("make an ENI in %s", r.SubnetID); err != nil {
		return nil, err
	}
	return w.driver.CreateENI(ctx, r)
}

// DeleteENI implements cloud.Driver.
func (w *witness) DeleteENI(ctx context.Context, instance, eni string) error {
	if err := w.change("delete %s", eni); err != nil {
		return err
	}
	return w.driver.DeleteENI(ctx, instance, eni)
}

// Assign implements cloud.Driver.
func (w *witness) Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	if err := w.change("assign %d addresses to %s", count, eni); err != nil {
		return nil, err
	}
	return w.driver.Assign(ctx, eni, count)
}

// Unassign implements cloud.Driver.
func (w *witness) Unassign(ctx context.Context, eni string, ips []netip.Addr) error {
	if err := w.change("give back %v of %s", ips, eni); err != nil {
		return err
	}
	return w.driver.Unassign(ctx, eni, ips)
}

// AssignPrefixes implements cloud.Driver.
func (w *witness) AssignPrefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	if err := w.change("assign %d prefixes to %s", count, eni); err != nil {
		return nil, err
	}
	return w.driver.AssignPrefixes(ctx, eni, count)
}

// AssignIPv6 implements cloud.Driver.
func (w *witness) AssignIPv6(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	if err := w.change("assign %d addresses of IPv6 to %s", count, eni); err != nil {
		return nil, err
	}
	return w.driver.AssignIPv6(ctx, eni, count)
}

// AssignIPv6Prefixes implements cloud.Driver.
func (w *witness) AssignIPv6Prefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	if err := w.change("assign %d prefixes of IPv6 to %s", count, eni); err != nil {
		return nil, err
	}
	return w.driver.AssignIPv6Prefixes(ctx, eni, count)
}

// UnassignPrefixes implements cloud.Driver.
func (w *witness) UnassignPrefixes(ctx context.Context, eni string, prefixes []netip.Prefix) error {
	if err := w.change("give back %v of %s", prefixes, eni); err != nil {
		return err
	}
	return w.driver.UnassignPrefixes(ctx, eni, prefixes)
}

// change says what is to be changed. A dry run answers as a cloud that did not: the intent stays open.
func (w *witness) change(format string, args ...any) error {
	if !w.dry {
		w.doing(format, args...)
		return nil
	}
	w.refused = true
	return &cloud.Error{Class: cloud.Unreachable, Message: "nothing is changed in a dry run"}
}

// Node implements cloud.Driver.
func (w *witness) Node(ctx context.Context) (*cloud.Node, error) {
	w.doing("ask the metadata service what this node is")
	return w.driver.Node(ctx)
}

// Limits implements cloud.Driver.
func (w *witness) Limits(ctx context.Context, instanceType string) (cloud.Limits, error) {
	w.doing("ask for the limits of %s", instanceType)
	return w.driver.Limits(ctx, instanceType)
}

// Subnets implements cloud.Driver.
func (w *witness) Subnets(ctx context.Context, q cloud.SubnetQuery) ([]cloud.Subnet, error) {
	w.doing("list the subnets for another ENI")
	return w.driver.Subnets(ctx, q)
}

// TaggedENIs implements cloud.Driver.
func (w *witness) TaggedENIs(ctx context.Context, tags map[string]string) ([]cloud.ENI, error) {
	w.doing("list the ENIs with %s", describeTags(tags))
	return w.driver.TaggedENIs(ctx, tags)
}

// describeTags writes tags for people.
func describeTags(tags map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, fmt.Sprintf("the tag %s=%s", key, tags[key]))
	}
	return strings.Join(all, " and ")
}
