package vpcsim_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	vpc "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/test/vpcsim"
)

func newTencent(t *testing.T, subnet string) *vpcsim.VPC {
	t.Helper()
	v := vpcsim.New(vpcsim.Config{
		Cloud: vpcsim.TencentCloud,
		CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")},
		Subnets: []vpcsim.Subnet{
			{ID: "subnet-0a", CIDR: netip.MustParsePrefix(subnet)}, {ID: "subnet-0b", CIDR: netip.MustParsePrefix("10.0.9.0/24")},
		},
		TaskDelay: 50 * time.Millisecond,
	})
	t.Cleanup(v.Close)
	return v
}

func sdkProfile(url string) *profile.ClientProfile {
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint, _ = strings.Cut(url, "://")
	return p
}

// tencentClient is Tencent Cloud's own SDK.
func tencentClient(t *testing.T, v *vpcsim.VPC, c vpcsim.Credentials, region string) *vpc.Client {
	t.Helper()
	s := httptest.NewServer(v.Tencent())
	t.Cleanup(s.Close)
	client, err := vpc.NewClient(common.NewTokenCredential(c.AccessKeyID, c.SecretAccessKey, c.Token), region, sdkProfile(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func wantSDKCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var e *sdkerrors.TencentCloudSDKError
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s:\n- want: %s\n-  got: %v", what, code, err)
	}
}

func assignIPs(c *vpc.Client, eni string, count uint64, token string, listed ...string) (*vpc.AssignPrivateIpAddressesResponse, error) {
	r := vpc.NewAssignPrivateIpAddressesRequest()
	r.NetworkInterfaceId = &eni
	if count > 0 {
		r.SecondaryPrivateIpAddressCount = &count
	}
	if token != "" {
		r.ClientToken = &token
	}
	for _, ip := range listed {
		r.PrivateIpAddresses = append(r.PrivateIpAddresses, &vpc.PrivateIpAddressSpecification{PrivateIpAddress: &ip})
	}
	return c.AssignPrivateIpAddresses(r)
}

func unassignIPs(c *vpc.Client, eni string, listed ...string) (*vpc.UnassignPrivateIpAddressesResponse, error) {
	r := vpc.NewUnassignPrivateIpAddressesRequest()
	r.NetworkInterfaceId = &eni
	for _, ip := range listed {
		r.PrivateIpAddresses = append(r.PrivateIpAddresses, &vpc.PrivateIpAddressSpecification{PrivateIpAddress: &ip})
	}
	return c.UnassignPrivateIpAddresses(r)
}

func describeENIs(t *testing.T, c *vpc.Client, filters ...string) []*vpc.NetworkInterface {
	t.Helper()
	r := vpc.NewDescribeNetworkInterfacesRequest()
	for i := 0; i < len(filters); i += 2 {
		r.Filters = append(r.Filters, &vpc.Filter{Name: &filters[i], Values: common.StringPtrs(strings.Split(filters[i+1], ","))})
	}
	a, err := c.DescribeNetworkInterfaces(r)
	if err != nil {
		t.Fatal(err)
	}
	return a.Response.NetworkInterfaceSet
}

func taskStatus(t *testing.T, c *vpc.Client, task *string) string {
	t.Helper()
	r := vpc.NewDescribeVpcTaskResultRequest()
	r.TaskId = task
	a, err := c.DescribeVpcTaskResult(r)
	if err != nil {
		t.Fatal(err)
	}
	return *a.Response.Status
}

func TestTencentSignatures(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	launch(t, v, "S5.MEDIUM4")
	keys, role := v.Keys(), v.Role()
	for name, tt := range map[string]struct {
		c    vpcsim.Credentials
		code string
	}{
		"unknown key":            {vpcsim.Credentials{AccessKeyID: "AKIDNOBODY", SecretAccessKey: keys.SecretAccessKey}, "AuthFailure.SecretIdNotFound"},
		"wrong secret":           {vpcsim.Credentials{AccessKeyID: keys.AccessKeyID, SecretAccessKey: "x"}, "AuthFailure.SignatureFailure"},
		"role without its token": {vpcsim.Credentials{AccessKeyID: role.AccessKeyID, SecretAccessKey: role.SecretAccessKey}, "AuthFailure.TokenFailure"},
	} {
		_, err := tencentClient(t, v, tt.c, "ap-guangzhou").DescribeNetworkInterfaces(vpc.NewDescribeNetworkInterfacesRequest())
		wantSDKCode(t, name, err, tt.code)
	}
	for _, c := range []vpcsim.Credentials{keys, role} {
		if found := describeENIs(t, tencentClient(t, v, c, "ap-guangzhou")); len(found) != 1 {
			t.Errorf("%s: got %v", c.AccessKeyID, found)
		}
	}
	_, err := tencentClient(t, v, keys, "ap-shanghai").DescribeNetworkInterfaces(vpc.NewDescribeNetworkInterfacesRequest())
	wantSDKCode(t, "another region", err, "UnsupportedRegion")
}

// What was signed, and what every request has, is checked. The SDK writes its headers in a form of its own.
func TestTencentRequestsThatWereChanged(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	for name, tt := range map[string]struct {
		change func(*http.Request)
		code   string
	}{
		"unsigned":      {func(r *http.Request) { r.Header.Del("Authorization") }, "AuthFailure.InvalidAuthorization"},
		"old":           {func(r *http.Request) { r.Header["X-TC-Timestamp"] = []string{"1700000000"} }, "AuthFailure.SignatureExpire"},
		"without time":  {func(r *http.Request) { delete(r.Header, "X-TC-Timestamp") }, "MissingParameter"},
		"another body":  {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"Limit":1}`)); r.ContentLength = 11 }, "AuthFailure.SignatureFailure"},
		"other version": {func(r *http.Request) { r.Header["X-TC-Version"] = []string{"2020-01-01"} }, "NoSuchVersion"},
		"other action":  {func(r *http.Request) { r.Header["X-TC-Action"] = []string{"DescribeEverything"} }, "InvalidAction"},
		"other service": {func(r *http.Request) { r.Header["X-TC-Action"] = []string{"DescribeInstances"} }, "InvalidAction"},
		"no region":     {func(r *http.Request) { delete(r.Header, "X-TC-Region") }, "MissingParameter"},
	} {
		c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
		c.WithHttpTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
			tt.change(r)
			return http.DefaultTransport.RoundTrip(r)
		}))
		_, err := c.DescribeNetworkInterfaces(vpc.NewDescribeNetworkInterfacesRequest())
		wantSDKCode(t, name, err, tt.code)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Errors come with HTTP status 200, in the envelope.
func TestTencentEnvelope(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	s := httptest.NewServer(v.Tencent())
	defer s.Close()
	a, err := s.Client().Post(s.URL, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	var answer struct {
		Response struct {
			Error     struct{ Code, Message string }
			RequestId string //nolint:revive // the API's own spelling
		}
	}
	if err := json.NewDecoder(a.Body).Decode(&answer); err != nil || a.StatusCode != 200 {
		t.Fatalf("status %d, error %v", a.StatusCode, err)
	}
	if answer.Response.Error.Code == "" || answer.Response.Error.Message == "" || answer.Response.RequestId == "" {
		t.Errorf("answer: %+v", answer)
	}
}

func TestTencentAddressesOfASubnet(t *testing.T) {
	v := newTencent(t, "10.0.1.0/28")
	e := launch(t, v, "S5.4XLARGE32")
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	if e.PrimaryIP.String() != "10.0.1.2" || e.MAC[0] != 0x52 || !strings.HasPrefix(e.InstanceID, "ins-") {
		t.Errorf("the first ENI: %+v", e)
	}
	if _, err := assignIPs(c, e.ID, 10, ""); err != nil {
		t.Fatal(err)
	}
	v.Wait()
	_, err := assignIPs(c, e.ID, 3, "")
	wantSDKCode(t, "more than the subnet has", err, "ResourceInsufficient.Subnet")
	r := vpc.NewDescribeSubnetsRequest()
	r.SubnetIds, r.Limit = common.StringPtrs([]string{"subnet-0a"}), common.StringPtr("5")
	a, err := c.DescribeSubnets(r)
	if err != nil || *a.Response.SubnetSet[0].AvailableIpAddressCount != 2 || *a.Response.SubnetSet[0].TotalIpAddressCount != 13 {
		t.Errorf("subnet: got %s, error %v", a.ToJsonString(), err)
	}
}

// A change is a task: the answer comes at once, the addresses are PENDING, and a second change has to wait.
func TestTencentTasks(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	e := launch(t, v, "S5.MEDIUM4")
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	states := func() (states []string) {
		for _, ip := range describeENIs(t, c)[0].PrivateIpAddressSet {
			states = append(states, *ip.State)
		}
		return states
	}
	a, err := assignIPs(c, e.ID, 2, "")
	if err != nil || len(a.Response.PrivateIpAddressSet) != 2 || *a.Response.PrivateIpAddressSet[0].State != "PENDING" {
		t.Fatalf("assign: got %+v, error %v", a, err)
	}
	if got := states(); !slices.Equal(got, []string{"AVAILABLE", "PENDING", "PENDING"}) {
		t.Errorf("states while the task runs: %v", got)
	}
	if got := taskStatus(t, c, a.Response.RequestId); got != "RUNNING" {
		t.Errorf("task: %s", got)
	}
	_, err = assignIPs(c, e.ID, 1, "")
	wantSDKCode(t, "a second task", err, "UnsupportedOperation.MutexOperationTaskRunning")
	v.Wait()
	if got := taskStatus(t, c, a.Response.RequestId); got != "SUCCESS" {
		t.Errorf("task: %s", got)
	}
	ip := *a.Response.PrivateIpAddressSet[0].PrivateIpAddress
	if _, err := unassignIPs(c, e.ID, ip); err != nil {
		t.Fatal(err)
	}
	if got := states(); !slices.Equal(got, []string{"AVAILABLE", "DELETING", "AVAILABLE"}) {
		t.Errorf("states while an address goes: %v", got)
	}
	v.Wait()
	v.Inject(vpcsim.Fault{Action: vpcsim.Task, Code: "InternalError"})
	a, err = assignIPs(c, e.ID, 2, "")
	if err != nil {
		t.Fatal(err)
	}
	v.Wait()
	if got := taskStatus(t, c, a.Response.RequestId); got != "FAILED" {
		t.Errorf("task: %s", got)
	}
	if held := v.ENIs(e.InstanceID)[0].Secondary; len(held) != 1 {
		t.Errorf("held after a task that failed: %v", held)
	}
	r := vpc.NewDescribeVpcTaskResultRequest()
	r.TaskId = common.StringPtr("no-such-task")
	_, err = c.DescribeVpcTaskResult(r)
	wantSDKCode(t, "an unknown task", err, "ResourceNotFound")
}

func TestTencentClientTokens(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	e := launch(t, v, "S5.MEDIUM4")
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	first, err := assignIPs(c, e.ID, 2, "token")
	if err != nil {
		t.Fatal(err)
	}
	again, err := assignIPs(c, e.ID, 2, "token")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := first.Response.PrivateIpAddressSet[0], again.Response.PrivateIpAddressSet[0]; *a.PrivateIpAddress != *b.PrivateIpAddress {
		t.Errorf("the second call assigned %s, the first %s", *b.PrivateIpAddress, *a.PrivateIpAddress)
	}
	_, err = assignIPs(c, e.ID, 3, "token")
	wantSDKCode(t, "other parameters", err, "UnsupportedOperation.IdempotentParameterMismatch")
	v.Wait()
	if got := taskStatus(t, c, again.Response.RequestId); got != "SUCCESS" {
		t.Errorf("task of the second call: %s", got)
	}
	if held := v.ENIs(e.InstanceID)[0].Secondary; len(held) != 2 {
		t.Errorf("held: %v", held)
	}
}

func TestTencentErrorCodes(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	e, other := launch(t, v, "S5.MEDIUM4"), launch(t, v, "S5.MEDIUM4")
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	for _, tt := range []struct {
		name, eni string
		count     uint64
		listed    []string
		code      string
	}{
		{"unknown ENI", "eni-ffffffff", 1, nil, "ResourceNotFound"},
		{"malformed ENI", "nic-1", 1, nil, "InvalidParameterValue.Malformed"},
		{"no number", e.ID, 0, nil, "MissingParameter"},
		{"too many for the ENI", e.ID, 10, nil, "LimitExceeded"},
		{"another's", e.ID, 0, []string{other.PrimaryIP.String()}, "ResourceInUse"},
		{"outside the subnet", e.ID, 0, []string{"10.0.2.20"}, "InvalidParameterValue.Range"},
		{"the gateway", e.ID, 0, []string{"10.0.1.1"}, "InvalidParameterValue.Range"},
		{"no address", e.ID, 0, []string{"ten"}, "InvalidParameterValue.Malformed"},
		{"twice", e.ID, 0, []string{"10.0.1.20", "10.0.1.20"}, "InvalidParameterValue.DuplicatePara"},
	} {
		_, err := assignIPs(c, tt.eni, tt.count, "", tt.listed...)
		wantSDKCode(t, "assign "+tt.name, err, tt.code)
	}
	_, err := unassignIPs(c, e.ID, e.PrimaryIP.String())
	wantSDKCode(t, "unassign the primary", err, "UnsupportedOperation")
	_, err = unassignIPs(c, e.ID, "10.0.1.77")
	wantSDKCode(t, "unassign what is not there", err, "ResourceNotFound")
	_, err = unassignIPs(c, e.ID)
	wantSDKCode(t, "unassign nothing", err, "MissingParameter")
	d := vpc.NewDescribeNetworkInterfacesRequest()
	d.NetworkInterfaceIds, d.Filters = common.StringPtrs([]string{e.ID}), []*vpc.Filter{{Name: common.StringPtr("vpc-id")}}
	_, err = c.DescribeNetworkInterfaces(d)
	wantSDKCode(t, "IDs and filters", err, "InvalidParameter.Coexist")
	d.NetworkInterfaceIds, d.Filters[0].Name = nil, common.StringPtr("mac-address")
	_, err = c.DescribeNetworkInterfaces(d)
	wantSDKCode(t, "an unknown filter", err, "InvalidParameter.FilterInvalidKey")
	d.Filters, d.Limit = nil, common.Uint64Ptr(101)
	_, err = c.DescribeNetworkInterfaces(d)
	wantSDKCode(t, "too long a page", err, "InvalidParameterValue.Range")
	_, err = c.DescribeRouteTables(vpc.NewDescribeRouteTablesRequest())
	wantSDKCode(t, "an action that is not simulated", err, "InvalidAction")
	if held := v.ENIs(e.InstanceID)[0].Secondary; len(held) != 0 {
		t.Errorf("calls that failed assigned %v", held)
	}
}

// Without a Limit a page has 20, and a single address-ip matches the end of addresses.
func TestTencentLists(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	var first vpcsim.ENI
	for n := range 25 {
		if e := launch(t, v, "S5.MEDIUM4"); n == 0 {
			first = e
		}
	}
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	a, err := c.DescribeNetworkInterfaces(vpc.NewDescribeNetworkInterfacesRequest())
	if err != nil || len(a.Response.NetworkInterfaceSet) != 20 || *a.Response.TotalCount != 25 {
		t.Errorf("without a limit: %d of %d, error %v", len(a.Response.NetworkInterfaceSet), *a.Response.TotalCount, err)
	}
	for _, tt := range []struct {
		filters []string
		want    int
	}{
		{[]string{"address-ip", "1.2"}, 1},
		{[]string{"address-ip", "2"}, 3}, // 10.0.1.2, .12, .22
		{[]string{"address-ip", "10.0.1.2"}, 1},
		{[]string{"address-ip", "2", "ip-exact-match", "true"}, 0},
		{[]string{"address-ip", "10.0.1.2,10.0.1.3,3"}, 2},
		{[]string{"attachment.instance-id", first.InstanceID}, 1},
		{[]string{"attachment.instance-id", first.InstanceID, "is-primary", "false"}, 0},
		{[]string{"tag:a", "b"}, 0},
	} {
		if got := describeENIs(t, c, tt.filters...); len(got) != tt.want {
			t.Errorf("filters %v: want %d, got %d", tt.filters, tt.want, len(got))
		}
	}
	r := vpc.NewDescribeVpcsRequest()
	r.VpcIds = []*string{a.Response.NetworkInterfaceSet[0].VpcId}
	vpcs, err := c.DescribeVpcs(r)
	if err != nil || *vpcs.Response.VpcSet[0].CidrBlock != "10.0.0.0/16" || *vpcs.Response.VpcSet[0].AssistantCidrSet[0].CidrBlock != "100.64.0.0/16" {
		t.Errorf("VPC: %s, error %v", vpcs.ToJsonString(), err)
	}
}
