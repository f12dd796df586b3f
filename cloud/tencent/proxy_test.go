package tencent_test

import (
	"testing"

	"github.com/enichain/enichain/cloud/drivertest"
)

// The API goes through the environment's proxy, the metadata service never does. That is found without a resolver.
func TestProxyIsForTheAPIOnly(t *testing.T) {
	v, i := newVPC(t, "S5.MEDIUM4")
	drivertest.Proxied{
		Binary: drivertest.Build(t, "eni-cloud-tencent"), MetadataAddress: "169.254.0.23", API: v.Tencent(), Metadata: v.TencentMetadataFor(i.ID),
		APIHost: "vpc.example", Env: []string{"TENCENTCLOUD_VPC_ENDPOINT=http://vpc.example"}, Instance: i.ID,
	}.Run(t)
}
