package tencent_test

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/enichain/enichain/test/vpcsim"
)

// One call may name ten addresses.
func TestUnassignManyIPv6(t *testing.T) {
	t.Parallel()
	s := newSiteOf(t, "S5.4XLARGE32")
	d := s.driver(t, nil)
	eni := s.eni(1).ID
	ips, err := d.AssignIPv6(t.Context(), eni, 23)
	if err != nil {
		t.Fatal(err)
	}
	if calls := s.Calls("AssignIpv6Addresses"); calls != 1 {
		t.Errorf("%d calls to assign", calls)
	}
	if err := d.Unassign(t.Context(), eni, ips); err != nil {
		t.Fatal(err)
	}
	if calls, held := s.Calls("UnassignIpv6Addresses"), s.eni(1).IPv6; calls != 3 || len(held) != 0 {
		t.Errorf("%d calls to unassign, and %v is left", calls, held)
	}
}

// A VPC of IPv4 alone costs no call more than before there was IPv6.
func TestIPv4CostsNoCallMore(t *testing.T) {
	t.Parallel()
	v := vpcsim.New(vpcsim.Config{
		Cloud: vpcsim.TencentCloud, CIDRs: cidrs()[:1],
		Subnets: []vpcsim.Subnet{{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/24")}},
	})
	t.Cleanup(v.Close)
	i, err := v.AddInstance("S5.MEDIUM4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.AddENI(i.ID, "subnet-0a", 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	s := &site{Simulated: simulated(v, i), api: httptest.NewServer(v.Tencent()), metadata: httptest.NewServer(v.TencentMetadataFor(i.ID))}
	t.Cleanup(s.api.Close)
	t.Cleanup(s.metadata.Close)
	d := s.driver(t, nil)
	if n, err := d.Node(t.Context()); err != nil || n.ENIs[0].Subnet6.IsValid() {
		t.Errorf("node: %+v, error %v", n, err)
	}
	if calls := s.Calls("DescribeSubnets"); calls != 0 {
		t.Errorf("subnets were listed %d times", calls)
	}
}
