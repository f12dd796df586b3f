package neighbours

import (
	"fmt"
	"net/netip"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

// translateAll is eni-snat for addresses that the VPC does not deliver here.
const translateAll = `{"type": "eni-snat", "primary": "eth0", "includeCIDRs": ["0.0.0.0/0"]}`

// eni-ptp over other IPAM plugins: the VPC does not know the addresses, so that containers reach each other and the node, and
// all else under the node's address.
func TestOverOtherIPAM(t *testing.T) {
	t.Parallel()
	for name, ipam := range map[string]string{
		"host-local": `{"type": "host-local", "dataDir": "/run/host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}`,
		// Its CHECK wants a gateway that is given to be in the result, where there is one for all.
		"static": `{"type": "static", "addresses": [{"address": "10.88.0.9/24"}], "routes": [{"dst": "0.0.0.0/0"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, lab.Options{ENIs: 1})
			r := s.network(t, list("enichain", `{"type": "eni-ptp", "ipam": `+ipam+`}`, translateAll))
			s.lifeOnTheNode(t, r, node1Primary)
		})
	}
}

// lifeOnTheNode lets a container live whose address is good on its node, which it sees as seen, and translated beyond; a
// container of another network is its neighbour. Nothing stays, by DEL or by GC.
func (s *site) lifeOnTheNode(t *testing.T, r *chain.Runtime, seen netip.Addr) {
	t.Helper()
	s.warm(t, r)
	neighbour := chain.IP(runIn(t, s.network(t, list("neighbour",
		`{"type": "eni-ptp", "ipam": {"type": "host-local", "dataDir": "/run/neighbour", "ranges": [[{"subnet": "10.89.0.0/24"}]]}}`)), "n"))
	before := s.state(t)
	c, n := s.node.Container("c"), s.node.Container("n")
	ip := chain.IP(runIn(t, r, "c"))
	reach(t, &s.node.Host, c, ip, netip.Addr{}, seen)
	reach(t, c, &s.node.Host, node1Primary, netip.Addr{}, ip)
	reach(t, n, c, ip, netip.Addr{}, neighbour)
	reach(t, c, s.far(), node2Primary, netip.Addr{}, node1Primary)
	reach(t, c, s.Internet, internet, netip.Addr{}, node1Primary)
	check(t, r, "c")
	del(t, r, "c")
	del(t, r, "c")
	s.unchanged(t, before)
	s.gcOf(t, r, before)
}

// ipamOn is eni-ipam for other main plugins, on the node's ENI of a device index, its last.
func ipamOn(device int) string {
	return fmt.Sprintf(`{"type": "eni-ipam", "cloud": "aws", "cooldown": "0s", "addressing": "subnet", "firstDeviceIndex": %d, "maxENIs": %d}`,
		device, device+1)
}

// eni-ipam under ptp, with addresses of the primary ENI: what main routes is what the VPC takes. ptp puts the address of the
// subnet's gateway, which is the VPC's router, on its end of the veth; the node's own way out does not mind.
func TestUnderPTP(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Options{ENIs: 1, IPv6: true})
	r := s.network(t, list("enichain", `{"type": "ptp", "ipam": `+both(ipamOn(0))+`}`, eniSNAT))
	s.warm(t, r)
	before := s.state(t)
	result := runIn(t, r, "c")
	c := s.node.Container("c")
	wantSubnet(t, result, "10.19.0.1")
	wantSubnet6(t, result)
	for _, ip := range chain.IPs(result) {
		s.wantVPC(t, c, ip)
		p := s.of(ip)
		reach(t, c, s.Internet, p.internet, netip.Addr{}, p.seen)
		labtest.MustPing(t, &s.node.Host, p.far, probe.From{})
	}
	check(t, r, "c")
	del(t, r, "c")
	del(t, r, "c")
	s.unchanged(t, before)
	s.gcOf(t, r, before)
}

// wantSubnet wants the subnet's mask and gateway in a result.
func wantSubnet(t *testing.T, result *types100.Result, gateway string) {
	t.Helper()
	ip := result.IPs[0]
	if ones, _ := ip.Address.Mask.Size(); ones != 20 || ip.Gateway.String() != gateway {
		t.Errorf("the container has %s and gateway %s, want /20 and %s", ip.Address.String(), ip.Gateway, gateway)
	}
}

// wantSubnet6 wants that of IPv6: the mask of a subnet, which is the same for all, and the VPC's router, which is one for all.
func wantSubnet6(t *testing.T, result *types100.Result) {
	t.Helper()
	ip := result.IPs[1]
	if ones, _ := ip.Address.Mask.Size(); ones != 64 || ip.Gateway.String() != "fe80:ec2::1" {
		t.Errorf("the container has %s and gateway %s, want /64 and fe80:ec2::1", ip.Address.String(), ip.Gateway)
	}
}

// A secondary ENI's address under ptp: nobody routes by the ENI, so that the VPC drops what the container sends. It is what
// eni-ptp is for.
func TestUnderPTPTheVPCDropsASecondaryENI(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Options{ENIs: 2})
	r := s.network(t, list("enichain", `{"type": "ptp", "ipam": `+ipamOn(1)+`}`))
	ip := chain.IP(runIn(t, r, "c"))
	labtest.MustPing(t, &s.node.Host, ip, probe.From{})
	before, _, err := s.Drops()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := labtest.Ping(t, s.node.Container("c"), node2Primary, probe.From{}); err == nil {
		t.Error("the VPC took a packet from the wrong ENI")
	}
	if after, _, err := s.Drops(); err != nil || after == before {
		t.Errorf("the VPC dropped nothing: %v", err)
	}
}

// eni-ipam under bridge, in the subnet of a secondary ENI: the bridge is its router on the node, and eni-snat takes the
// containers out under the node's address.
func TestUnderBridge(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Options{ENIs: 2})
	r := s.network(t, list("enichain",
		`{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": `+ipamOn(1)+`}`, translateAll))
	first, second := runIn(t, r, "first"), runIn(t, r, "second")
	wantSubnet(t, first, "10.19.16.1")
	reach(t, s.node.Container("first"), s.node.Container("second"), chain.IP(second), netip.Addr{}, chain.IP(first))
	del(t, r, "first")
	del(t, r, "second")
	s.lifeOnTheNode(t, r, netip.MustParseAddr("10.19.16.1"))
}

// eni-ipam under macvlan: a cloud knows an ENI by its MAC, so that the mode must be the one which leaves that to the
// container, which has the ENI to itself. With a MAC of its own, as in mode bridge, it hears nothing.
func TestUnderMacvlan(t *testing.T) {
	t.Parallel()
	for mode, works := range map[string]bool{"passthru": true, "bridge": false} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, lab.Options{ENIs: 2, IPv6: true})
			sh(t, &s.node.Host, "ip link set eth1 up")
			r := s.network(t, list("enichain",
				fmt.Sprintf(`{"type": "macvlan", "master": "eth1", "mode": %q, "ipam": %s}`, mode, both(ipamOn(1)))))
			s.warm(t, r)
			before := s.state(t)
			result := runIn(t, r, "c")
			c := s.node.Container("c")
			wantSubnet(t, result, "10.19.16.1")
			wantSubnet6(t, result)
			for _, ip := range chain.IPs(result) {
				far := s.of(ip).far
				if works {
					reach(t, c, s.far(), far, netip.Addr{}, ip)
					reach(t, s.far(), c, ip, netip.Addr{}, far)
				} else if _, err := labtest.Ping(t, c, far, probe.From{}); err == nil {
					t.Errorf("a cloud delivered %s to a MAC that it does not know", ip)
				}
			}
			check(t, r, "c")
			del(t, r, "c")
			del(t, r, "c")
			s.unchanged(t, before)
			s.gcOf(t, r, before)
		})
	}
}
