package e2e

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/xtables"
	"github.com/enichain/enichain/core/xtables/xtablestest"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/vpcsim"
)

// backend is where eni-snat writes: what its section has more for that, from a comma on, and what runs the plugins so that
// the node's iptables is of one variant; and what eni-ptp's has more, for its layout of the rules, which is else perPod.
type backend struct {
	conf    string
	wrapper []string
	variant xtables.Variant
	layout  string
}

// The layouts.
const (
	perPod           = `, "routing": "per-pod"`
	perENIByTCX      = `, "routing": "per-eni", "marking": "tcx"`
	perENIByNFTables = `, "routing": "per-eni", "marking": "nftables"`
)

// perENI is the backend beside rules per ENI.
func (b backend) perENI() backend {
	b.layout = perENIByTCX
	return b
}

// routed is a conflist whose eni-ptp has the layout.
func (b backend) routed(conflist string) string {
	return strings.Replace(conflist, `"type": "eni-ptp"`, `"type": "eni-ptp"`+cmp.Or(b.layout, perPod), 1)
}

// perENI are the layouts with rules per ENI, by how a test of each is called.
func perENI() map[string]string {
	return map[string]string{" per-eni by tcx": perENIByTCX, " per-eni by nftables": perENIByNFTables}
}

// onRoutings runs a test of what packets do on each cloud, and on AWS with rules per ENI, by each way of marking.
func onRoutings(t *testing.T, test func(t *testing.T, cloud string, b backend)) {
	t.Helper()
	onClouds(t, func(t *testing.T, cloud string) { test(t, cloud, backend{}) })
	for name, layout := range perENI() {
		t.Run(vpcsim.AWS+name, func(t *testing.T) {
			t.Parallel()
			test(t, vpcsim.AWS, backend{layout: layout})
		})
	}
}

func iptablesOf(t *testing.T, v xtables.Variant) backend {
	t.Helper()
	return backend{conf: `, "backend": "iptables"`, wrapper: []string{"env", "PATH=" + xtablestest.Dir(t, v) + ":" + os.Getenv("PATH")}, variant: v}
}

// holds wants eni-snat's rules to be where the backend says, and nowhere else.
func (b backend) holds(t *testing.T, n *lab.Node) {
	t.Helper()
	err := n.Do(func() error {
		for _, v := range xtablestest.Variants() {
			if holds, err := v.Holds(family.IPv4, "mangle", "ENI-PRE-enichain"); err != nil || holds != (v == b.variant) {
				t.Errorf("iptables-%s holds eni-snat's chains: %v, %v", v, holds, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if tables, err := n.Output(t.Context(), nil, "nft", "list", "tables"); err != nil || strings.Contains(string(tables)+"\n", "table ip enichain\n") != (b.variant == "") {
		t.Errorf("nftables has %s: %v", tables, err)
	}
}

// onBackends runs a test of what packets do on each routing, and on AWS with eni-snat on iptables, of either variant, with the
// rules per pod and per ENI.
func onBackends(t *testing.T, test func(t *testing.T, cloud string, b backend)) {
	t.Helper()
	onRoutings(t, test)
	for _, v := range xtablestest.Variants() {
		for name, b := range map[string]backend{"": iptablesOf(t, v), " per-eni": iptablesOf(t, v).perENI()} {
			t.Run(vpcsim.AWS+" on iptables-"+string(v)+name, func(t *testing.T) {
				t.Parallel()
				test(t, vpcsim.AWS, b)
			})
		}
	}
}

// portmap beside eni-snat on iptables, which has chains of its own at the same hooks: a port of the node leads to a
// container on a secondary ENI, the internet and the other node see who answers, and nothing of eni-snat's changes when it
// goes.
func TestPortmapBesideIPTables(t *testing.T) {
	if err := bin.AddOutside("github.com/containernetworking/plugins/plugins/meta/portmap"); err != nil {
		t.Fatal(err)
	}
	for _, v := range xtablestest.Variants() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			portmapBesideIPTables(t, iptablesOf(t, v))
		})
	}
}

func portmapBesideIPTables(t *testing.T, b backend) {
	l := upLab(t, lab.Options{})
	n := l.Nodes[0]
	conflist := strings.Replace(fmt.Sprintf(whole, "", b.conf), "]}", `, {"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}}]}`, 1)
	r := onNode(t, n, conflist)
	r.Wrap(b.wrapper...)
	ip := assign(t, l, n, 1, 1)[0]
	mapped := chain.WithCapability("portMappings", []map[string]any{{"hostPort": nodePort, "containerPort": servicePort, "protocol": "tcp"}})
	if got := runIn(t, r, "c", chain.WithIP(ip), mapped); got != ip {
		t.Fatalf("the container has %s, asked for %s", got, ip)
	}
	c := n.Container("c")
	serve(t, c, ip, servicePort)
	for from, want := range map[*lab.Host]netip.Addr{&l.Nodes[1].Host: node2Primary, l.Internet: internet} {
		if peer, err := call(t, from, netip.AddrPortFrom(node1Primary, nodePort)); peer != want || err != nil {
			t.Errorf("%s is seen as %s, want %s: %v", from.Name, peer, want, err)
		}
	}
	if peer := tcpPeer(t, c, l.Internet, internet); peer != node1Primary {
		t.Errorf("the internet sees %s, want %s", peer, node1Primary)
	}
	if peer := tcpPeer(t, c, &l.Nodes[1].Host, node2Primary); peer != ip {
		t.Errorf("a host of the VPC sees %s, want %s", peer, ip)
	}
	if err := r.Check(t.Context(), "c"); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	ours := func() (lines []string) {
		saved, err := n.Output(t.Context(), nil, b.wrapper[0], append(b.wrapper[1:len(b.wrapper):len(b.wrapper)], "iptables-save")...)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(saved)) {
			if strings.Contains(line, "ENI-") || strings.Contains(line, "enichain enichain") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	before := ours()
	if err := r.Del(t.Context(), "c"); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if after := ours(); len(before) == 0 || strings.Join(before, "") != strings.Join(after, "") {
		t.Errorf("eni-snat's chains before DEL:\n%s\nafter:\n%s", before, after)
	}
}
