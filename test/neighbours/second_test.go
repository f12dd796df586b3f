package neighbours

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

// second is the name of a container's second interface, as Multus has it.
const second = "net1"

// staticOn is our plugins over a static pool of the node's primary ENI and another one, with a store of its own.
func staticOn(eni, subnet, gateway, primary string, tableBase int, ip netip.Addr) string {
	return fmt.Sprintf(`{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "static", "cooldown": "0s", "dataDir": "/run/%[1]s", "tableBase": %[6]d,
		"firstDeviceIndex": 1, "static": {"vpcCIDRs": ["10.19.0.0/16"], "enis": [
		{"name": "eth0", "primary": true, "subnet": "10.19.0.0/20", "gateway": "10.19.0.1", "primaryIP": "10.19.0.22", "addresses": ["10.19.0.250"]},
		{"name": "%[1]s", "subnet": "%[2]s", "gateway": "%[3]s", "primaryIP": "%[4]s", "addresses": ["%[5]s"]}]}}},
		{"type": "eni-snat", "dataDir": "/run/%[1]s"}`, eni, subnet, gateway, primary, ip, tableBase)
}

// A container with two interfaces, of one network or of two: each address works in the VPC, between containers and to the
// internet, by its own ENI; either may go.
func TestTwoAttachments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		first  func(ip netip.Addr) []byte
		second func(ip netip.Addr) []byte
	}{
		{
			"one network", func(netip.Addr) []byte { return list("enichain", eniPTP, eniSNAT) },
			func(netip.Addr) []byte { return list("enichain", eniPTP, eniSNAT) },
		},
		{
			"two networks, one store", func(netip.Addr) []byte { return list("enichain", eniPTP, eniSNAT) },
			func(netip.Addr) []byte {
				return list("storage", strings.Replace(eniPTP, `"ipam"`, `"routes": [{"dst": "10.19.0.11/32"}], "ipam"`, 1), eniSNAT)
			},
		},
		{
			"two networks, two stores", func(ip netip.Addr) []byte {
				return list("enichain", staticOn("eth1", "10.19.16.0/20", "10.19.16.1", "10.19.16.17", 1, ip))
			},
			func(ip netip.Addr) []byte {
				return list("storage", staticOn("eth2", "10.19.0.0/20", "10.19.0.1", "10.19.0.24", 11, ip))
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, lab.Options{})
			p1, p2 := s.assign(t, 1, 1)[0], s.assign(t, 2, 1)[0]
			r1 := s.network(t, tt.first(p1))
			r2, err := r1.Network(tt.second(p2))
			if err != nil {
				t.Fatal(err)
			}
			runIn(t, r1, "c", chain.WithIP(p1))
			result := addTo(t, r2, "c", chain.As(second), chain.WithIP(p2))
			if got := chain.IP(result); got != p2 {
				t.Fatalf("%s has %s, asked for %s", second, got, p2)
			}
			d := twoAttachments{site: s, r1: r1, r2: r2, c: s.node.Container("c"), p1: p1, p2: p2}
			d.talks(t)
			d.byItsOwnENI(t)
			d.otherContainers(t)
			check(t, r1, "c")
			check(t, r2, "c", chain.As(second))
			if len(result.Routes) == 1 { // "routes": unbound sockets go by net1 there
				reach(t, d.c, s.far(), node2Primary, netip.Addr{}, p2)
			} else {
				reach(t, d.c, s.far(), node2Primary, netip.Addr{}, p1)
			}
			d.eitherGoes(t)
		})
	}
}

// twoAttachments is a container with eth0 on ENI 1 and net1 on ENI 2.
type twoAttachments struct {
	*site
	r1, r2 *chain.Runtime
	c      *lab.Host
	p1, p2 netip.Addr
}

func (d twoAttachments) talks(t *testing.T) {
	t.Helper()
	for _, ip := range []netip.Addr{d.p1, d.p2} {
		d.wantVPC(t, d.c, ip)
		reach(t, d.c, d.Internet, internet, ip, node1Primary)
	}
}

// byItsOwnENI wants each address' traffic on its ENI and its veth, from the outside and from within.
func (d twoAttachments) byItsOwnENI(t *testing.T) {
	t.Helper()
	for dev, ip := range map[string]netip.Addr{"eth1": d.p1, "eth2": d.p2} {
		capture := labtest.Capture(t, &d.node.Host)
		labtest.MustPing(t, d.far(), ip, probe.From{})
		labtest.MustPing(t, d.c, node2Primary, probe.From{Address: ip})
		seen := labtest.Devices(t, capture, func(p probe.Packet) bool { return p.Src.Addr() == ip || p.Dst.Addr() == ip })
		veth := strings.Fields(sh(t, &d.node.Host, "ip route get "+ip.String()))[2]
		if want := dev + " " + veth; seen != want {
			t.Errorf("the traffic of %s was on %q, want %q", ip, seen, want)
		}
	}
}

// otherContainers wants a container on the same node and one on the other to reach both addresses, and to be reached from
// them.
func (d twoAttachments) otherContainers(t *testing.T) {
	t.Helper()
	others := map[*lab.Host]netip.Addr{}
	for i, n := range d.Nodes {
		id := fmt.Sprint("other", i)
		r := onNode(t, n, list("enichain", strings.Replace(eniPTP, `"cloud"`, `"dataDir": "/run/others", "cloud"`, 1)))
		if i == 0 {
			r = onNode(t, n, list("others", `{"type": "eni-ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]]}}`))
		}
		others[n.Container(id)] = chain.IP(runIn(t, r, id))
	}
	for other, ip := range others {
		for _, own := range []netip.Addr{d.p1, d.p2} {
			reach(t, other, d.c, own, netip.Addr{}, ip)
			reach(t, d.c, other, ip, own, own)
		}
	}
}

// eitherGoes takes each attachment away while the other lives, by DEL and by GC, and brings it back.
func (d twoAttachments) eitherGoes(t *testing.T) {
	t.Helper()
	del(t, d.r2, "c", chain.As(second))
	d.wantVPC(t, d.c, d.p1)
	check(t, d.r1, "c")
	addTo(t, d.r2, "c", chain.As(second), chain.WithIP(d.p2))
	del(t, d.r2, "d", chain.As(second)) // another's late DEL
	d.talks(t)
	del(t, d.r1, "c")
	check(t, d.r2, "c", chain.As(second))
	d.wantVPC(t, d.c, d.p2)
	addTo(t, d.r1, "c", chain.WithIP(d.p1))
	d.talks(t)
	valid := []types.GCAttachment{{ContainerID: "c", IfName: chain.IfName}}
	if d.r1.List.Name != d.r2.List.Name {
		valid = nil // for the second's network
	}
	if err := d.r2.GC(t.Context(), valid...); err != nil {
		t.Fatal(err)
	}
	check(t, d.r1, "c")
	d.wantVPC(t, d.c, d.p1)
	if left := sh(t, d.c, "ip -o link; ip rule"); strings.Contains(left, second) || strings.Contains(left, d.p2.String()) {
		t.Errorf("GC left in the container:\n%s", left)
	}
}
