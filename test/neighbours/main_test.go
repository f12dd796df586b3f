// Package neighbours has the tests of our plugins among others: chained behind ours, below them as IPAM, above them as main
// plugins, and beside them in one container; with cnitool of each version of libcni. All are built programs, in the lab.
package neighbours

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

// bin has our plugins, and the reference plugins.
var bin *chain.Binaries

func TestMain(m *testing.M) { chain.MainWith(m, &bin, more) }

// more is what these tests need beside the plugins.
func more() error {
	var outside []string
	for _, p := range []string{
		"ipam/host-local", "ipam/static", "main/bridge", "main/macvlan", "main/ptp",
		"meta/bandwidth", "meta/firewall", "meta/portmap", "meta/sbr", "meta/tuning",
	} {
		outside = append(outside, "github.com/containernetworking/plugins/plugins/"+p)
	}
	if err := bin.AddOutside(outside...); err != nil {
		return err
	}
	for version, module := range cnitools() {
		if err := bin.AddOutsideAs("cnitool-"+version, module, "github.com/containernetworking/cni/cnitool"); err != nil {
			return err
		}
	}
	return nil
}

// dataDir is where the store is, unless a network says otherwise.
const dataDir = "/run/enichain"

// Our plugins as most networks have them.
const (
	eniPTP  = `{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "aws", "cooldown": "0s"}}`
	eniSNAT = `{"type": "eni-snat"}`
)

// Hosts of the lab.
var (
	node1Primary = netip.MustParseAddr("10.19.0.22")
	node2Primary = netip.MustParseAddr("10.19.0.11")
	internet     = netip.MustParseAddr("198.51.100.10")
)

// places are the hosts of the lab by their addresses of one family.
type places struct {
	node, far, internet netip.Addr
	seen                netip.Addr // as whom the internet sees a container
}

// of are the places for a container's address: beyond the VPC one of IPv4 is translated to its node's.
func (s *site) of(ip netip.Addr) places {
	if ip.Is4() {
		return places{node1Primary, node2Primary, internet, node1Primary}
	}
	own := func(n *lab.Node) netip.Addr { return s.VPC.ENIs(n.InstanceID)[0].PrimaryIP6 }
	return places{own(s.Nodes[0]), own(s.Nodes[1]), netip.MustParseAddr("2001:db8:100::10"), ip}
}

// both is our main plugin with addresses of both families.
func both(plugin string) string {
	return strings.Replace(plugin, `"cloud"`, `"families": ["ipv4", "ipv6"], "cloud"`, 1)
}

// list is the conflist of a network.
func list(name string, plugins ...string) []byte {
	return fmt.Appendf(nil, `{"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "name": %q, "plugins": [%s]}`,
		name, strings.Join(plugins, ", "))
}

// site is a lab with our plugins on its nodes.
type site struct {
	*lab.Lab
	node *lab.Node // the first, where the containers are
}

func newSite(t *testing.T, o lab.Options) *site {
	t.Helper()
	l := labtest.Up(t, o)
	return &site{Lab: l, node: l.Nodes[0]}
}

// far is a host on the other side of the VPC.
func (s *site) far() *lab.Host { return &s.Nodes[1].Host }

// network is a runtime on the first node, with a network.
func (s *site) network(t *testing.T, conflist []byte) *chain.Runtime {
	t.Helper()
	return onNode(t, s.node, conflist)
}

func onNode(t *testing.T, n *lab.Node, conflist []byte) *chain.Runtime {
	t.Helper()
	r, err := chain.NewRuntime(n, bin, conflist)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// assign gives the first node's ENI of a device index more addresses, and a prefix of IPv6 in a lab that has it.
func (s *site) assign(t *testing.T, deviceIndex, count int) []netip.Addr {
	t.Helper()
	for _, e := range s.VPC.ENIs(s.node.InstanceID) {
		if e.DeviceIndex == deviceIndex {
			added, err := s.VPC.AddAddresses(e.ID, count)
			if err == nil && e.Subnet6.IsValid() {
				_, _, err = s.VPC.AddIPv6(e.ID, 0, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
			return added
		}
	}
	t.Fatalf("no ENI %d", deviceIndex)
	return nil
}

// runIn makes a container on a network, to be removed at the test's end.
func runIn(t *testing.T, r *chain.Runtime, id string, options ...chain.Option) *types100.Result {
	t.Helper()
	netns(t, r.Node, id)
	return addTo(t, r, id, options...)
}

// netns makes a container without a network, to be removed at the test's end.
func netns(t *testing.T, n *lab.Node, id string) {
	t.Helper()
	if _, err := n.AddNetns(id); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.DelNetns(id) }) // the test may have removed it
}

// addTo adds a container to a network, to be taken from it at the test's end.
func addTo(t *testing.T, r *chain.Runtime, id string, options ...chain.Option) *types100.Result {
	t.Helper()
	result, err := r.Add(t.Context(), id, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { del(t, r, id, options...) })
	return result
}

// del is a DEL, which must succeed, also when the test has ended.
func del(t *testing.T, r *chain.Runtime, id string, options ...chain.Option) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Del(ctx, id, options...); err != nil {
		t.Errorf("DEL of %s: %v", id, err)
	}
}

func check(t *testing.T, r *chain.Runtime, id string, options ...chain.Option) {
	t.Helper()
	if err := r.Check(t.Context(), id, options...); err != nil {
		t.Errorf("CHECK of %s: %v", id, err)
	}
}

// state is all that anybody may have left in the node. That a link has its carrier is the kernel's affair.
func (s *site) state(t *testing.T) []string {
	t.Helper()
	all, err := chain.Snapshot(t.Context(), s.node, dataDir)
	if err != nil {
		t.Fatal(err)
	}
	carrier := strings.NewReplacer("NO-CARRIER,", "", ",LOWER_UP", "", " state DOWN ", " ", " state UP ", " ", " state LOWERLAYERDOWN ", " ", " linkdown", "")
	for i := range all {
		all[i] = carrier.Replace(all[i])
	}
	return all
}

// unchanged compares the node with what it was.
func (s *site) unchanged(t *testing.T, before []string) {
	t.Helper()
	if diff := cmp.Diff(before, s.state(t)); diff != "" {
		t.Errorf("left behind or taken away (-before +after):\n%s", diff)
	}
}

// sh runs a command line in a host.
func sh(t *testing.T, h *lab.Host, line string) string {
	t.Helper()
	out, err := h.Output(t.Context(), nil, "sh", "-ec", line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(string(out))
}

// reach sends from a container's address to a host and back, and wants the far end to see seen.
func reach(t *testing.T, c, to *lab.Host, at, from, seen netip.Addr) {
	t.Helper()
	if got := labtest.Peer(t, c, to, at, probe.From{Address: from}); got != seen {
		t.Errorf("%s is seen as %s by %s, want %s", c.Name, got, to.Name, seen)
	}
}

// wantVPC wants a container's address to work in the VPC, in both directions, and to be seen as it is.
func (s *site) wantVPC(t *testing.T, c *lab.Host, ip netip.Addr) {
	t.Helper()
	far := s.of(ip).far
	reach(t, c, s.far(), far, ip, ip)
	reach(t, s.far(), c, ip, netip.Addr{}, far)
	labtest.MustPing(t, &s.node.Host, ip, probe.From{})
}

// warm lets a container live for a moment: plugins leave bridges and chains that all containers share.
func (s *site) warm(t *testing.T, r *chain.Runtime, options ...chain.Option) {
	t.Helper()
	if _, err := r.Run(t.Context(), "warm", options...); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), "warm", options...); err != nil {
		t.Fatal(err)
	}
}

// settleTimeout is how long the kernel may take to remove the links of a namespace that went, which it does in the
// background.
const settleTimeout = 30 * time.Second

// settles waits for the node to be what it was.
func (s *site) settles(t *testing.T, before []string) {
	t.Helper()
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if slices.Equal(before, s.state(t)) {
			return
		}
	}
	s.unchanged(t, before)
}

// gcOf collects a container whose namespace went without a DEL.
func (s *site) gcOf(t *testing.T, r *chain.Runtime, before []string) {
	t.Helper()
	runIn(t, r, "dead")
	if err := s.node.DelNetns("dead"); err != nil {
		t.Fatal(err)
	}
	if err := r.GC(t.Context()); err != nil {
		t.Error(err)
	}
	s.settles(t, before)
}
