package warm

import (
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
)

// Result is what an IPAM plugin's ADD prints: addresses and routes, and no interfaces.
func (p Pool) Result(g Grant) *types100.Result {
	r := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	for _, a := range g.Addresses {
		prefix, gateway := layout.Host(a.IP), layout.GatewayOf(a.IP)
		if p.conf.Addressing == netconf.Subnet {
			subnet, router := a.Of.Place(a.IP)
			prefix, gateway = netip.PrefixFrom(a.IP, subnet.Bits()), router
		}
		r.IPs = append(r.IPs, &types100.IPConfig{Address: netconf.IPNet(prefix), Gateway: gateway.AsSlice()})
		r.Routes = append(r.Routes, &types.Route{Dst: netconf.IPNet(layout.Default(a.IP)), GW: gateway.AsSlice()})
	}
	return r
}
