package aws_test

import (
	"testing"

	"github.com/enichain/enichain/cloud/drivertest"
)

// The API goes through the environment's proxy, the metadata service never does, at its real address.
func TestProxyIsForTheAPIOnly(t *testing.T) {
	v, i := newVPC(t)
	drivertest.Proxied{
		Binary: drivertest.Build(t, "eni-cloud-aws"), MetadataAddress: "169.254.169.254", API: v.EC2(), Metadata: v.IMDSFor(i.ID),
		APIHost: "ec2.eu-west-3.example", Env: []string{"AWS_ENDPOINT_URL=http://ec2.eu-west-3.example"}, Instance: i.ID,
	}.Run(t)
}
