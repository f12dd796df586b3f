package aws_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
)

// The first address of a primary ENI would be the host's, so that it can be no container's.
func TestFirstIPv6OfThePrimaryIsTheHosts(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	primary := s.ENIs(s.Instance.ID)[0]
	if err := s.RemoveIPv6(primary.ID, primary.PrimaryIP6); err != nil {
		t.Fatal(err)
	}
	_, err := d.AssignIPv6(t.Context(), primary.ID, 1)
	if e := drivertest.WantClass(t, err, cloud.Unsupported); !strings.Contains(e.Message, primary.ID) {
		t.Errorf("the error does not name the ENI: %v", e)
	}
	if got, err := d.AssignIPv6Prefixes(t.Context(), primary.ID, 1); err != nil || len(got) != 1 {
		t.Errorf("prefixes: got %v, error %v", got, err)
	}
	if calls := s.Calls("AssignIpv6Addresses"); calls != 1 {
		t.Errorf("EC2 was asked %d times", calls)
	}
}

// A secondary ENI's own address is one that was made so; what else it has may be containers'.
func TestOwnIPv6OfASecondaryENI(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	second := s.ENIs(s.Instance.ID)[1]
	own, err := s.AddOwnIPv6(second.ID)
	if err != nil {
		t.Fatal(err)
	}
	enis, err := d.ENIs(t.Context(), s.Instance.ID)
	if err != nil || enis[1].PrimaryIP6 != own {
		t.Errorf("ENI: got %+v, error %v", enis, err)
	}
	drivertest.WantClass(t, d.Unassign(t.Context(), second.ID, []netip.Addr{own}), cloud.Invalid)
}

// An instance type that has no IPv6 is one thing, and a request that makes no sense another.
func TestTypeWithoutIPv6(t *testing.T) {
	s := newSite(t)
	old, err := s.AddInstance("m3.medium")
	if err != nil {
		t.Fatal(err)
	}
	for n, subnet := range []string{"subnet-0a", "subnet-0b"} {
		if _, err := s.AddENI(old.ID, subnet, n, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.driver(t, nil).AssignIPv6(t.Context(), s.ENIs(old.ID)[1].ID, 1)
	drivertest.WantClass(t, err, cloud.Unsupported)
}

// Addresses of IPv4 cost no call more than before there was IPv6.
func TestIPv4CostsNoCallMore(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	before := s.Calls("DescribeNetworkInterfaces") + s.Calls("DescribeSubnets")
	eni := s.ENIs(s.Instance.ID)[1].ID
	ips, err := d.Assign(t.Context(), eni, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Unassign(t.Context(), eni, ips); err != nil {
		t.Fatal(err)
	}
	if after := s.Calls("DescribeNetworkInterfaces") + s.Calls("DescribeSubnets"); after != before {
		t.Errorf("%d looks at the API for addresses of IPv4", after-before)
	}
	if six := s.Calls("AssignIpv6Addresses") + s.Calls("UnassignIpv6Addresses"); six != 0 {
		t.Errorf("%d calls of IPv6", six)
	}
}
