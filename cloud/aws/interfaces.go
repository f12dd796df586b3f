package aws

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/enichain/enichain/cloud"
)

// pageSize is how many ENIs one answer may list. Calls with neither filter nor MaxResults have a smaller allowance.
const pageSize = 100

// ENIs implements cloud.Driver.
func (d *Driver) ENIs(ctx context.Context, instanceID string) ([]cloud.ENI, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	enis, err := a.enis(ctx, &ec2.DescribeNetworkInterfacesInput{
		MaxResults: awssdk.Int32(pageSize),
		Filters:    []types.Filter{{Name: awssdk.String("attachment.instance-id"), Values: []string{instanceID}}},
	})
	if err != nil {
		return nil, err
	}
	if len(enis) == 0 {
		return nil, &cloud.Error{Class: cloud.NotFound, Message: fmt.Sprintf("no ENI is attached to instance %s in this region and account", instanceID)}
	}
	return enis, nil
}

// enis returns the attached ENIs among those asked for, from all pages.
func (a *api) enis(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput) ([]cloud.ENI, error) {
	var enis []cloud.ENI
	for {
		var page *ec2.DescribeNetworkInterfacesOutput
		err := a.read(ctx, func(ctx context.Context) (err error) {
			page, err = a.DescribeNetworkInterfaces(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, n := range page.NetworkInterfaces {
			// One that is being attached has no link yet, and one being detached soon has none.
			if n.Attachment == nil || n.Attachment.Status != types.AttachmentStatusAttached {
				continue
			}
			e, err := convert(n)
			if err != nil {
				return nil, &cloud.Error{Class: cloud.Internal, Message: err.Error()}
			}
			enis = append(enis, e)
		}
		if awssdk.ToString(page.NextToken) == "" {
			return enis, nil
		}
		in.NextToken = page.NextToken
	}
}

func convert(n types.NetworkInterface) (cloud.ENI, error) {
	e := cloud.ENI{
		ID: awssdk.ToString(n.NetworkInterfaceId), MAC: strings.ToLower(awssdk.ToString(n.MacAddress)),
		DeviceIndex: int(awssdk.ToInt32(n.Attachment.DeviceIndex)), SubnetID: awssdk.ToString(n.SubnetId),
	}
	e.Primary = e.DeviceIndex == 0 && awssdk.ToInt32(n.Attachment.NetworkCardIndex) == 0
	for _, p := range n.PrivateIpAddresses {
		ip, err := netip.ParseAddr(awssdk.ToString(p.PrivateIpAddress))
		switch {
		case err != nil:
			return e, fmt.Errorf("address of %s: %w", e.ID, err)
		case awssdk.ToBool(p.Primary):
			e.PrimaryIP = ip
		default:
			e.Addresses = append(e.Addresses, ip)
		}
	}
	return e, nil
}

// Limits implements cloud.Driver.
func (d *Driver) Limits(ctx context.Context, instanceType string) (cloud.Limits, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return cloud.Limits{}, err
	}
	var out *ec2.DescribeInstanceTypesOutput
	err = a.read(ctx, func(ctx context.Context) (err error) {
		out, err = a.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(instanceType)}})
		return err
	})
	if err != nil {
		return cloud.Limits{}, err
	}
	for _, t := range out.InstanceTypes {
		if string(t.InstanceType) == instanceType && t.NetworkInfo != nil {
			return cloud.Limits{
				ENIs:            int(awssdk.ToInt32(t.NetworkInfo.MaximumNetworkInterfaces)),
				AddressesPerENI: int(awssdk.ToInt32(t.NetworkInfo.Ipv4AddressesPerInterface)),
			}, nil
		}
	}
	return cloud.Limits{}, &cloud.Error{Class: cloud.NotFound, Message: "EC2 says nothing of instance type " + instanceType}
}

// Assign implements cloud.Driver.
func (d *Driver) Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	if count < 1 {
		return nil, invalidf("assign %d addresses: at least 1 is needed", count)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	var out *ec2.AssignPrivateIpAddressesOutput
	err = a.change(ctx, func(ctx context.Context) (err error) {
		out, err = a.AssignPrivateIpAddresses(ctx, &ec2.AssignPrivateIpAddressesInput{
			NetworkInterfaceId: &eni, SecondaryPrivateIpAddressCount: awssdk.Int32(int32(count)),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	var addresses []netip.Addr
	for _, assigned := range out.AssignedPrivateIpAddresses {
		ip, err := netip.ParseAddr(awssdk.ToString(assigned.PrivateIpAddress))
		if err != nil {
			return nil, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("address assigned to %s: %v", eni, err)}
		}
		addresses = append(addresses, ip)
	}
	return addresses, nil
}

// Unassign implements cloud.Driver. EC2 refuses the whole call for one address that is gone: then those that are left
// are asked for by name, and again.
func (d *Driver) Unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	if len(addresses) == 0 {
		return invalidf("unassign from %s: there are no addresses", eni)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return err
	}
	err = a.unassign(ctx, eni, addresses)
	var refused *cloud.Error
	if !errors.As(err, &refused) || refused.Code != "InvalidParameterValue" {
		return err
	}
	left, describeErr := a.remaining(ctx, eni, addresses)
	switch {
	case describeErr != nil:
		return describeErr
	case len(left) == len(addresses): // nothing was gone, so that wasn't why
		return err
	case len(left) == 0:
		return nil
	}
	return a.unassign(ctx, eni, left)
}

func (a *api) unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	in := &ec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: &eni}
	for _, ip := range addresses {
		in.PrivateIpAddresses = append(in.PrivateIpAddresses, ip.String())
	}
	return a.change(ctx, func(ctx context.Context) error {
		_, err := a.UnassignPrivateIpAddresses(ctx, in)
		return err
	})
}

// remaining returns those of the addresses that the ENI still has. It refuses the primary, which never goes.
func (a *api) remaining(ctx context.Context, eni string, addresses []netip.Addr) ([]netip.Addr, error) {
	enis, err := a.enis(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{eni}})
	if err != nil {
		return nil, err
	}
	if len(enis) == 0 { // it is not attached, and still has what it had
		return addresses, nil
	}
	var left []netip.Addr
	for _, ip := range addresses {
		if ip == enis[0].PrimaryIP {
			return nil, invalidf("%s is the primary address of %s and cannot be unassigned", ip, eni)
		}
		if slices.Contains(enis[0].Addresses, ip) {
			left = append(left, ip)
		}
	}
	return left, nil
}
