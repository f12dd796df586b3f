// Package clouds runs a test on each cloud that is simulated, with one set of words for what they call differently, and has
// a node of either: an instance whose cloud answers on the loopback of a namespace, and the plugins' place on it.
package clouds

import (
	"net/http"
	"testing"

	"github.com/enichain/enichain/test/vpcsim"
)

// Region is where nodes are.
const Region = "eu-test-1"

// Cloud is what a test has to know of a cloud, so that it can be the same for all.
type Cloud struct {
	Name string // as in a conflist
	// Tiny to Large are instance types whose ENIs hold 1, 5, 9 and 29 secondary addresses.
	Tiny, Small, Medium, Large Size
	// Old is an instance type whose ENIs hold as many as Small's, and no prefixes, as none of the cloud does where it is zero.
	Old Size
	// Endpoints are the fields of the "driver" section that say where the cloud answers.
	Endpoints  func(api, metadata string) map[string]any
	Kept       int    // addresses of a subnet that nobody gets
	Binds      bool   // ENIs that we make are deleted with their instance
	MetadataAt string // where the metadata service answers a real instance
	// KeyNames are the variables of a key's ID, its secret, and its session token.
	KeyNames [3]string

	actions  map[Call][]string
	failures map[Failure]vpcsim.Fault
	serve    func(v *vpcsim.VPC, instance string) (api, metadata http.Handler)
}

// Size is an instance type, and what it takes.
type Size struct {
	Type string
	ENIs int
	Each int // secondary addresses that an ENI holds
}

// All are the secondary addresses that all ENIs of an instance hold.
func (s Size) All() int { return s.ENIs * s.Each }

// All are the clouds.
func All() []Cloud { return []Cloud{AWS(), Tencent()} }

// Each runs a test on each cloud, on all of them at the same time.
func Each(t *testing.T, test func(t *testing.T, c Cloud)) {
	t.Helper()
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// Serve returns the handlers of the API, and of an instance's metadata service.
func (c Cloud) Serve(v *vpcsim.VPC, instance string) (api, metadata http.Handler) {
	return c.serve(v, instance)
}

// DriverConfig is the "driver" section for a cloud that answers at two URLs.
func (c Cloud) DriverConfig(api, metadata string) map[string]any {
	config := c.Endpoints(api, metadata)
	config["region"] = Region
	return config
}

// AWS is Amazon's cloud.
func AWS() Cloud {
	return Cloud{
		Name: vpcsim.AWS,
		Tiny: Size{"t3.micro", 2, 1}, Small: Size{"t3.medium", 3, 5}, Medium: Size{"m5.large", 3, 9}, Large: Size{"c5.4xlarge", 8, 29},
		Old:  Size{"t2.medium", 3, 5},
		Kept: 5, Binds: true, MetadataAt: "169.254.169.254",
		KeyNames: [3]string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
		actions: map[Call][]string{
			Assign: {"AssignPrivateIpAddresses"}, Unassign: {"UnassignPrivateIpAddresses"},
			Assign6: {"AssignIpv6Addresses"}, Unassign6: {"UnassignIpv6Addresses"},
			List: {"DescribeNetworkInterfaces"}, Subnets: {"DescribeSubnets"}, Limits: {"DescribeInstanceTypes"},
			CreateENI: {"CreateNetworkInterface", "AttachNetworkInterface", "ModifyNetworkInterfaceAttribute"},
			DeleteENI: {"DetachNetworkInterface", "DeleteNetworkInterface"},
			Metadata:  {vpcsim.IMDSToken, vpcsim.IMDS},
		},
		failures: map[Failure]vpcsim.Fault{
			Throttled:    {Code: "RequestLimitExceeded", Status: http.StatusServiceUnavailable, Message: "Request limit exceeded."},
			AddressLimit: {Code: "PrivateIpAddressLimitExceeded", Message: "Number of private addresses will exceed limit."},
			ENILimit:     {Code: "AttachmentLimitExceeded", Message: "Interface count exceeds the limit."},
			ENIQuota:     {Code: "NetworkInterfaceLimitExceeded", Message: "You have reached the limit of network interfaces."},
			SubnetFull:   {Code: "InsufficientFreeAddressesInSubnet", Message: "The subnet has not enough free addresses."},
			NotAllowed:   {Code: "UnauthorizedOperation", Status: http.StatusForbidden, Message: "You are not authorized."},
			Refused:      {Code: "AuthFailure", Status: http.StatusUnauthorized, Message: "The credentials are not valid."},
			Broken:       {Code: "InternalError", Status: http.StatusInternalServerError, Message: "An internal error has occurred."},
			Gone:         {Code: "InvalidNetworkInterfaceID.NotFound", Message: "The network interface does not exist."},
		},
		serve: func(v *vpcsim.VPC, instance string) (api, metadata http.Handler) { return v.EC2(), v.IMDSFor(instance) },
		Endpoints: func(api, metadata string) map[string]any {
			return map[string]any{"ec2Endpoint": api, "imdsEndpoint": metadata}
		},
	}
}

// Tencent is Tencent's cloud.
func Tencent() Cloud {
	return Cloud{
		Name: vpcsim.TencentCloud,
		Tiny: Size{"SA1.SMALL1", 2, 1}, Small: Size{"S5.SMALL1", 2, 5}, Medium: Size{"S5.MEDIUM4", 4, 9}, Large: Size{"S5.4XLARGE32", 8, 29},
		Kept: 3, MetadataAt: "169.254.0.23",
		KeyNames: [3]string{"TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_TOKEN"},
		actions: map[Call][]string{
			Assign: {"AssignPrivateIpAddresses"}, Unassign: {"UnassignPrivateIpAddresses"},
			Assign6: {"AssignIpv6Addresses"}, Unassign6: {"UnassignIpv6Addresses"},
			List: {"DescribeNetworkInterfaces"}, Subnets: {"DescribeSubnets"}, Limits: {"DescribeNetworkInterfaceLimit"},
			CreateENI: {"CreateAndAttachNetworkInterface"}, DeleteENI: {"DetachNetworkInterface", "DeleteNetworkInterface"},
			Metadata: {vpcsim.IMDS},
		},
		failures: map[Failure]vpcsim.Fault{
			Throttled:    {Code: "RequestLimitExceeded", Message: "Your current request times equals or exceeds the limit."},
			AddressLimit: {Code: "LimitExceeded", Message: "The number of addresses exceeds the limit."},
			ENILimit:     {Code: "LimitExceeded", Message: "The number of ENIs exceeds the limit."},
			ENIQuota:     {Code: "LimitExceeded.NetworkInterfaceLimitExceeded", Message: "The account has too many ENIs."},
			SubnetFull:   {Code: "ResourceInsufficient.Subnet", Message: "The subnet has not enough addresses."},
			NotAllowed:   {Code: "UnauthorizedOperation", Message: "You are not authorized."},
			Refused:      {Code: "AuthFailure.SecretIdNotFound", Message: "The credentials are not valid."},
			Broken:       {Code: "InternalError", Message: "An internal error has occurred."},
			Gone:         {Code: "ResourceNotFound", Message: "The ENI does not exist."},
		},
		serve: func(v *vpcsim.VPC, instance string) (api, metadata http.Handler) {
			return v.Tencent(), v.TencentMetadataFor(instance)
		},
		Endpoints: func(api, metadata string) map[string]any {
			return map[string]any{"vpcEndpoint": api, "cvmEndpoint": api, "metadataEndpoint": metadata}
		},
	}
}
