package aws_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/aws"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/test/vpcsim"
)

// site is a simulated VPC with one instance of two ENIs in different subnets, and the servers of its APIs.
type site struct {
	*vpcsim.VPC
	instance vpcsim.Instance
	ec2      *httptest.Server
	imds     *httptest.Server
}

func newVPC(t *testing.T) (*vpcsim.VPC, vpcsim.Instance) {
	t.Helper()
	v := vpcsim.New(vpcsim.Config{
		Region: "eu-west-3",
		CIDRs:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")},
		Subnets: []vpcsim.Subnet{
			{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/24")},
			{ID: "subnet-0b", CIDR: netip.MustParsePrefix("10.0.2.0/24")},
			{ID: "subnet-0c", CIDR: netip.MustParsePrefix("10.0.3.0/24"), Tags: map[string]string{"for": "containers", "tier": "a"}},
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
		if _, err := v.AddENI(i.ID, subnet, n, netip.Addr{}); err != nil {
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
	s := &site{VPC: v, instance: i, ec2: httptest.NewServer(v.EC2()), imds: httptest.NewServer(v.IMDSFor(i.ID))}
	t.Cleanup(v.Close)
	t.Cleanup(s.ec2.Close)
	t.Cleanup(s.imds.Close)
	return s
}

// replaceIMDS serves the metadata service through a wrapper.
func (s *site) replaceIMDS(t *testing.T, wrap func(http.Handler) http.Handler) {
	t.Helper()
	s.imds = httptest.NewServer(wrap(s.IMDSFor(s.instance.ID)))
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

// buildDriver builds eni-cloud-aws and returns its path.
func buildDriver(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eni-cloud-aws")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/eni-cloud-aws")
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
			InstanceID: s.instance.ID, InstanceType: "m5.large", Region: "eu-west-3", ENIs: s.held(true),
			PrimaryMAC: s.ENIs(s.instance.ID)[0].MAC.String(),
			VPCCIDRs:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")},
		},
		Limits: cloud.Limits{ENIs: 3, AddressesPerENI: 10, Prefixes: true},
		Unused: netip.MustParseAddr("10.0.1.200"),
		Held:   func() []cloud.ENI { return s.held(false) },
		All:    func() []cloud.ENI { return contract(s.AllENIs(), false) },
		Subnet: cloud.Subnet{
			ID: "subnet-0c", Zone: "eu-west-3a", CIDR: netip.MustParsePrefix("10.0.3.0/24"),
			Gateway: netip.MustParseAddr("10.0.3.1"), Free: 251,
		},
		SubnetTags:     map[string]string{"for": "containers", "tier": "a"},
		ElsewhereID:    "subnet-0e",
		Bound:          true,
		Slow:           func() { s.SetDelays(slowly()) },
		Hide:           func() { s.SetDelays(vpcsim.Delays{Visible: time.Second}) },
		FillSubnet:     s.VPC.FillSubnet,
		FragmentSubnet: s.VPC.FragmentSubnet,
		Detach:         s.DetachENI,
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

func (s *site) held(metadata bool) []cloud.ENI { return contract(s.ENIs(s.instance.ID), metadata) }

// contract is ENIs in the contract's words, or in those of the metadata service.
func contract(all []vpcsim.ENI, metadata bool) []cloud.ENI {
	var enis []cloud.ENI
	for _, e := range all {
		c := cloud.ENI{
			ID: e.ID, MAC: e.MAC.String(), DeviceIndex: e.DeviceIndex, Primary: e.InstanceID != "" && e.DeviceIndex == 0,
			SubnetID: e.SubnetID, PrimaryIP: e.PrimaryIP, Addresses: e.Secondary, Prefixes: e.Prefixes,
		}
		if metadata {
			c.Subnet, c.Gateway = e.Subnet, e.Gateway()
		} else {
			c.State, c.InstanceID, c.DeleteOnTermination = cloud.ENIState(e.State), e.InstanceID, e.DeleteOnTermination
			c.SecurityGroups, c.Tags = e.SecurityGroups, e.Tags
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
		cloud.Quota:      "PrivateIpAddressLimitExceeded",
		cloud.SubnetFull: "InsufficientFreeAddressesInSubnet",
		cloud.Auth:       "UnauthorizedOperation",
		cloud.Invalid:    "InvalidParameterCombination",
		cloud.Internal:   "InternalError",
	}[class]
	for _, action := range changes() {
		s.Inject(vpcsim.Fault{
			Action: action, Code: code, Times: -1,
			Message: "you sent " + s.Role().Token + " signed with " + s.Role().SecretAccessKey,
		})
	}
}

// changes are the actions that change something.
func changes() []string {
	return []string{
		"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "CreateNetworkInterface", "AttachNetworkInterface",
		"ModifyNetworkInterfaceAttribute", "DetachNetworkInterface", "DeleteNetworkInterface",
	}
}

func (s *site) loseAnswer() {
	for _, action := range changes() {
		s.Inject(vpcsim.Fault{Action: action, AfterEffect: true})
	}
}
