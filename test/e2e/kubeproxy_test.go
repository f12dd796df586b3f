package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/xtables/xtablestest"
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

// kube-proxy's own rules, of both modes, beside eni-snat's on each backend.
func TestKubeProxy(t *testing.T) {
	backends := map[string]backend{"nftables": {}}
	for _, v := range xtablestest.Variants() {
		backends["iptables-"+string(v)] = iptablesOf(t, v)
	}
	for name, b := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := upRecipe(t, "aws", fmt.Sprintf(whole, "", b.conf), b.wrapper...)
			for host, ip := range map[*lab.Host]netip.Addr{
				r.c1: r.p1, r.c2: r.p2, &r.Nodes[1].Host: node2Primary, r.Internet: internet,
			} {
				serve(t, host, ip, kubePodPort)
			}
			r.load(t, b, "kube-proxy-nftables", "nft", "-f", "-")
			r.walkServices(t, "nftables")
			if _, err := r.node.Output(t.Context(), nil, "nft", "delete", "table", "ip", "kube-proxy"); err != nil {
				t.Fatal(err)
			}
			r.load(t, b, "kube-proxy-iptables", "iptables-restore", "--noflush")
			r.walkServices(t, "iptables")
		})
	}
}

// load hands rules of kube-proxy, with this lab's addresses, to the program that takes them.
func (r recipeNode) load(t *testing.T, b backend, file, program string, args ...string) {
	t.Helper()
	rules, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer(
		"{{node1}}", node1Primary.String(), "{{node1-secondary}}", r.p1.String(), "{{node1-primary}}", r.p2.String(),
		"{{node2-secondary}}", node2Primary.String(), "{{vpc}}", node2Primary.String(), "{{internet}}", internet.String(),
	).Replace(string(rules))
	line := append(append(append([]string{}, b.wrapper...), program), args...)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Stdin = strings.NewReader(own)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := r.node.Run(cmd); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(line, " "), err, out.String())
	}
}

// walkServices calls the Services, and wants the far end to see the caller, or the node where kube-proxy masquerades.
func (r recipeNode) walkServices(t *testing.T, mode string) {
	t.Helper()
	ip := func(service int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, 0, byte(service)}), 80)
	}
	port := func(service int) netip.AddrPort { return netip.AddrPortFrom(node1Primary, uint16(30000+service)) }
	node, other := &r.node.Host, &r.Nodes[1].Host
	for _, w := range []struct {
		what string
		from *lab.Host
		to   netip.AddrPort
		want netip.Addr
	}{
		{"ClusterIP", r.c1, ip(toNode2), r.p1},
		{"ClusterIP", r.c2, ip(toFirst), r.p2},
		{"ClusterIP", node, ip(toNode2), node1Primary},
		{"hairpin", r.c1, ip(toFirst), node1Primary},
		{"hairpin", r.c2, port(toSecond), node1Primary},
		{"NodePort, policy Cluster, far endpoint", r.Internet, port(toNode2), node1Primary},
		{"NodePort, policy Cluster, own endpoint", r.Internet, port(toSecond), node1Primary},
		{"NodePort, policy Cluster, own endpoint", other, port(toSecond), node1Primary},
		{"NodePort, policy Cluster, own caller", r.c1, port(toNode2), node1ENI1}, // it leaves by the container's ENI
		{"NodePort, policy Local", r.Internet, port(toFirst), internet},
		{"NodePort, policy Local", other, port(toFirst), node2Primary},
		{"NodePort, policy Local, own caller", r.c2, port(toFirst), r.p2},
		{"endpoint beyond the VPC", r.c1, ip(toInternet), node1Primary},
		{"endpoint beyond the VPC", r.c2, ip(toInternet), node1Primary},
		{"endpoint beyond the VPC", node, ip(toInternet), node1Primary},
		{"endpoint in the VPC", r.c1, ip(toVPC), r.p1},
	} {
		if seen, err := call(t, w.from, w.to); err != nil || seen != w.want {
			t.Errorf("kube-proxy %s: %s: %s calls %s: is seen as %s, want %s: %v", mode, w.what, w.from.Name, w.to, seen, w.want, err)
		}
	}
}
