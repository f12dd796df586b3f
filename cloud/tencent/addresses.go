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
	var texts []string
	for _, assigned := range out.Response.PrivateIpAddressSet {
		texts = append(texts, value(assigned.PrivateIpAddress))
	}
	return a.assigned(ctx, eni, texts, value(out.Response.RequestId))
}

// assigned waits until the addresses that the cloud answered are usable.
func (a *api) assigned(ctx context.Context, eni string, texts []string, task string) ([]netip.Addr, error) {
	var addresses []netip.Addr
	for _, text := range texts {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("address assigned to %s: %v", eni, err)}
		}
		addresses = append(addresses, ip)
	}
	if len(addresses) == 0 {
		return nil, &cloud.Error{Class: cloud.Internal, Message: "the cloud assigned no address to " + eni}
	}
	if err := a.finished(ctx, task); err != nil {
		return nil, err
	}
	return addresses, a.usable(ctx, eni, addresses)
}

// usable waits until the ENI has the addresses.
func (a *api) usable(ctx context.Context, eni string, addresses []netip.Addr) error {
	missing := func(e *listed) bool {
		return len(among(addresses, e.Addresses, e.IPv6)) < len(addresses)
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
	var parts [][]netip.Addr
	for _, six := range []bool{false, true} {
		family := slices.DeleteFunc(slices.Clone(left), func(ip netip.Addr) bool { return ip.Is6() != six })
		parts = slices.AppendSeq(parts, slices.Chunk(family, maxAddresses))
	}
	for _, some := range parts {
		if err := a.unassignSome(ctx, eni, some); err != nil {
			return err
		}
	}
	return nil
}

// unassignSome takes addresses of one family, as many as one call may name, or what is left of them.
func (a *api) unassignSome(ctx context.Context, eni string, some []netip.Addr) error {
	err := a.unassign(ctx, eni, some)
	if cloud.ClassOf(err) != cloud.NotFound {
		return err
	}
	still, describeErr := a.remaining(ctx, eni, some)
	switch {
	case describeErr != nil:
		return describeErr
	case len(still) == len(some): // nothing was gone, so that wasn't why
		return err
	case len(still) == 0:
		return nil
	}
	return a.unassign(ctx, eni, still)
}

func (a *api) unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	if addresses[0].Is6() {
		return a.unassign6(ctx, eni, addresses)
	}
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
	}
	if own := among([]netip.Addr{e.PrimaryIP, e.PrimaryIP6}, addresses); len(own) > 0 {
		return nil, invalidf("%s is the primary address of %s and cannot be unassigned", own[0], eni)
	}
	return among(addresses, e.Addresses, e.IPv6, e.coming), nil
}

// among returns those of the addresses that are in any of the lists.
func among(addresses []netip.Addr, lists ...[]netip.Addr) []netip.Addr {
	var found []netip.Addr
	for _, ip := range addresses {
		if slices.ContainsFunc(lists, func(list []netip.Addr) bool { return slices.Contains(list, ip) }) {
			found = append(found, ip)
		}
	}
	return found
}
