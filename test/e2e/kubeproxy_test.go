package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/xtables/xtablestest"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// The Services whose rules kube-proxy left in testdata (`make test-kube UPDATE=1`): what their one endpoint is here.
const (
	toNode2     = 11 + iota // a server of the other node; policy Cluster
	toFirst                 // the container on ENI 1; policy Local
	toSecond                // the container on ENI 2; policy Cluster
	toInternet              // a host beyond the VPC
	toVPC                   // a host of the VPC
	kubePodPort = 8080      // where all of them listen
)

// kubeNode is a node with a container on ENI 1 and one on ENI 2, beside kube-proxy's rules.
type kubeNode struct {
	*lab.Lab
	node, other *lab.Node
	c1, c2      *lab.Host
	sides       []kubeSide
}

// kubeSide is what a kubeNode is in one family.
type kubeSide struct {
	family.Family
	table, restore        string                      // nft's name of its table, and the program that takes iptables' rules
	service               func(number int) netip.Addr // a Service's address
	node, other, internet netip.Addr
	p1, p2                netip.Addr // the containers'
	byENI1                netip.Addr // whom one sees where kube-proxy masquerades what leaves by ENI 1
}

// kube-proxy's own rules, of both modes and both families, beside eni-snat's on each backend.
func TestKubeProxy(t *testing.T) {
	backends := map[string]backend{"nftables": {}, "nftables, per-eni": backend{}.perENI(), "nftables, per-eni by nftables": {layout: perENIByNFTables}}
	for _, v := range xtablestest.Variants() {
		backends["iptables-"+string(v)] = iptablesOf(t, v)
		backends["iptables-"+string(v)+", per-eni"] = iptablesOf(t, v).perENI()
	}
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := upKubeNode(t, b)
			for _, s := range k.sides {
				k.replay(t, b, s)
			}
		})
	}
}

func upKubeNode(t *testing.T, b backend) kubeNode {
	t.Helper()
	l := upLab(t, lab.Options{IPv6: true})
	k := kubeNode{Lab: l, node: l.Nodes[0], other: l.Nodes[1]}
	k.c1, k.c2 = k.node.Container("netns1"), k.node.Container("netns2")
	r := onNode(t, k.node, b.routed(fmt.Sprintf(whole, `, "families": ["ipv4", "ipv6"]`, b.conf)))
	r.Wrap(b.wrapper...)
	first, second := k.run(t, r, 1), k.run(t, r, 2)
	primary6 := func(n *lab.Node) netip.Addr { return l.VPC.ENIs(n.InstanceID)[0].PrimaryIP6 }
	k.sides = []kubeSide{
		{
			family.IPv4, "ip", "iptables-restore",
			func(number int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, 0, byte(number)}) },
			node1Primary, node2Primary, internet, first[0], second[0], node1ENI1,
		},
		{
			family.IPv6, "ip6", "ip6tables-restore",
			func(number int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:10:96::%x", number)) },
			primary6(k.node), primary6(k.other), netip.MustParseAddr("2001:db8:100::10"), first[1], second[1], first[1],
		},
	}
	return k
}

// run runs a container with an address of each family of an ENI, and returns them.
func (k kubeNode) run(t *testing.T, r *chain.Runtime, deviceIndex int) []netip.Addr {
	t.Helper()
	ip := assign(t, k.Lab, k.node, deviceIndex, 1)[0]
	six, _, err := k.VPC.AddIPv6(k.VPC.ENIs(k.node.InstanceID)[deviceIndex].ID, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("netns%d", deviceIndex)
	if got := chain.IPs(start(t, r, id, chain.WithIP(ip))); !slices.Equal(got, []netip.Addr{ip, six[0]}) {
		t.Fatalf("%s has %s, want %s and %s", id, got, ip, six[0])
	}
	return []netip.Addr{ip, six[0]}
}

// replay loads the rules of a family, of one mode and then of the other, and calls the Services.
func (k kubeNode) replay(t *testing.T, b backend, s kubeSide) {
	t.Helper()
	for host, ip := range map[*lab.Host]netip.Addr{k.c1: s.p1, k.c2: s.p2, &k.other.Host: s.other, k.Internet: s.internet} {
		serve(t, host, ip, kubePodPort)
	}
	k.load(t, b, s, "nftables", "nft", "-f", "-")
	k.walkServices(t, s, "nftables")
	if _, err := k.node.Output(t.Context(), nil, "nft", "delete", "table", s.table, "kube-proxy"); err != nil {
		t.Fatal(err)
	}
	k.load(t, b, s, "iptables", s.restore, "--noflush")
	k.walkServices(t, s, "iptables")
}

// load hands rules of kube-proxy, with this lab's addresses, to the program that takes them.
func (k kubeNode) load(t *testing.T, b backend, s kubeSide, mode, program string, args ...string) {
	t.Helper()
	rules, err := os.ReadFile("testdata/kube-proxy-" + mode + "-" + s.String())
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer(
		"{{node1}}", s.node.String(), "{{node1-secondary}}", s.p1.String(), "{{node1-primary}}", s.p2.String(),
		"{{node2-secondary}}", s.other.String(), "{{vpc}}", s.other.String(), "{{internet}}", s.internet.String(),
	).Replace(string(rules))
	line := append(append(append([]string{}, b.wrapper...), program), args...)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Stdin = strings.NewReader(own)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := k.node.Run(cmd); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(line, " "), err, out.String())
	}
}

// walkServices calls the Services, and wants the far end to see the caller, or the node where kube-proxy masquerades.
func (k kubeNode) walkServices(t *testing.T, s kubeSide, mode string) {
	t.Helper()
	ip := func(service int) netip.AddrPort { return netip.AddrPortFrom(s.service(service), 80) }
	port := func(service int) netip.AddrPort { return netip.AddrPortFrom(s.node, uint16(30000+service)) }
	beyond := func(container netip.Addr) netip.Addr {
		if s.Family == family.IPv4 {
			return s.node
		}
		return container
	}
	node, other := &k.node.Host, &k.other.Host
	for _, w := range []struct {
		what string
		from *lab.Host
		to   netip.AddrPort
		want netip.Addr
	}{
		{"ClusterIP", k.c1, ip(toNode2), s.p1},
		{"ClusterIP", k.c2, ip(toFirst), s.p2},
		{"ClusterIP", node, ip(toNode2), s.node},
		{"hairpin", k.c1, ip(toFirst), s.node},
		{"hairpin", k.c2, port(toSecond), s.node},
		{"NodePort, policy Cluster, far endpoint", k.Internet, port(toNode2), s.node},
		{"NodePort, policy Cluster, own endpoint", k.Internet, port(toSecond), s.node},
		{"NodePort, policy Cluster, own endpoint", other, port(toSecond), s.node},
		{"NodePort, policy Cluster, own caller", k.c1, port(toNode2), s.byENI1}, // it leaves by the container's ENI
		{"NodePort, policy Local", k.Internet, port(toFirst), s.internet},
		{"NodePort, policy Local", other, port(toFirst), s.other},
		{"NodePort, policy Local, own caller", k.c2, port(toFirst), s.p2},
		{"endpoint beyond the VPC", k.c1, ip(toInternet), beyond(s.p1)},
		{"endpoint beyond the VPC", k.c2, ip(toInternet), beyond(s.p2)},
		{"endpoint beyond the VPC", node, ip(toInternet), s.node},
		{"endpoint in the VPC", k.c1, ip(toVPC), s.p1},
	} {
		if seen, err := call(t, w.from, w.to); err != nil || seen != w.want {
			t.Errorf("kube-proxy %s, %s: %s: %s calls %s: is seen as %s, want %s: %v", mode, s.Family, w.what, w.from.Name, w.to, seen, w.want, err)
		}
	}
}
