package chaos

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/aws"
	"github.com/enichain/enichain/cloud/tencent"
	"github.com/enichain/enichain/test/vpcsim"
)

// provider is what differs between the clouds.
type provider struct {
	name   string // of the cloud, and of its driver
	region string
	// small has 5 secondary addresses an ENI, medium 9, large 29.
	small, medium, large string
	create               string   // the action that makes an ENI
	changes              []string // the actions that the driver changes something by
	api, metadata        string   // the driver's fields for the endpoints

	serveAPI      func(*vpcsim.VPC) http.Handler
	serveMetadata func(v *vpcsim.VPC, instance string) http.Handler
	driver        func(config json.RawMessage) (cloud.Driver, error)
}

func noEnv(string) string { return "" }

func providers() []*provider {
	return []*provider{
		{
			name: vpcsim.AWS, region: "eu-test-1", small: "t3.medium", medium: "m5.large", large: "c5.4xlarge",
			create: "CreateNetworkInterface", api: "ec2Endpoint", metadata: "imdsEndpoint",
			changes: []string{
				"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "CreateNetworkInterface", "AttachNetworkInterface",
				"ModifyNetworkInterfaceAttribute", "DetachNetworkInterface", "DeleteNetworkInterface",
			},
			serveAPI: (*vpcsim.VPC).EC2, serveMetadata: (*vpcsim.VPC).IMDSFor,
			driver: func(config json.RawMessage) (cloud.Driver, error) { return aws.New(config, noEnv) },
		},
		{
			name: vpcsim.TencentCloud, region: "ap-guangzhou", small: "S5.SMALL1", medium: "S5.MEDIUM4", large: "S5.4XLARGE32",
			create: "CreateAndAttachNetworkInterface", api: "vpcEndpoint", metadata: "metadataEndpoint",
			changes: []string{
				"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "CreateAndAttachNetworkInterface",
				"AttachNetworkInterface", "DetachNetworkInterface", "DeleteNetworkInterface",
			},
			serveAPI: (*vpcsim.VPC).Tencent, serveMetadata: (*vpcsim.VPC).TencentMetadataFor,
			driver: func(config json.RawMessage) (cloud.Driver, error) { return tencent.New(config, noEnv) },
		},
	}
}

// onClouds runs a test on each cloud, all of them at once.
func onClouds(t *testing.T, test func(t *testing.T, p *provider)) {
	t.Helper()
	for _, p := range providers() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}
