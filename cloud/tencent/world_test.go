package tencent_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/cloud/tencent"
	"github.com/enichain/enichain/test/vpcsim"
)

// site is a simulated VPC with one instance of two ENIs in different subnets, another of one ENI, and the servers of the
// APIs.
type site struct {
	*vpcsim.VPC
	instance vpcsim.Instance
	api      *httptest.Server
	metadata *httptest.Server
}

func cidrs() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")}
}

func newVPC(t *testing.T, instanceType string) (*vpcsim.VPC, vpcsim.Instance) {
	t.Helper()
	v := vpcsim.New(vpcsim.Config{
		Cloud: vpcsim.TencentCloud,
		CIDRs: cidrs(),
		Subnets: []vpcsim.Subnet{
			{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Tags: map[string]string{"use": "nodes"}},
			{ID: "subnet-0b", CIDR: netip.MustParsePrefix("10.0.2.0/24"), Tags: map[string]string{"use": "pods"}},
			{ID: "subnet-0c", CIDR: netip.MustParsePrefix("10.0.3.0/24"), Tags: map[string]string{"for": "containers", "tier": "a"}},
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
		if _, err := v.AddENI(i.ID, subnet, n, netip.Addr{}); err != nil {
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
	s := &site{VPC: v, instance: i, api: httptest.NewServer(v.Tencent()), metadata: httptest.NewServer(v.TencentMetadataFor(i.ID))}
	t.Cleanup(s.api.Close)
	t.Cleanup(s.metadata.Close)
	return s
}

// replaceMetadata serves the metadata service through a wrapper.
func (s *site) replaceMetadata(t *testing.T, wrap func(http.Handler) http.Handler) {
	t.Helper()
	s.metadata = httptest.NewServer(wrap(s.TencentMetadataFor(s.instance.ID)))
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
func (s *site) eni(index int) vpcsim.ENI { return s.ENIs(s.instance.ID)[index] }

// buildDriver builds eni-cloud-tencent and returns its path.
func buildDriver(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eni-cloud-tencent")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/eni-cloud-tencent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the driver: %v\n%s", err, out)
	}
	return path
}

func (s *site) world(d cloud.Driver) *drivertest.World {
	return &drivertest.World{
		Driver: d,
		Node: cloud.Node{
			InstanceID: s.instance.ID, InstanceType: "S5.MEDIUM4", Region: "ap-guangzhou", ENIs: s.held(true),
			PrimaryMAC: s.eni(0).MAC.String(), VPCCIDRs: cidrs(),
		},
		Limits: cloud.Limits{ENIs: 4, AddressesPerENI: 10},
		Unused: netip.MustParseAddr("10.0.1.200"),
		Held:   func() []cloud.ENI { return s.held(false) },
		All:    s.all,
		Subnet: cloud.Subnet{
			ID: "subnet-0c", Zone: "ap-guangzhou-3", CIDR: netip.MustParsePrefix("10.0.3.0/24"),
			Gateway: netip.MustParseAddr("10.0.3.1"), Free: 253,
		},
		SubnetTags:  map[string]string{"for": "containers", "tier": "a"},
		ElsewhereID: "subnet-0z",
		Slow:        func() { s.SetDelays(slowly()) },
		Hide:        func() { s.SetDelays(vpcsim.Delays{Visible: time.Second}) },
		FillSubnet:  s.VPC.FillSubnet,
		Detach: func(eni string) error {
			s.Wait()
			return s.DetachENI(eni)
		},
		FreezeMetadata: func() { s.StaleMetadata(true) },
		Fail:           s.fail,
		Recover:        s.ClearFaults,
		LoseAnswer:     s.loseAnswer,
		Secrets:        s.secrets(),
	}
}

func (s *site) secrets() []string {
	return []string{s.Keys().SecretAccessKey, s.Role().SecretAccessKey, s.Role().Token}
}

// slowly is a cloud that takes its time for each step.
func slowly() vpcsim.Delays {
	const step = 300 * time.Millisecond
	return vpcsim.Delays{Create: step, Attach: step, Detach: step, Visible: step}
}

// held is what the instance's ENIs hold when no task is at work any more.
func (s *site) held(metadata bool) []cloud.ENI {
	s.Wait()
	return contract(s.ENIs(s.instance.ID), metadata)
}

// all is the account when no task is at work any more.
func (s *site) all() []cloud.ENI {
	s.Wait()
	return contract(s.AllENIs(), false)
}

// contract is ENIs in the contract's words, or in those of the metadata service.
func contract(all []vpcsim.ENI, metadata bool) []cloud.ENI {
	var enis []cloud.ENI
	for _, e := range all {
		c := cloud.ENI{
			ID: e.ID, MAC: e.MAC.String(), DeviceIndex: e.DeviceIndex, Primary: e.InstanceID != "" && e.DeviceIndex == 0,
			SubnetID: e.SubnetID, PrimaryIP: e.PrimaryIP, Addresses: e.Secondary,
		}
		if metadata {
			c.Subnet, c.Gateway = e.Subnet, e.Gateway()
		} else {
			c.State, c.InstanceID, c.SecurityGroups, c.Tags = cloud.ENIState(e.State), e.InstanceID, e.SecurityGroups, e.Tags
			c.Created = e.Created.Truncate(time.Second)
			if created, err := time.Parse(time.RFC3339, e.Tags[cloud.TagCreated]); err == nil {
				c.Created = created
			}
		}
		enis = append(enis, c)
	}
	return enis
}

func (s *site) fail(class cloud.Class) {
	code := map[cloud.Class]string{
		cloud.Throttled:  "RequestLimitExceeded",
		cloud.Quota:      "LimitExceeded",
		cloud.SubnetFull: "ResourceInsufficient.Subnet",
		cloud.Auth:       "UnauthorizedOperation",
		cloud.Invalid:    "InvalidParameter",
		cloud.Internal:   "InternalError",
	}[class]
	for _, action := range changing() {
		s.Inject(vpcsim.Fault{
			Action: action, Code: code, Times: -1,
			Message: "you sent " + s.Role().Token + " signed with " + s.Role().SecretAccessKey,
		})
	}
}

func (s *site) loseAnswer() {
	for _, action := range changing() {
		s.Inject(vpcsim.Fault{Action: action, AfterEffect: true})
	}
}

func changing() []string {
	return []string{
		"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "CreateAndAttachNetworkInterface", "AttachNetworkInterface",
		"DetachNetworkInterface", "DeleteNetworkInterface",
	}
}

func wantClass(t *testing.T, err error, want cloud.Class) *cloud.Error {
	t.Helper()
	var e *cloud.Error
	if !errors.As(err, &e) || e.Class != want {
		t.Fatalf("error:\n- want: class %s\n-  got: %#v, %v", want, err, err)
	}
	return e
}
