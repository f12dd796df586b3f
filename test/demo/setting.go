package demo

import (
	"net/http"
	"net/netip"

	"github.com/enichain/enichain/test/vpcsim"
)

// setting is what the demo of one cloud has that another's has not.
type setting struct {
	cloud      string
	api        string // what people call it
	metadataAt netip.AddrPort
	token      bool // the metadata service wants one first
	// instanceType is a small one of at least three ENIs. perNode containers fill two ENIs of it and reach the third.
	instanceType string
	perNode      int
	// addresses6 and prefixes6 are what an ENI gets of IPv6 for its containers.
	addresses6, prefixes6 int
}

func settingOf(cloud string) setting {
	if cloud == vpcsim.TencentCloud {
		return setting{
			cloud: cloud, api: "Tencent Cloud", metadataAt: netip.MustParseAddrPort("169.254.0.23:80"),
			instanceType: "S5.MEDIUM4", perNode: 19, addresses6: 9, // 4 ENIs with 9 addresses for containers
		}
	}
	return setting{
		cloud: vpcsim.AWS, api: "EC2", metadataAt: netip.MustParseAddrPort("169.254.169.254:80"), token: true,
		instanceType: "t3.medium", perNode: 11, prefixes6: 1, // 3 ENIs with 5 addresses for containers
	}
}

// How IMDSv2 gives a token, the header that carries it from then on, and what the demo asks for.
const (
	tokenPath    = "/latest/api/token"
	tokenTTL     = "X-aws-ec2-metadata-token-ttl-seconds"
	tokenHeader  = "X-aws-ec2-metadata-token"
	instancePath = "/latest/meta-data/instance-id"
)

// instanceID asks for the instance's ID; ask makes a request with a header, where one is named.
func (s setting) instanceID(ask func(method, path, header, value string) (string, error)) (string, error) {
	if !s.token {
		return ask(http.MethodGet, instancePath, "", "")
	}
	token, err := ask(http.MethodPut, tokenPath, tokenTTL, "60")
	if err != nil {
		return "", err
	}
	return ask(http.MethodGet, instancePath, tokenHeader, token)
}
