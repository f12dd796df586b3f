package aws_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/aws"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/test/vpcsim"
)

// site is a simulated VPC with one instance of two ENIs in different subnets, and the servers of its APIs.
type site struct {
	*drivertest.Simulated
	ec2, imds *httptest.Server
}

func newVPC(t *testing.T) (*vpcsim.VPC, vpcsim.Instance) {
	t.Helper()
	v := vpcsim.New(vpcsim.Config{
		Region: "eu-west-3",
		CIDRs:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")},
		IPv6:   netip.MustParsePrefix("2001:db8::/56"),
		Subnets: []vpcsim.Subnet{
			{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/24"), IPv6: netip.MustParsePrefix("2001:db8:0:1::/64")},
			{ID: "subnet-0b", CIDR: netip.MustParsePrefix("10.0.2.0/24"), IPv6: netip.MustParsePrefix("2001:db8:0:2::/64")},
			{ID: "subnet-0c", CIDR: netip.MustParsePrefix("10.0.3.0/24"), IPv6: netip.MustParsePrefix("2001:db8:0:3::/64"), Tags: map[string]string{"for": "containers", "tier": "a"}},
			{ID: "subnet-0d", CIDR: netip.MustParsePrefix("10.0.4.0/24"), Tags: map[string]string{"tier": "a"}},
			{ID: "subnet-0e", CIDR: netip.MustParsePrefix("10.0.5.0/24"), Zone: "eu-west-3b", Tags: map[string]string{"for": "containers", "tier": "a"}},
		},
		SecurityGroups: []string{"sg-0a"},
	})
	i, err := v.AddInstance("m5.large")
	if err != nil {
		t.Fatal(err)
	}
	for n, subnet := range []string{"subnet-0a", "subnet-0b"} {
		e, err := v.AddENI(i.ID, subnet, n, netip.Addr{})
		if err == nil && n == 0 {
			_, err = v.AddOwnIPv6(e.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	other, err := v.AddInstance("m5.large")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if _, err := v.AddENI(other.ID, "subnet-0a", n, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	return v, i
}

func newSite(t *testing.T) *site {
	t.Helper()
	v, i := newVPC(t)
	s := &site{Simulated: simulated(v, i), ec2: httptest.NewServer(v.EC2()), imds: httptest.NewServer(v.IMDSFor(i.ID))}
	t.Cleanup(v.Close)
	t.Cleanup(s.ec2.Close)
	t.Cleanup(s.imds.Close)
	return s
}

// replaceIMDS serves the metadata service through a wrapper.
func (s *site) replaceIMDS(t *testing.T, wrap func(http.Handler) http.Handler) {
	t.Helper()
	s.imds = httptest.NewServer(wrap(s.IMDSFor(s.Instance.ID)))
	t.Cleanup(s.imds.Close)
}

func (s *site) config(t *testing.T) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(aws.Config{EC2Endpoint: s.ec2.URL, IMDSEndpoint: s.imds.URL})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// driver returns a driver in this process whose environment is the one given.
func (s *site) driver(t *testing.T, env map[string]string) *aws.Driver {
	t.Helper()
	d, err := aws.New(s.config(t), func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *site) world(d cloud.Driver) *drivertest.World {
	w := s.World(d)
	w.Node = cloud.Node{
		InstanceID: s.Instance.ID, InstanceType: "m5.large", Region: "eu-west-3", ENIs: s.Held(true),
		PrimaryMAC: s.ENIs(s.Instance.ID)[0].MAC.String(),
		VPCCIDRs:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("2001:db8::/56")},
	}
	w.Limits = cloud.Limits{ENIs: 3, AddressesPerENI: 10, Prefixes: true, IPv6PerENI: 10}
	w.Unused = netip.MustParseAddr("10.0.1.200")
	w.Subnet = cloud.Subnet{
		ID: "subnet-0c", Zone: "eu-west-3a", CIDR: netip.MustParsePrefix("10.0.3.0/24"),
		Gateway: netip.MustParseAddr("10.0.3.1"), CIDR6: netip.MustParsePrefix("2001:db8:0:3::/64"), Free: 251,
	}
	w.BareID = "subnet-0d"
	w.SubnetTags, w.ElsewhereID = map[string]string{"for": "containers", "tier": "a"}, "subnet-0e"
	w.FragmentSubnet = s.FragmentSubnet
	return w
}

// simulated is the VPC in the words of the conformance test.
func simulated(v *vpcsim.VPC, i vpcsim.Instance) *drivertest.Simulated {
	return &drivertest.Simulated{
		VPC: v, Instance: i, Bound: true, Gateway6: netip.MustParseAddr("fe80:ec2::1"),
		Changes: []string{
			"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses", "CreateNetworkInterface", "AttachNetworkInterface",
			"ModifyNetworkInterfaceAttribute", "DetachNetworkInterface", "DeleteNetworkInterface",
		},
		Codes: map[cloud.Class]string{
			cloud.Throttled:  "RequestLimitExceeded",
			cloud.Quota:      "PrivateIpAddressLimitExceeded",
			cloud.SubnetFull: "InsufficientFreeAddressesInSubnet",
			cloud.Auth:       "UnauthorizedOperation",
			cloud.Invalid:    "InvalidParameterCombination",
			cloud.Internal:   "InternalError",
		},
	}
}
