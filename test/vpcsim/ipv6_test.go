package vpcsim_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/vpcsim"
)

func TestIPv6(t *testing.T) {
	v := vpcsim.New(vpcsim.Config{
		CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, IPv6: netip.MustParsePrefix("2001:db8::/56"),
		Subnets: []vpcsim.Subnet{{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/24"), IPv6: netip.MustParsePrefix("2001:db8:0:1::/64")}},
	})
	r := &recorder{}
	v.SetFabric(r)
	e := launch(t, v, "m5.large")
	m := serve(t, v, e)
	folder := "/latest/meta-data/network/interfaces/macs/" + e.MAC.String()
	for _, key := range []string{"/ipv6s", "/ipv6-prefix"} {
		if status, text, _ := m.do("GET", folder+key, m.token()); status != 404 {
			t.Errorf("%s of an ENI without: %d, %q", key, status, text)
		}
	}
	own, err := v.AddOwnIPv6(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, v, v.Keys())
	for _, in := range []*ec2.AssignIpv6AddressesInput{{Ipv6AddressCount: aws.Int32(2)}, {Ipv6PrefixCount: aws.Int32(1)}} {
		in.NetworkInterfaceId = &e.ID
		if _, err := c.AssignIpv6Addresses(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{
		"/ipv6s": "2001:db8:0:1::10\n2001:db8:0:1::11\n2001:db8:0:1::12", "/ipv6-prefix": "2001:db8:0:1:1::/80",
		"/subnet-ipv6-cidr-blocks": "2001:db8:0:1::/64", "/vpc-ipv6-cidr-blocks": "2001:db8::/56", "/local-ipv4s": "10.0.1.4",
	} {
		if _, text, _ := m.do("GET", folder+key, m.token()); text != want {
			t.Errorf("%s: want %q, got %q", key, want, text)
		}
	}
	_, err = c.UnassignIpv6Addresses(t.Context(), &ec2.UnassignIpv6AddressesInput{
		NetworkInterfaceId: &e.ID, Ipv6Addresses: []string{"2001:db8:0:1::11", "2001:db8:0:1::99"},
	})
	wantCode(t, err, "InvalidParameterValue") // all or none
	_, err = c.AssignIpv6Addresses(t.Context(), &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: &e.ID, Ipv6AddressCount: aws.Int32(7)})
	wantCode(t, err, "PrivateIpAddressLimitExceeded")
	if _, err := c.UnassignIpv6Addresses(t.Context(), &ec2.UnassignIpv6AddressesInput{
		NetworkInterfaceId: &e.ID, Ipv6Addresses: []string{"2001:db8:0:1::11"}, Ipv6Prefixes: []string{"2001:db8:0:1:1::/80"},
	}); err != nil {
		t.Fatal(err)
	}
	left := v.ENIs(e.InstanceID)[0]
	if left.PrimaryIP6 != own || !slices.Equal(left.IPv6, []netip.Addr{netip.MustParseAddr("2001:db8:0:1::12")}) || len(left.Prefixes6) > 0 {
		t.Errorf("left: %+v", left)
	}
	if err := v.RemoveAddress(own); err == nil {
		t.Errorf("%s, the ENI's own, was removed behind its back", own)
	}
	if err := v.RemoveAddress(left.IPv6[0]); err != nil {
		t.Error(err)
	}
	want := []string{
		"attach 10.0.1.4", "assign 10.0.1.4", "assign 2001:db8:0:1::10", "assign 2001:db8:0:1::11", "assign 2001:db8:0:1::12",
		"assign 2001:db8:0:1:1::/80", "unassign 2001:db8:0:1::11", "unassign 2001:db8:0:1:1::/80",
		"unassign 2001:db8:0:1::12",
	}
	if d := cmp.Diff(want, r.log); d != "" {
		t.Errorf("the fabric's work (-want +got):\n%s", d)
	}
}
