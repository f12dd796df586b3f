package aws

import (
	"context"
	"fmt"
	"net/netip"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/enichain/enichain/cloud"
)

// gateway6 is the VPC router's address in every subnet that has IPv6 (VPC User Guide, "Subnet CIDR blocks"; AWS News of
// November 2022, "IPv6 subnet default gateway router").
func gateway6(subnet netip.Prefix) netip.Addr {
	if !subnet.IsValid() {
		return netip.Addr{}
	}
	return netip.MustParseAddr("fe80:ec2::1")
}

// AssignIPv6 implements cloud.Driver.
func (d *Driver) AssignIPv6(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	in := &ec2.AssignIpv6AddressesInput{Ipv6AddressCount: awssdk.Int32(int32(count))}
	out, err := d.assign6(ctx, eni, count, in, func(e listed) error {
		if !e.Primary || e.PrimaryIP6.IsValid() {
			return nil
		}
		return &cloud.Error{Class: cloud.Unsupported, Message: fmt.Sprintf(
			"%s, the instance's primary ENI, has no address of IPv6: the first that it gets is the host's; assign it one first, or use prefixes", eni)}
	})
	if err != nil {
		return nil, err
	}
	return parsed(out.AssignedIpv6Addresses, eni, netip.ParseAddr)
}

// AssignIPv6Prefixes implements cloud.Driver. EC2's prefixes of IPv6 are /80s.
func (d *Driver) AssignIPv6Prefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	in := &ec2.AssignIpv6AddressesInput{Ipv6PrefixCount: awssdk.Int32(int32(count))}
	out, err := d.assign6(ctx, eni, count, in, func(listed) error { return nil })
	if err != nil {
		return nil, err
	}
	return parsed(out.AssignedIpv6Prefixes, eni, netip.ParsePrefix)
}

// assign6 looks at the ENI first, and asks why after a refusal: EC2's code for a subnet without IPv6 is not documented.
func (d *Driver) assign6(ctx context.Context, eni string, count int, in *ec2.AssignIpv6AddressesInput, fits func(listed) error) (*ec2.AssignIpv6AddressesOutput, error) {
	if count < 1 {
		return nil, invalidf("assign %d of IPv6: at least 1 is needed", count)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	e, err := a.eni(ctx, eni)
	if err != nil {
		return nil, err
	}
	if err := fits(e); err != nil {
		return nil, err
	}
	in.NetworkInterfaceId = &eni
	var out *ec2.AssignIpv6AddressesOutput
	err = a.change(ctx, func(ctx context.Context) (err error) {
		out, err = a.AssignIpv6Addresses(ctx, in)
		return err
	})
	if cloud.ClassOf(err) == cloud.Invalid {
		err = a.explain6(ctx, e, err)
	}
	return out, err
}

// explain6 says whether an ENI was refused IPv6 because there is none.
func (a *api) explain6(ctx context.Context, e listed, refusal error) error {
	if hasCode(refusal, "UnsupportedOperation") {
		return &cloud.Error{Class: cloud.Unsupported, Code: "UnsupportedOperation", Message: refusal.Error()}
	}
	subnets, err := a.subnets(ctx, []types.Filter{filter("subnet-id", e.SubnetID)})
	if err == nil && len(subnets) == 1 && !subnets[0].CIDR6.IsValid() {
		return errNoIPv6(e.SubnetID)
	}
	return refusal
}

func errNoIPv6(subnet string) *cloud.Error {
	return &cloud.Error{Class: cloud.Unsupported, Message: subnet + " has no range of IPv6"}
}

func parsed[T any](texts []string, eni string, parse func(string) (T, error)) ([]T, error) {
	var all []T
	for _, s := range texts {
		v, err := parse(s)
		if err != nil {
			return nil, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("assigned to %s: %v", eni, err)}
		}
		all = append(all, v)
	}
	return all, nil
}

// unassign6 takes what the ENI still has of a share of IPv6. It looks first: EC2 would take the host's own address too.
func (a *api) unassign6(ctx context.Context, s share) error {
	left, err := a.remaining(ctx, s)
	if err != nil || left.size() == 0 {
		return err
	}
	in := &ec2.UnassignIpv6AddressesInput{NetworkInterfaceId: &s.eni}
	for _, ip := range left.addresses {
		in.Ipv6Addresses = append(in.Ipv6Addresses, ip.String())
	}
	for _, p := range left.prefixes {
		in.Ipv6Prefixes = append(in.Ipv6Prefixes, p.String())
	}
	return a.change(ctx, func(ctx context.Context) error {
		_, err := a.UnassignIpv6Addresses(ctx, in)
		return err
	})
}

// setIPv6 takes an ENI's addresses and prefixes of IPv6.
func (e *listed) setIPv6(n types.NetworkInterface) error {
	for _, a := range n.Ipv6Addresses {
		ip, err := netip.ParseAddr(awssdk.ToString(a.Ipv6Address))
		switch {
		case err != nil:
			return fmt.Errorf("address of %s: %w", e.ID, err)
		case awssdk.ToBool(a.IsPrimaryIpv6):
			e.PrimaryIP6 = ip
		default:
			e.IPv6 = append(e.IPv6, ip)
		}
	}
	for _, p := range n.Ipv6Prefixes {
		cidr, err := netip.ParsePrefix(awssdk.ToString(p.Ipv6Prefix))
		if err != nil {
			return fmt.Errorf("prefix of %s: %w", e.ID, err)
		}
		e.Prefixes = append(e.Prefixes, cidr)
	}
	if e.Primary {
		e.own6()
	}
	return nil
}

// own6 makes the first address of a primary ENI the host's, where EC2 does not name another: it is what DHCPv6 gives. Other
// ENIs have no address of their own but one that was made so (EnablePrimaryIpv6): their first may be a container's.
func (e *listed) own6() {
	if !e.PrimaryIP6.IsValid() && len(e.IPv6) > 0 {
		e.PrimaryIP6, e.IPv6 = e.IPv6[0], e.IPv6[1:]
	}
}

// cidr6 is a subnet's range of IPv6; the zero Prefix where it has none.
func cidr6(s types.Subnet) netip.Prefix {
	for _, a := range s.Ipv6CidrBlockAssociationSet {
		if a.Ipv6CidrBlockState == nil || a.Ipv6CidrBlockState.State != types.SubnetCidrBlockStateCodeAssociated {
			continue
		}
		if cidr, err := netip.ParsePrefix(awssdk.ToString(a.Ipv6CidrBlock)); err == nil {
			return cidr.Masked()
		}
	}
	return netip.Prefix{}
}

// ipv6PerENI is how many addresses of IPv6 an ENI takes, 0 where the type has no IPv6.
func ipv6PerENI(info *types.NetworkInfo) int {
	if !awssdk.ToBool(info.Ipv6Supported) {
		return 0
	}
	return int(awssdk.ToInt32(info.Ipv6AddressesPerInterface))
}
