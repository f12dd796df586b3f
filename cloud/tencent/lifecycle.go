package tencent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
)

// AssignPrefixes implements cloud.Driver: Tencent Cloud has no prefixes.
func (d *Driver) AssignPrefixes(context.Context, string, int) ([]netip.Prefix, error) {
	return nil, errPrefixes()
}

// AssignIPv6Prefixes implements cloud.Driver.
func (d *Driver) AssignIPv6Prefixes(context.Context, string, int) ([]netip.Prefix, error) {
	return nil, errPrefixes()
}

// UnassignPrefixes implements cloud.Driver.
func (d *Driver) UnassignPrefixes(context.Context, string, []netip.Prefix) error {
	return errPrefixes()
}

func errPrefixes() *cloud.Error {
	return &cloud.Error{Class: cloud.Unsupported, Message: "Tencent Cloud gives ENIs addresses, and no prefixes"}
}

// Subnets implements cloud.Driver. The primary ENI tells the VPC and the zone.
func (d *Driver) Subnets(ctx context.Context, q cloud.SubnetQuery) ([]cloud.Subnet, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	primary, err := a.primary(ctx, q.InstanceID)
	if err != nil {
		return nil, err
	}
	all, err := a.subnets(ctx, []filter{{"vpc-id", primary.vpc}, {"zone", primary.zone}})
	if err != nil {
		return nil, err
	}
	var chosen []cloud.Subnet
	for _, s := range all {
		if asked(q, s, primary.SubnetID) {
			chosen = append(chosen, s.Subnet)
		}
	}
	if len(chosen) == 0 {
		return nil, &cloud.Error{Class: cloud.NotFound, Message: fmt.Sprintf("no subnet of %s in zone %s is one of those asked for", primary.vpc, primary.zone)}
	}
	return chosen, nil
}

func asked(q cloud.SubnetQuery, s subnet, primary string) bool {
	switch {
	case len(q.IDs) > 0:
		return slices.Contains(q.IDs, s.ID)
	case len(q.Tags) > 0:
		return hasTags(s.tags, q.Tags)
	}
	return s.ID == primary
}

func hasTags(have, wanted map[string]string) bool {
	for key, text := range wanted {
		if got, ok := have[key]; !ok || got != text {
			return false
		}
	}
	return true
}

// primary returns the instance's primary ENI.
func (a *api) primary(ctx context.Context, instanceID string) (*listed, error) {
	found, err := a.enis(ctx, append(ofInstance(instanceID), filter{"is-primary", "TRUE"}))
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		if e.Primary {
			return &e, nil
		}
	}
	return nil, &cloud.Error{Class: cloud.NotFound, Message: fmt.Sprintf("no primary ENI is attached to instance %s in this region and account", instanceID)}
}

type subnet struct {
	cloud.Subnet
	vpc  string
	tags map[string]string
}

// subnets returns the subnets that pass the filters, from all pages. Their numbers are strings in this call.
func (a *api) subnets(ctx context.Context, filters []filter) ([]subnet, error) {
	in := vpcsdk.NewDescribeSubnetsRequest()
	in.Filters, in.Limit = sdkFilters(filters), new(strconv.Itoa(pageSize))
	var all []subnet
	for {
		in.Offset = new(strconv.Itoa(len(all)))
		page, err := read(ctx, a, func(ctx context.Context) (*vpcsdk.DescribeSubnetsResponse, error) {
			return a.vpc.DescribeSubnetsWithContext(ctx, in)
		})
		if err != nil {
			return nil, err
		}
		for _, s := range page.Response.SubnetSet {
			converted, err := convertSubnet(s)
			if err != nil {
				return nil, err
			}
			all = append(all, converted)
		}
		if len(page.Response.SubnetSet) == 0 || uint64(len(all)) >= value(page.Response.TotalCount) {
			return all, nil
		}
	}
}

func convertSubnet(s *vpcsdk.Subnet) (subnet, error) {
	cidr, err := netip.ParsePrefix(value(s.CidrBlock))
	if err != nil {
		return subnet{}, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("range of subnet %s: %v", value(s.SubnetId), err)}
	}
	// "Subnets" of the VPC documents: the first address is the gateway's, where nobody has moved it.
	c := subnet{vpc: value(s.VpcId), tags: map[string]string{}, Subnet: cloud.Subnet{
		ID: value(s.SubnetId), Zone: value(s.Zone), CIDR: cidr.Masked(), Gateway: cidr.Masked().Addr().Next(),
		CIDR6: cidr6(s.Ipv6CidrBlock), Free: int(value(s.AvailableIpAddressCount)),
	}}
	for _, tag := range s.TagSet {
		c.tags[value(tag.Key)] = value(tag.Value)
	}
	return c, nil
}

// TaggedENIs implements cloud.Driver.
func (d *Driver) TaggedENIs(ctx context.Context, tags map[string]string) ([]cloud.ENI, error) {
	if len(tags) == 0 {
		return nil, invalidf("list ENIs by their tags: there are no tags")
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	found, err := a.tagged(ctx, tags)
	var enis []cloud.ENI
	for _, e := range found {
		enis = append(enis, e.ENI)
	}
	return enis, err
}

// tagged returns the ENIs that have all the tags. One filter is enough for the API, which allows few.
func (a *api) tagged(ctx context.Context, tags map[string]string) ([]listed, error) {
	const most = 5
	var filters []filter
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if len(filters) < most {
			filters = append(filters, filter{"tag:" + key, tags[key]})
		}
	}
	found, err := a.enis(ctx, filters)
	return slices.DeleteFunc(found, func(e listed) bool { return !hasTags(e.Tags, tags) }), err
}

// DeleteENI implements cloud.Driver.
func (d *Driver) DeleteENI(ctx context.Context, instanceID, eni string) error {
	a, err := d.connect(ctx)
	if err != nil {
		return err
	}
	// One that is on its way to or from an instance, or away, goes on by itself.
	e, err := a.await(ctx, eni, "at rest", atRest)
	switch {
	case err != nil || e == nil:
		return err
	case e.Primary:
		return invalidf("%s is the primary ENI of %s and is not deleted", eni, e.InstanceID)
	case e.State == cloud.Attached && e.InstanceID != instanceID:
		return invalidf("%s is attached to %s and is not deleted", eni, cmp.Or(e.InstanceID, "something else"))
	case e.State == cloud.Attached:
		if err := a.detach(ctx, e); err != nil {
			return err
		}
	}
	return a.delete(ctx, eni)
}

// detach returns when the ENI is attached to nothing any more.
func (a *api) detach(ctx context.Context, e *listed) error {
	in := vpcsdk.NewDetachNetworkInterfaceRequest()
	in.NetworkInterfaceId, in.InstanceId = &e.ID, &e.InstanceID
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.DetachNetworkInterfaceResponse, error) {
		return a.vpc.DetachNetworkInterfaceWithContext(ctx, in)
	})
	switch {
	case cloud.ClassOf(err) == cloud.NotFound: // it has just gone
	case err != nil:
		return err
	default:
		if err := a.finished(ctx, value(out.Response.RequestId)); err != nil {
			return err
		}
	}
	_, err = a.await(ctx, e.ID, "detached", func(e *listed) bool { return e == nil || e.State == cloud.Available })
	return err
}

// delete returns when the ENI is gone.
func (a *api) delete(ctx context.Context, eni string) error {
	in := vpcsdk.NewDeleteNetworkInterfaceRequest()
	in.NetworkInterfaceId = &eni
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.DeleteNetworkInterfaceResponse, error) {
		return a.vpc.DeleteNetworkInterfaceWithContext(ctx, in)
	})
	switch {
	case cloud.ClassOf(err) == cloud.NotFound:
		return nil
	case err != nil:
		return err
	}
	if err := a.finished(ctx, value(out.Response.RequestId)); err != nil {
		return err
	}
	_, err = a.await(ctx, eni, "gone", func(e *listed) bool { return e == nil })
	return err
}
