package vpcsim_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/vpcsim"
)

func newVPC(t *testing.T, subnet string) *vpcsim.VPC {
	t.Helper()
	return vpcsim.New(vpcsim.Config{
		CIDRs:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []vpcsim.Subnet{{ID: "subnet-0a", CIDR: netip.MustParsePrefix(subnet)}},
	})
}

// launch adds an instance with one ENI.
func launch(t *testing.T, v *vpcsim.VPC, instanceType string) vpcsim.ENI {
	t.Helper()
	i, err := v.AddInstance(instanceType)
	if err != nil {
		t.Fatal(err)
	}
	e, err := v.AddENI(i.ID, "subnet-0a", 0, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// client is AWS's own SDK, without its retries.
func client(t *testing.T, v *vpcsim.VPC, c vpcsim.Credentials) *ec2.Client {
	t.Helper()
	s := httptest.NewServer(v.EC2())
	t.Cleanup(s.Close)
	return ec2.New(ec2.Options{
		Region: "us-east-1", BaseEndpoint: &s.URL, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.Token),
	})
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("error:\n- want: %s\n-  got: %v", code, err)
	}
}

func assign(c *ec2.Client, eni string, count int32, listed ...string) ([]string, error) {
	in := &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: &eni, PrivateIpAddresses: listed}
	if count != 0 {
		in.SecondaryPrivateIpAddressCount = &count
	}
	out, err := c.AssignPrivateIpAddresses(context.Background(), in)
	if err != nil {
		return nil, err
	}
	var ips []string
	for _, a := range out.AssignedPrivateIpAddresses {
		ips = append(ips, *a.PrivateIpAddress)
	}
	return ips, nil
}

func unassign(c *ec2.Client, eni string, ips ...string) error {
	_, err := c.UnassignPrivateIpAddresses(context.Background(), &ec2.UnassignPrivateIpAddressesInput{
		NetworkInterfaceId: &eni, PrivateIpAddresses: ips,
	})
	return err
}

func TestAddressesOfASubnet(t *testing.T) {
	v := newVPC(t, "10.0.1.0/28")
	e := launch(t, v, "c5.4xlarge")
	if e.PrimaryIP.String() != "10.0.1.4" {
		t.Errorf("first address: want 10.0.1.4, the first four are reserved; got %s", e.PrimaryIP)
	}
	c := client(t, v, v.Keys())
	ips, err := assign(c, e.ID, 10)
	if err != nil || ips[0] != "10.0.1.5" || ips[9] != "10.0.1.14" {
		t.Fatalf("the rest of the subnet but its last: got %v, error %v", ips, err)
	}
	_, err = assign(c, e.ID, 1)
	wantCode(t, err, "InsufficientFreeAddressesInSubnet")
	for _, ip := range []string{"10.0.1.9", "10.0.1.6"} {
		if err := unassign(c, e.ID, ip); err != nil {
			t.Fatal(err)
		}
	}
	again, err := assign(c, e.ID, 1)
	if err != nil || !slices.Equal(again, []string{"10.0.1.9"}) {
		t.Errorf("the address freed first: want 10.0.1.9, got %v, error %v", again, err)
	}
}

func TestErrorCodes(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	e, other := launch(t, v, "m5.large"), launch(t, v, "t3.micro")
	c := client(t, v, v.Keys())
	for _, tt := range []struct {
		name, eni string
		count     int32
		listed    []string
		code      string
	}{
		{"unknown ENI", "eni-0123", 1, nil, "InvalidNetworkInterfaceID.NotFound"},
		{"no number", e.ID, 0, nil, "MissingParameter"},
		{"negative", e.ID, -1, nil, "InvalidParameterValue"},
		{"number and list", e.ID, 1, []string{"10.0.1.20"}, "InvalidParameterCombination"},
		{"too many", e.ID, 10, nil, "PrivateIpAddressLimitExceeded"},
		{"another's", e.ID, 0, []string{other.PrimaryIP.String()}, "InvalidIPAddress.InUse"},
		{"outside the subnet", e.ID, 0, []string{"10.0.2.20"}, "InvalidParameterValue"},
		{"reserved, low", e.ID, 0, []string{"10.0.1.3"}, "InvalidParameterValue"},
		{"reserved, high", e.ID, 0, []string{"10.0.1.255"}, "InvalidParameterValue"},
		{"no address", e.ID, 0, []string{"ten"}, "InvalidParameterValue"},
		{"twice", e.ID, 0, []string{"10.0.1.20", "10.0.1.20"}, "InvalidParameterValue"},
	} {
		_, err := assign(c, tt.eni, tt.count, tt.listed...)
		if err == nil {
			t.Errorf("assign %s: no error", tt.name)
			continue
		}
		wantCode(t, err, tt.code)
	}
	wantCode(t, unassign(c, e.ID, e.PrimaryIP.String()), "InvalidParameterValue")
	wantCode(t, unassign(c, e.ID, "10.0.1.77"), "InvalidParameterValue")
	wantCode(t, unassign(c, "eni-0123", "10.0.1.77"), "InvalidNetworkInterfaceID.NotFound")
	_, err := c.DescribeInstanceTypes(t.Context(), &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"z9.huge"}})
	wantCode(t, err, "InvalidInstanceType")
	_, err = c.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	wantCode(t, err, "InvalidAction")
	_, err = c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{DryRun: aws.Bool(true)})
	wantCode(t, err, "UnknownParameter")
	_, err = c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{MaxResults: aws.Int32(4)})
	wantCode(t, err, "InvalidParameterValue")
	if held := v.ENIs(e.InstanceID)[0].Secondary; len(held) != 0 {
		t.Errorf("calls that failed assigned %v", held)
	}
}

func TestAttachLimits(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	e := launch(t, v, "t3.micro")
	for _, tt := range []struct {
		name, instance, subnet string
		index                  int
		primary                string
		want                   string // "" is success
	}{
		{"unknown instance", "i-0", "subnet-0a", 1, "", "InvalidInstanceID.NotFound"},
		{"unknown subnet", e.InstanceID, "subnet-0z", 1, "", "InvalidSubnetID.NotFound"},
		{"taken index", e.InstanceID, "subnet-0a", 0, "", "InvalidParameterValue"},
		{"taken address", e.InstanceID, "subnet-0a", 1, e.PrimaryIP.String(), "InvalidIPAddress.InUse"},
		{"good", e.InstanceID, "subnet-0a", 1, "10.0.1.100", ""},
		{"one too many", e.InstanceID, "subnet-0a", 2, "", "AttachmentLimitExceeded"},
	} {
		primary, _ := netip.ParseAddr(tt.primary)
		got, err := v.AddENI(tt.instance, tt.subnet, tt.index, primary)
		var e *vpcsim.APIError
		switch {
		case tt.want == "" && (err != nil || got.PrimaryIP != primary):
			t.Errorf("%s: got %+v, error %v", tt.name, got, err)
		case tt.want != "" && (!errors.As(err, &e) || e.Code != tt.want):
			t.Errorf("%s: want %s, got %v", tt.name, tt.want, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	e := launch(t, v, "m5.large")
	keys, role := v.Keys(), v.Role()
	for _, tt := range []struct {
		name string
		c    vpcsim.Credentials
		code string
	}{
		{"keys", keys, ""},
		{"role", role, ""},
		{"unknown key", vpcsim.Credentials{AccessKeyID: "AKIANOBODY", SecretAccessKey: keys.SecretAccessKey}, "AuthFailure"},
		{"wrong secret", vpcsim.Credentials{AccessKeyID: keys.AccessKeyID, SecretAccessKey: "x"}, "SignatureDoesNotMatch"},
		{"role without its token", vpcsim.Credentials{AccessKeyID: role.AccessKeyID, SecretAccessKey: role.SecretAccessKey}, "AuthFailure"},
	} {
		_, err := assign(client(t, v, tt.c), e.ID, 1)
		if tt.code != "" {
			wantCode(t, err, tt.code)
		} else if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	s := httptest.NewServer(v.EC2())
	defer s.Close()
	r, err := s.Client().Post(s.URL, "application/x-www-form-urlencoded", strings.NewReader("Action=DescribeNetworkInterfaces&Version=2016-11-15"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != 403 {
		t.Errorf("unsigned request: want 403, got %s", r.Status)
	}
	if n := v.Calls(""); n != 2 {
		t.Errorf("changing calls that were let in: want 2, got %d", n)
	}
}

func TestFaults(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	e := launch(t, v, "m5.large")
	c := client(t, v, v.Keys())
	v.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Code: "RequestLimitExceeded", Times: 2})
	for range 2 {
		_, err := assign(c, e.ID, 1)
		wantCode(t, err, "RequestLimitExceeded")
	}
	v.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", AfterEffect: true})
	_, err := assign(c, e.ID, 2)
	var answered smithy.APIError
	if err == nil || errors.As(err, &answered) {
		t.Errorf("a lost answer: got %v", err)
	}
	if held := v.ENIs(e.InstanceID)[0].Secondary; len(held) != 2 {
		t.Errorf("after a lost answer: want 2 addresses, got %v", held)
	}
	if _, err := assign(c, e.ID, 1); err != nil {
		t.Errorf("after the faults: %v", err)
	}
	if n := v.Calls("AssignPrivateIpAddresses"); n != 4 {
		t.Errorf("calls: want 4, got %d", n)
	}
}

// What the SDK's own retries make of a lost answer: twice as many addresses. It is why the driver makes none.
func TestSDKRepeatsALostAssign(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	e := launch(t, v, "m5.large")
	keys := v.Keys()
	s := httptest.NewServer(v.EC2())
	defer s.Close()
	c := ec2.New(ec2.Options{
		Region: "us-east-1", BaseEndpoint: &s.URL,
		Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, ""),
	})
	v.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", AfterEffect: true})
	ips, err := assign(c, e.ID, 2)
	if held := v.ENIs(e.InstanceID)[0].Secondary; err != nil || len(ips) != 2 || len(held) != 4 {
		t.Errorf("want 2 addresses in the answer and 4 held, got %v and %v, error %v", ips, held, err)
	}
}

func TestFilters(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	a, b := launch(t, v, "m5.large"), launch(t, v, "m5.large")
	c := client(t, v, v.Keys())
	ips, err := assign(c, b.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	for filter, value := range map[string]string{
		"attachment.instance-id": b.InstanceID, "network-interface-id": b.ID,
		"mac-address": b.MAC.String(), "addresses.private-ip-address": ips[0],
	} {
		out, err := c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{
			Filters: []types.Filter{{Name: &filter, Values: []string{value}}},
		})
		if err != nil || len(out.NetworkInterfaces) != 1 || *out.NetworkInterfaces[0].NetworkInterfaceId != b.ID {
			t.Errorf("filter %s: want %s alone, got %+v, error %v", filter, b.ID, out, err)
		}
	}
	_, err = c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("colour"), Values: []string{"red"}}},
	})
	wantCode(t, err, "InvalidParameterValue")
	out, err := c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{a.ID}})
	if err != nil || len(out.NetworkInterfaces) != 1 || *out.NetworkInterfaces[0].NetworkInterfaceId != a.ID {
		t.Errorf("by ID: got %+v, error %v", out, err)
	}
}

// recorder is a Fabric that writes down what it is told, and fails where it is told to.
type recorder struct {
	mu     sync.Mutex
	log    []string
	failAt string
}

func (r *recorder) note(line string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, line)
	if line == r.failAt {
		return errors.New("the cable is cut")
	}
	return nil
}

func (r *recorder) Attach(e vpcsim.ENI) error { return r.note("attach " + e.PrimaryIP.String()) }

func (r *recorder) Detach(e vpcsim.ENI) error { return r.note("detach " + e.PrimaryIP.String()) }

func (r *recorder) Assign(_ vpcsim.ENI, ip netip.Addr) error { return r.note("assign " + ip.String()) }

func (r *recorder) Unassign(_ vpcsim.ENI, ip netip.Addr) error {
	return r.note("unassign " + ip.String())
}

func (r *recorder) AssignPrefix(_ vpcsim.ENI, p netip.Prefix) error {
	return r.note("assign " + p.String())
}

func (r *recorder) UnassignPrefix(_ vpcsim.ENI, p netip.Prefix) error {
	return r.note("unassign " + p.String())
}

func TestFabric(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	r := &recorder{}
	v.SetFabric(r)
	e := launch(t, v, "m5.large")
	c := client(t, v, v.Keys())
	if _, err := assign(c, e.ID, 2); err != nil {
		t.Fatal(err)
	}
	if err := unassign(c, e.ID, "10.0.1.6"); err != nil {
		t.Fatal(err)
	}
	r.failAt = "assign 10.0.1.8"
	_, err := assign(c, e.ID, 2)
	wantCode(t, err, "InternalError")
	want := []string{
		"attach 10.0.1.4", "assign 10.0.1.4", "assign 10.0.1.5", "assign 10.0.1.6", "unassign 10.0.1.6",
		"assign 10.0.1.7", "assign 10.0.1.8", "unassign 10.0.1.7",
	}
	if d := cmp.Diff(want, r.log); d != "" {
		t.Errorf("the fabric's work (-want +got):\n%s", d)
	}
	if held := v.ENIs(e.InstanceID)[0].Secondary; len(held) != 1 {
		t.Errorf("after the fabric failed: want 1 address, got %v", held)
	}
	r.failAt = "unassign 10.0.1.5"
	wantCode(t, unassign(c, e.ID, "10.0.1.5"), "InternalError")
	if held := v.ENIs(e.InstanceID)[0].Secondary; len(held) != 1 {
		t.Errorf("after the fabric failed to unassign: want 1 address, got %v", held)
	}
}

func TestFabricLagsBehind(t *testing.T) {
	r := &recorder{failAt: "assign 10.0.1.6"}
	v := vpcsim.New(vpcsim.Config{
		CIDRs:       []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnets:     []vpcsim.Subnet{{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/24")}},
		FabricDelay: 100_000_000,
	})
	v.SetFabric(r)
	e := launch(t, v, "m5.large")
	c := client(t, v, v.Keys())
	for range 2 {
		if _, err := assign(c, e.ID, 1); err != nil {
			t.Fatal(err)
		}
	}
	v.Wait()
	want := []string{"attach 10.0.1.4", "assign 10.0.1.4", "assign 10.0.1.5", "assign 10.0.1.6"}
	if d := cmp.Diff(want, r.log); d != "" {
		t.Errorf("the fabric's work (-want +got):\n%s", d)
	}
	if errs := v.FabricErrors(); len(errs) != 1 {
		t.Errorf("errors: want one, got %v", errs)
	}
}

// Many callers at once never get the same address.
func TestConcurrentAssigns(t *testing.T) {
	v := newVPC(t, "10.0.0.0/20")
	var wg sync.WaitGroup
	c := client(t, v, v.Keys())
	var mu sync.Mutex
	seen := map[string]bool{}
	for range 8 {
		e := launch(t, v, "c5.4xlarge")
		wg.Go(func() {
			for range 5 {
				ips, err := assign(c, e.ID, 3)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, ip := range ips {
					if seen[ip] {
						t.Errorf("%s was given twice", ip)
					}
					seen[ip] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 8*5*3 {
		t.Errorf("addresses: want 120, got %d", len(seen))
	}
}
