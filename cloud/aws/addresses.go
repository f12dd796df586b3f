package aws

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/enichain/enichain/cloud"
)

// Assign implements cloud.Driver.
func (d *Driver) Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	if count < 1 {
		return nil, invalidf("assign %d addresses: at least 1 is needed", count)
	}
	out, err := d.assign(ctx, &ec2.AssignPrivateIpAddressesInput{
		NetworkInterfaceId: &eni, SecondaryPrivateIpAddressCount: awssdk.Int32(int32(count)),
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

// AssignPrefixes implements cloud.Driver. EC2's prefixes are /28s.
func (d *Driver) AssignPrefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	if count < 1 {
		return nil, invalidf("assign %d prefixes: at least 1 is needed", count)
	}
	out, err := d.assign(ctx, &ec2.AssignPrivateIpAddressesInput{
		NetworkInterfaceId: &eni, Ipv4PrefixCount: awssdk.Int32(int32(count)),
	})
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, assigned := range out.AssignedIpv4Prefixes {
		p, err := netip.ParsePrefix(awssdk.ToString(assigned.Ipv4Prefix))
		if err != nil {
			return nil, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("prefix assigned to %s: %v", eni, err)}
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func (d *Driver) assign(ctx context.Context, in *ec2.AssignPrivateIpAddressesInput) (*ec2.AssignPrivateIpAddressesOutput, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	var out *ec2.AssignPrivateIpAddressesOutput
	err = a.change(ctx, func(ctx context.Context) (err error) {
		out, err = a.AssignPrivateIpAddresses(ctx, in)
		return err
	})
	return out, err
}

// Unassign implements cloud.Driver.
func (d *Driver) Unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	if len(addresses) == 0 {
		return invalidf("unassign from %s: there are no addresses", eni)
	}
	return d.unassign(ctx, share{eni: eni, addresses: addresses})
}

// UnassignPrefixes implements cloud.Driver.
func (d *Driver) UnassignPrefixes(ctx context.Context, eni string, prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return invalidf("unassign from %s: there are no prefixes", eni)
	}
	return d.unassign(ctx, share{eni: eni, prefixes: prefixes})
}

// share is some of what an ENI has.
type share struct {
	eni       string
	addresses []netip.Addr
	prefixes  []netip.Prefix
}

func (s share) size() int { return len(s.addresses) + len(s.prefixes) }

// family returns what is of IPv6, or what is not.
func (s share) family(six bool) share {
	s.addresses = slices.DeleteFunc(slices.Clone(s.addresses), func(ip netip.Addr) bool { return ip.Is6() != six })
	s.prefixes = slices.DeleteFunc(slices.Clone(s.prefixes), func(p netip.Prefix) bool { return p.Addr().Is6() != six })
	return s
}

// unassign takes all of the share, by a call of each family.
func (d *Driver) unassign(ctx context.Context, s share) error {
	a, err := d.connect(ctx)
	if err != nil {
		return err
	}
	if six := s.family(true); six.size() > 0 {
		if err := a.unassign6(ctx, six); err != nil {
			return err
		}
	}
	if s = s.family(false); s.size() == 0 {
		return nil
	}
	return a.unassign4(ctx, s)
}

// unassign4 takes all of the share, or what is left of it: EC2 refuses the whole call for one address that is gone.
func (a *api) unassign4(ctx context.Context, s share) error {
	err := a.unassign(ctx, s)
	var refused *cloud.Error
	if !errors.As(err, &refused) || refused.Code != "InvalidParameterValue" {
		return err
	}
	left, describeErr := a.remaining(ctx, s)
	switch {
	case describeErr != nil:
		return describeErr
	case left.size() == s.size(): // nothing was gone, so that wasn't why
		return err
	case left.size() == 0:
		return nil
	}
	return a.unassign(ctx, left)
}

func (a *api) unassign(ctx context.Context, s share) error {
	in := &ec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: &s.eni}
	for _, ip := range s.addresses {
		in.PrivateIpAddresses = append(in.PrivateIpAddresses, ip.String())
	}
	for _, p := range s.prefixes {
		in.Ipv4Prefixes = append(in.Ipv4Prefixes, p.String())
	}
	return a.change(ctx, func(ctx context.Context) error {
		_, err := a.UnassignPrivateIpAddresses(ctx, in)
		return err
	})
}

// remaining returns what the ENI still has of the share. It refuses the ENI's own address, which never goes.
func (a *api) remaining(ctx context.Context, s share) (share, error) {
	e, err := a.eni(ctx, s.eni)
	if err != nil {
		return share{}, err
	}
	left := share{eni: s.eni}
	for _, ip := range s.addresses {
		if ip == e.PrimaryIP || ip == e.PrimaryIP6 {
			return share{}, invalidf("%s is the primary address of %s and cannot be unassigned", ip, s.eni)
		}
		if slices.Contains(e.Addresses, ip) || slices.Contains(e.IPv6, ip) {
			left.addresses = append(left.addresses, ip)
		}
	}
	for _, p := range s.prefixes {
		if slices.Contains(e.Prefixes, p) {
			left.prefixes = append(left.prefixes, p)
		}
	}
	return left, nil
}
