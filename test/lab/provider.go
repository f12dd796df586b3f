package lab

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/enichain/enichain/test/vpcsim"
)

// provider is what one cloud's lab has that another's has not.
type provider struct {
	region       string
	instanceType string         // where Options says nothing
	mtu          int            // within a VPC
	gateway6     netip.Addr     // of every subnet; zero in a lab without IPv6
	metadata     netip.AddrPort // of the metadata service
	hosts        []string       // what else the metadata service is called; nodes have it in their /etc/hosts
	env          []string       // what the cloud's SDK or driver needs to find the API
	services     func(*vpcsim.VPC) (metadata, api http.Handler)
}

// api is in the VPC, as a cloud's private endpoint is.
func apiAddr() netip.AddrPort { return netip.MustParseAddrPort("10.19.255.10:80") }

// providers are the clouds that can be simulated.
func providers() map[string]provider {
	api := "http://" + apiAddr().Addr().String()
	return map[string]provider{
		vpcsim.AWS: {
			region: "us-east-1", instanceType: "m5.large", mtu: 9001, gateway6: netip.MustParseAddr("fe80:ec2::1"),
			metadata: netip.MustParseAddrPort("169.254.169.254:80"),
			env:      []string{"AWS_ENDPOINT_URL=" + api},
			services: func(v *vpcsim.VPC) (metadata, api http.Handler) { return v.IMDS(), v.EC2() },
		},
		vpcsim.TencentCloud: {
			region: "ap-guangzhou", instanceType: "S5.MEDIUM4", mtu: 1500, gateway6: netip.MustParseAddr("fe80::feee:ffff:feff:ffff"),
			metadata: netip.MustParseAddrPort("169.254.0.23:80"),
			hosts:    []string{"metadata.tencentyun.com"},
			env:      []string{"TENCENTCLOUD_VPC_ENDPOINT=" + api, "TENCENTCLOUD_CVM_ENDPOINT=" + api},
			services: func(v *vpcsim.VPC) (metadata, api http.Handler) { return v.TencentMetadata(), v.Tencent() },
		},
	}
}

func providerOf(cloud string) (provider, error) {
	p, ok := providers()[cloud]
	if !ok {
		return p, fmt.Errorf("cloud %q is not simulated; %s are", cloud, strings.Join(slices.Sorted(maps.Keys(providers())), " and "))
	}
	return p, nil
}

// nodeEnv is the part of a node's environment that is the cloud's.
func (p provider) nodeEnv() []string {
	direct := append([]string{apiAddr().Addr().String(), p.metadata.Addr().String()}, p.hosts...)
	return append(slices.Clone(p.env), "NO_PROXY="+strings.Join(direct, ","))
}

// nameHosts lets the calling thread's mounts know the metadata service by its names.
func (p provider) nameHosts() error {
	if len(p.hosts) == 0 {
		return nil
	}
	const path = "/etc/hosts"
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	line := fmt.Sprintf("%s %s\n", p.metadata.Addr(), strings.Join(p.hosts, " "))
	return os.WriteFile(path, append([]byte(line), text...), 0o644)
}
