package tencent_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/cloud/tencent"
	"github.com/enichain/enichain/test/vpcsim"
)

// site is a simulated VPC with one instance of two ENIs in different subnets, another of one ENI, and the servers of the
// APIs.
type site struct {
	*drivertest.Simulated
	api, metadata *httptest.Server
}

func cidrs() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("2001:db8::/56")}
}

func newVPC(t *testing.T, instanceType string) (*vpcsim.VPC, vpcsim.Instance) {
	t.Helper()
	v := vpcsim.New(vpcsim.Config{
		Cloud: vpcsim.TencentCloud,
		CIDRs: cidrs()[:2],
		IPv6:  cidrs()[2],
		Subnets: []vpcsim.Subnet{
			{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/24"), IPv6: netip.MustParsePrefix("2001:db8:0:1::/64"), Tags: map[string]string{"use": "nodes"}},
			{ID: "subnet-0b", CIDR: netip.MustParsePrefix("10.0.2.0/24"), IPv6: netip.MustParsePrefix("2001:db8:0:2::/64"), Tags: map[string]string{"use": "pods"}},
			{ID: "subnet-0c", CIDR: netip.MustParsePrefix("10.0.3.0/24"), IPv6: netip.MustParsePrefix("2001:db8:0:3::/64"), Tags: map[string]string{"for": "containers", "tier": "a"}},
			{ID: "subnet-0d", CIDR: netip.MustParsePrefix("10.0.5.0/24"), Tags: map[string]string{"use": "no IPv6"}},
			{ID: "subnet-0z", CIDR: netip.MustParsePrefix("10.0.4.0/24"), Zone: "ap-guangzhou-6", Tags: map[string]string{"use": "pods"}},
		},
		SecurityGroups: []string{"sg-1"},
	})
	t.Cleanup(v.Close)
	i, err := v.AddInstance(instanceType)
	if err != nil {
		t.Fatal(err)
	}
	other, err := v.AddInstance(instanceType)
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
	if _, err := v.AddENI(other.ID, "subnet-0a", 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	return v, i
}

func newSite(t *testing.T) *site { return newSiteOf(t, "S5.MEDIUM4") }

func newSiteOf(t *testing.T, instanceType string) *site {
	t.Helper()
	v, i := newVPC(t, instanceType)
	s := &site{Simulated: simulated(v, i), api: httptest.NewServer(v.Tencent()), metadata: httptest.NewServer(v.TencentMetadataFor(i.ID))}
	t.Cleanup(s.api.Close)
	t.Cleanup(s.metadata.Close)
	return s
}

// replaceMetadata serves the metadata service through a wrapper.
func (s *site) replaceMetadata(t *testing.T, wrap func(http.Handler) http.Handler) {
	t.Helper()
	s.metadata = httptest.NewServer(wrap(s.TencentMetadataFor(s.Instance.ID)))
	t.Cleanup(s.metadata.Close)
}

func (s *site) config(t *testing.T) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(tencent.Config{VPCEndpoint: s.api.URL, CVMEndpoint: s.api.URL, MetadataEndpoint: s.metadata.URL})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// driver returns a driver in this process whose environment is the one given.
func (s *site) driver(t *testing.T, env map[string]string) *tencent.Driver {
	t.Helper()
	d, err := tencent.New(s.config(t), func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// eni returns the ENI of a device index.
func (s *site) eni(index int) vpcsim.ENI { return s.ENIs(s.Instance.ID)[index] }

func (s *site) world(d cloud.Driver) *drivertest.World {
	w := s.World(d)
	w.Node = cloud.Node{
		InstanceID: s.Instance.ID, InstanceType: "S5.MEDIUM4", Region: "ap-guangzhou", ENIs: s.Held(true),
		PrimaryMAC: s.eni(0).MAC.String(), VPCCIDRs: cidrs(),
	}
	w.Limits = cloud.Limits{ENIs: 4, AddressesPerENI: 10, IPv6PerENI: 10}
	w.Unused = netip.MustParseAddr("10.0.1.200")
	w.Subnet = cloud.Subnet{
		ID: "subnet-0c", Zone: "ap-guangzhou-3", CIDR: netip.MustParsePrefix("10.0.3.0/24"),
		Gateway: netip.MustParseAddr("10.0.3.1"), CIDR6: netip.MustParsePrefix("2001:db8:0:3::/64"), Free: 253,
	}
	w.BareID = "subnet-0d"
	w.SubnetTags, w.ElsewhereID = map[string]string{"for": "containers", "tier": "a"}, "subnet-0z"
	return w
}

// simulated is the VPC in the words of the conformance test.
func simulated(v *vpcsim.VPC, i vpcsim.Instance) *drivertest.Simulated {
	return &drivertest.Simulated{
		VPC: v, Instance: i, Tasks: true, Gateway6: netip.MustParseAddr("fe80::feee:ffff:feff:ffff"),
		Changes: []string{
			"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses", "CreateAndAttachNetworkInterface", "AttachNetworkInterface",
			"DetachNetworkInterface", "DeleteNetworkInterface",
		},
		Codes: map[cloud.Class]string{
			cloud.Throttled:  "RequestLimitExceeded",
			cloud.Quota:      "LimitExceeded",
			cloud.SubnetFull: "ResourceInsufficient.Subnet",
			cloud.Auth:       "UnauthorizedOperation",
			cloud.Invalid:    "InvalidParameter",
			cloud.Internal:   "InternalError",
		},
	}
}
