package supply

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
)

// static is the driver of "cloud": "static": what a cloud would say stands in the configuration, and nothing grows.
type static struct{ conf *netconf.Static }

// errNoENIs answers what a static pool cannot do. It is no mere refusal, which would be tried again.
func errNoENIs(doing string) error {
	return &cloud.Error{Class: cloud.Unsupported, Message: doing + ": a static pool has the ENIs and addresses of its configuration, and no others"}
}

var _ cloud.Driver = static{}

// Node returns the configured interfaces.
func (s static) Node(ctx context.Context) (*cloud.Node, error) {
	enis, err := s.ENIs(ctx, "")
	if err != nil {
		return nil, err
	}
	n := &cloud.Node{InstanceID: "static", InstanceType: "static", VPCCIDRs: s.conf.VPCCIDRs, ENIs: enis}
	return n, nil
}

// ENIs returns the configured interfaces. The primary one is device 0, the others follow in their order.
func (s static) ENIs(context.Context, string) ([]cloud.ENI, error) {
	var enis []cloud.ENI
	next := 1
	for _, e := range s.conf.ENIs {
		addresses, err := e.Expand()
		prefixes, prefixErr := e.Prefixes()
		if err := errors.Join(err, prefixErr); err != nil {
			return nil, &cloud.Error{Class: cloud.Invalid, Message: err.Error()}
		}
		eni := cloud.ENI{
			ID: e.Name, MAC: strings.ToLower(e.MAC), Link: e.Name, Primary: e.Primary,
			Subnet: e.Subnet, Gateway: e.Gateway, PrimaryIP: e.PrimaryIP, Prefixes: prefixes,
			Subnet6: e.Subnet6.Masked(), Gateway6: e.Gateway6, PrimaryIP6: e.PrimaryIP6,
		}
		for _, ip := range addresses {
			if ip.Is4() {
				eni.Addresses = append(eni.Addresses, ip)
			} else {
				eni.IPv6 = append(eni.IPv6, ip)
			}
		}
		if eni.ID == "" {
			eni.ID = eni.MAC
		}
		if !e.Primary {
			eni.DeviceIndex = next
			next++
		}
		enis = append(enis, eni)
	}
	return enis, nil
}

// Limits says that each interface holds what is configured, which pool.Plan reads as no room.
func (s static) Limits(context.Context, string) (cloud.Limits, error) {
	return cloud.Limits{ENIs: len(s.conf.ENIs), AddressesPerENI: 1, IPv6PerENI: 1}, nil
}

// Assign refuses: the configured addresses are all there are.
func (s static) Assign(_ context.Context, eni string, count int) ([]netip.Addr, error) {
	return nil, &cloud.Error{
		Class:   cloud.Quota,
		Message: fmt.Sprintf("%d more addresses on %s: a static pool does not grow", count, eni),
	}
}

// AssignIPv6 refuses.
func (s static) AssignIPv6(context.Context, string, int) ([]netip.Addr, error) {
	return nil, errNoENIs("assign addresses of IPv6")
}

// AssignIPv6Prefixes refuses.
func (s static) AssignIPv6Prefixes(context.Context, string, int) ([]netip.Prefix, error) {
	return nil, errNoENIs("assign prefixes of IPv6")
}

// Unassign has nothing to give back to.
func (s static) Unassign(context.Context, string, []netip.Addr) error { return nil }

// AssignPrefixes refuses.
func (s static) AssignPrefixes(context.Context, string, int) ([]netip.Prefix, error) {
	return nil, errNoENIs("assign prefixes")
}

// UnassignPrefixes has nothing to give back to.
func (s static) UnassignPrefixes(context.Context, string, []netip.Prefix) error { return nil }

// Subnets refuses: nothing can be made in them.
func (s static) Subnets(context.Context, cloud.SubnetQuery) ([]cloud.Subnet, error) {
	return nil, errNoENIs("list subnets")
}

// CreateENI refuses.
func (s static) CreateENI(context.Context, cloud.CreateENIRequest) (*cloud.ENI, error) {
	return nil, errNoENIs("make an ENI")
}

// DeleteENI refuses.
func (s static) DeleteENI(context.Context, string, string) error { return errNoENIs("delete an ENI") }

// TaggedENIs finds none: configured interfaces have no tags.
func (s static) TaggedENIs(context.Context, map[string]string) ([]cloud.ENI, error) { return nil, nil }
