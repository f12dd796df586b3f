package aws

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/enichain/enichain/cloud"
)

// Subnets implements cloud.Driver. An ENI can be attached within its zone only.
func (d *Driver) Subnets(ctx context.Context, query cloud.SubnetQuery) ([]cloud.Subnet, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	enis, err := a.enisOf(ctx, query.InstanceID)
	if err != nil {
		return nil, err
	}
	primary, err := primaryOf(query.InstanceID, enis)
	if err != nil {
		return nil, err
	}
	place := []types.Filter{filter("vpc-id", primary.vpc), filter("availability-zone", primary.zone), filter("state", "available")}
	subnets, err := a.subnets(ctx, append(place, wanted(query, primary)...))
	if err == nil && len(subnets) == 0 {
		err = &cloud.Error{Class: cloud.NotFound, Message: fmt.Sprintf(
			"%s has no subnet with %s in zone %s of instance %s", primary.vpc, described(query), primary.zone, query.InstanceID)}
	}
	return subnets, err
}

// primaryOf finds an instance's primary ENI.
func primaryOf(instanceID string, enis []listed) (listed, error) {
	n := slices.IndexFunc(enis, func(e listed) bool { return e.Primary })
	if n < 0 {
		return listed{}, &cloud.Error{Class: cloud.Internal, Message: "EC2 lists no primary ENI of instance " + instanceID}
	}
	return enis[n], nil
}

// wanted filters by what the query is about.
func wanted(q cloud.SubnetQuery, primary listed) []types.Filter {
	switch {
	case len(q.IDs) > 0:
		return []types.Filter{filter("subnet-id", q.IDs...)}
	case len(q.Tags) > 0:
		return tagFilters(q.Tags)
	}
	return []types.Filter{filter("subnet-id", primary.SubnetID)}
}

func described(q cloud.SubnetQuery) string {
	if len(q.IDs) > 0 {
		return "an ID of " + strings.Join(q.IDs, ", ")
	}
	return fmt.Sprintf("the tags %v", q.Tags)
}

// subnets returns those that pass the filters, from all pages. A range of IPv6 alone is left out.
func (a *api) subnets(ctx context.Context, filters []types.Filter) ([]cloud.Subnet, error) {
	in := &ec2.DescribeSubnetsInput{MaxResults: awssdk.Int32(pageSize), Filters: filters}
	var subnets []cloud.Subnet
	for {
		var page *ec2.DescribeSubnetsOutput
		err := a.read(ctx, func(ctx context.Context) (err error) {
			page, err = a.DescribeSubnets(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, s := range page.Subnets {
			if awssdk.ToString(s.CidrBlock) == "" {
				continue
			}
			cidr, err := netip.ParsePrefix(awssdk.ToString(s.CidrBlock))
			if err != nil {
				return nil, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("range of %s: %v", awssdk.ToString(s.SubnetId), err)}
			}
			subnets = append(subnets, cloud.Subnet{
				ID: awssdk.ToString(s.SubnetId), Zone: awssdk.ToString(s.AvailabilityZone), CIDR: cidr.Masked(),
				Gateway: gateway(cidr), CIDR6: cidr6(s), Free: int(awssdk.ToInt32(s.AvailableIpAddressCount)),
			})
		}
		if awssdk.ToString(page.NextToken) == "" {
			return subnets, nil
		}
		in.NextToken = page.NextToken
	}
}

// gateway is the VPC router's address in a subnet: the first host's (VPC User Guide, "Subnet CIDR blocks").
func gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }
