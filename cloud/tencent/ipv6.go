package tencent

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
)

// gateway6 is the VPC router's address in every subnet that has IPv6 ("Configuring IPv6" of the VPC documents).
func gateway6(subnet netip.Prefix) netip.Addr {
	if !subnet.IsValid() {
		return netip.Addr{}
	}
	return netip.MustParseAddr("fe80::feee:ffff:feff:ffff")
}

// AssignIPv6 implements cloud.Driver.
func (d *Driver) AssignIPv6(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	if count < 1 {
		return nil, invalidf("assign %d addresses of IPv6: at least 1 is needed", count)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	addresses, err := a.assign6(ctx, eni, count)
	if cloud.ClassOf(err) == cloud.Invalid {
		err = a.explain6(ctx, eni, err)
	}
	return addresses, err
}

// assign6 makes one call, and returns when the addresses are usable.
func (a *api) assign6(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	in := vpcsdk.NewAssignIpv6AddressesRequest()
	in.NetworkInterfaceId, in.Ipv6AddressCount, in.ClientToken = &eni, new(uint64(count)), new(rand.Text())
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.AssignIpv6AddressesResponse, error) {
		return a.vpc.AssignIpv6AddressesWithContext(ctx, in)
	})
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, assigned := range out.Response.Ipv6AddressSet {
		texts = append(texts, value(assigned.Address))
	}
	return a.assigned(ctx, eni, texts, value(out.Response.RequestId))
}

// explain6 says whether an ENI was refused IPv6 because its subnet has none: the code for that is not documented.
func (a *api) explain6(ctx context.Context, eni string, refusal error) error {
	e, err := a.eni(ctx, eni)
	if err != nil || e == nil {
		return refusal
	}
	subnets, err := a.subnets(ctx, []filter{{"subnet-id", e.SubnetID}})
	if err == nil && len(subnets) == 1 && !subnets[0].CIDR6.IsValid() {
		return errNoIPv6(e.SubnetID)
	}
	return refusal
}

func errNoIPv6(subnet string) *cloud.Error {
	return &cloud.Error{Class: cloud.Unsupported, Message: subnet + " has no range of IPv6"}
}

func (a *api) unassign6(ctx context.Context, eni string, addresses []netip.Addr) error {
	in := vpcsdk.NewUnassignIpv6AddressesRequest()
	in.NetworkInterfaceId = &eni
	for _, ip := range addresses {
		in.Ipv6Addresses = append(in.Ipv6Addresses, &vpcsdk.Ipv6Address{Address: new(ip.String())})
	}
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.UnassignIpv6AddressesResponse, error) {
		return a.vpc.UnassignIpv6AddressesWithContext(ctx, in)
	})
	if err != nil {
		return err
	}
	return a.finished(ctx, value(out.Response.RequestId))
}

// addIPv6 adds an address as the API lists it.
func (e *listed) addIPv6(listed *vpcsdk.Ipv6Address) error {
	ip, err := netip.ParseAddr(value(listed.Address))
	if err != nil {
		return fmt.Errorf("address of %s: %w", e.ID, err)
	}
	switch state := value(listed.State); {
	case value(listed.Primary):
		e.PrimaryIP6 = ip
	case state == statePending:
		e.coming = append(e.coming, ip)
	case state == stateAvailable:
		e.IPv6 = append(e.IPv6, ip)
	default: // DELETING, or MIGRATING to another ENI
		e.leaving = append(e.leaving, ip)
	}
	return nil
}

// place6 adds the ranges of IPv6 of the subnets that the ENIs are in, which the metadata service does not know.
func (a *api) place6(ctx context.Context, n *cloud.Node, vpc string) {
	subnets, err := a.subnets(ctx, []filter{{"vpc-id", vpc}})
	if err != nil {
		return
	}
	for i := range n.ENIs {
		e := &n.ENIs[i]
		for _, s := range subnets {
			if s.ID == e.SubnetID {
				e.Subnet6, e.Gateway6 = s.CIDR6, gateway6(s.CIDR6)
			}
		}
	}
}

// cidr6 is a range of IPv6 as the API writes it; the zero Prefix for none.
func cidr6(text *string) netip.Prefix {
	p, err := netip.ParsePrefix(value(text))
	if err != nil {
		return netip.Prefix{}
	}
	return p.Masked()
}

// with6 adds the quota of IPv6, which the documents let be that of IPv4 ("AssignIpv6Addresses" of the VPC API).
func with6(l cloud.Limits, err error) (cloud.Limits, error) {
	l.IPv6PerENI = l.AddressesPerENI
	return l, err
}
