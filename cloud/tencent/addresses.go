package tencent

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
)

// maxAddresses is how many addresses one call may name ("AssignPrivateIpAddresses" and "UnassignPrivateIpAddresses" of the VPC
// API, PrivateIpAddresses.N). A number of addresses that the cloud chooses is bounded by the ENI's quota alone
// (SecondaryPrivateIpAddressCount).
const maxAddresses = 10

// Assign implements cloud.Driver.
func (d *Driver) Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	if count < 1 {
		return nil, invalidf("assign %d addresses: at least 1 is needed", count)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	return a.assign(ctx, eni, count)
}

// assign makes one call, and returns when the addresses are usable.
func (a *api) assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	in := vpcsdk.NewAssignPrivateIpAddressesRequest()
	in.NetworkInterfaceId, in.SecondaryPrivateIpAddressCount = &eni, new(uint64(count))
	in.ClientToken = new(rand.Text()) // a repetition after a refusal is not taken for a second request
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.AssignPrivateIpAddressesResponse, error) {
		return a.vpc.AssignPrivateIpAddressesWithContext(ctx, in)
	})
	if err != nil {
		return nil, err
	}
	var addresses []netip.Addr
	for _, assigned := range out.Response.PrivateIpAddressSet {
		ip, err := netip.ParseAddr(value(assigned.PrivateIpAddress))
		if err != nil {
			return nil, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("address assigned to %s: %v", eni, err)}
		}
		addresses = append(addresses, ip)
	}
	if len(addresses) == 0 {
		return nil, &cloud.Error{Class: cloud.Internal, Message: "the cloud assigned no address to " + eni}
	}
	if err := a.finished(ctx, value(out.Response.RequestId)); err != nil {
		return nil, err
	}
	return addresses, a.usable(ctx, eni, addresses)
}

// usable waits until the ENI has the addresses.
func (a *api) usable(ctx context.Context, eni string, addresses []netip.Addr) error {
	missing := func(e *listed) bool {
		return slices.ContainsFunc(addresses, func(ip netip.Addr) bool { return !slices.Contains(e.Addresses, ip) })
	}
	e, err := a.await(ctx, eni, "ready with its new addresses", func(e *listed) bool {
		return e == nil || len(e.coming) == 0 || !missing(e)
	})
	switch {
	case err != nil:
		return err
	case e == nil || missing(e):
		return &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("the cloud assigned %v to %s and does not list them there", addresses, eni)}
	}
	return nil
}

// Unassign implements cloud.Driver. It looks first: which code the API has for an address that is gone is not documented.
func (d *Driver) Unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	if len(addresses) == 0 {
		return invalidf("unassign from %s: there are no addresses", eni)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return err
	}
	left, err := a.remaining(ctx, eni, addresses)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(left, maxAddresses) {
		err := a.unassign(ctx, eni, some)
		if cloud.ClassOf(err) != cloud.NotFound {
			if err != nil {
				return err
			}
			continue
		}
		still, describeErr := a.remaining(ctx, eni, some)
		switch {
		case describeErr != nil:
			return describeErr
		case len(still) == len(some): // nothing was gone, so that wasn't why
			return err
		case len(still) > 0:
			if err := a.unassign(ctx, eni, still); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *api) unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	in := vpcsdk.NewUnassignPrivateIpAddressesRequest()
	in.NetworkInterfaceId = &eni
	for _, ip := range addresses {
		in.PrivateIpAddresses = append(in.PrivateIpAddresses, &vpcsdk.PrivateIpAddressSpecification{PrivateIpAddress: new(ip.String())})
	}
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.UnassignPrivateIpAddressesResponse, error) {
		return a.vpc.UnassignPrivateIpAddressesWithContext(ctx, in)
	})
	if err != nil {
		return err
	}
	return a.finished(ctx, value(out.Response.RequestId))
}

// remaining returns those of the addresses that the ENI still has, when none of them is on its way out any more. It
// refuses the primary, which never goes.
func (a *api) remaining(ctx context.Context, eni string, addresses []netip.Addr) ([]netip.Addr, error) {
	e, err := a.await(ctx, eni, "rid of the addresses", func(e *listed) bool {
		return e == nil || !slices.ContainsFunc(e.leaving, func(ip netip.Addr) bool { return slices.Contains(addresses, ip) })
	})
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, &cloud.Error{Class: cloud.NotFound, Message: "there is no ENI " + eni}
	case slices.Contains(addresses, e.PrimaryIP):
		return nil, invalidf("%s is the primary address of %s and cannot be unassigned", e.PrimaryIP, eni)
	}
	have := append(slices.Clone(e.Addresses), e.coming...)
	var left []netip.Addr
	for _, ip := range addresses {
		if slices.Contains(have, ip) {
			left = append(left, ip)
		}
	}
	return left, nil
}
