package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
	"github.com/enichain/enichain/test/vpcsim"
)

// internet6 is the internet's host, which knows the VPC.
var internet6 = netip.MustParseAddr("2001:db8:100::10")

// stack is which families containers have, in the words of the "ipam" section, on a cloud, and the layout of their rules.
type stack struct {
	clouds.Cloud
	families string
	backend
}

// onStacks runs a test on each cloud, of containers with both families and with IPv6 alone; and on AWS of those with both by
// rules per ENI, by each way of marking.
func onStacks(t *testing.T, test func(t *testing.T, s stack)) {
	t.Helper()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for name, families := range map[string]string{"both families": `["ipv4", "ipv6"]`, "IPv6 alone": `["ipv6"]`} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, stack{c, families, backend{}})
			})
		}
	})
	for name, layout := range perENI() {
		t.Run(vpcsim.AWS+name, func(t *testing.T) {
			t.Parallel()
			test(t, stack{clouds.AWS(), `["ipv4", "ipv6"]`, backend{layout: layout}})
		})
	}
}

// dual says whether containers have both families.
func (s stack) dual() bool { return strings.Contains(s.families, "ipv4") }

// conflist is the whole chain, which heeds requests for addresses; more is of the ipam section, from a comma on.
func (s stack) conflist(more string) string {
	chain := strings.Replace(whole, `"eni-ptp"`, `"eni-ptp", "capabilities": {"ips": true}`, 1)
	return s.routed(on(s.Name, fmt.Sprintf(chain, fmt.Sprintf(`, "cooldown": "0s", "families": %s%s`, s.families, more), "")))
}

// on gives the node's ENI of a device index an address of each family, of IPv6 one of a prefix where the cloud has such.
func (s stack) on(t *testing.T, l *lab.Lab, n *lab.Node, device int) []netip.Addr {
	t.Helper()
	eni := l.VPC.ENIs(n.InstanceID)[device].ID
	var ips []netip.Addr
	if s.dual() {
		added, err := l.VPC.AddAddresses(eni, 1)
		if err != nil {
			t.Fatal(err)
		}
		ips = added
	}
	addresses, prefixes := 1, 0
	if s.Name == vpcsim.AWS {
		addresses, prefixes = 0, 1
	}
	added, ranges, err := l.VPC.AddIPv6(eni, addresses, prefixes)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ranges {
		added = append(added, p.Addr().Next())
	}
	return append(ips, added...)
}

// wantFamilies wants a result to have an address of each family of the stack, in their order, as a container's own.
func (s stack) wantFamilies(t *testing.T, result *types100.Result) {
	t.Helper()
	var got []string
	for _, ip := range result.IPs {
		ones, bits := ip.Address.Mask.Size()
		got = append(got, fmt.Sprintf("%d of %d bits via %s", ones, bits, ip.Gateway))
	}
	want := []string{"32 of 32 bits via 169.254.1.1", "128 of 128 bits via fe80::1"}
	if !s.dual() {
		want = want[1:]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the container's addresses (-want +got):\n%s", diff)
	}
}

// end is one end of a walk: its address of IPv6, and of IPv4 where it has one.
type end struct {
	*lab.Host
	ip, ip4 netip.Addr
	veth    string // of a container
}

// endOf is a container that was started on a node.
func (s stack) endOf(t *testing.T, n *lab.Node, id string, result *types100.Result) end {
	t.Helper()
	s.wantFamilies(t, result)
	ips := chain.IPs(result)
	e := end{Host: n.Container(id), ip: ips[len(ips)-1], veth: result.Interfaces[0].Name}
	if s.dual() {
		e.ip4 = ips[0]
	}
	return e
}

// nodeEnd is a node by its own addresses.
func nodeEnd(l *lab.Lab, n *lab.Node) end {
	eth0 := l.VPC.ENIs(n.InstanceID)[0]
	return end{Host: &n.Host, ip: eth0.PrimaryIP6, ip4: eth0.PrimaryIP}
}

// carried calls one end from another by an address, which leads to a port there, and wants it to see the caller as seen,
// and the packets on these interfaces of both nodes and on no others.
func carried(t *testing.T, l *lab.Lab, from, to end, at netip.AddrPort, port uint16, seen netip.Addr, onOne, onTwo string) {
	t.Helper()
	server := serve(t, to.Host, to.ip, port)
	one, two := startCapture(t, &l.Nodes[0].Host), startCapture(t, &l.Nodes[1].Host)
	peer, err := call(t, from.Host, at)
	if err != nil || peer != seen {
		t.Errorf("%s calls %s of %s and is seen as %s, want %s: %v", from.Name, at, to.Name, peer, seen, err)
	}
	match := func(p probe.Packet) bool {
		ours := func(ap netip.AddrPort) bool { return ap == at || ap == netip.AddrPortFrom(to.ip, port) }
		return p.Protocol == "tcp" && (ours(p.Src) || ours(p.Dst))
	}
	for capture, want := range map[*probe.Capture]string{one: onOne, two: onTwo} {
		if got := devices(t, capture, match); got != sortedWords(want) {
			t.Errorf("%s calls %s of %s: it was carried by %q, want %q", from.Name, at, to.Name, got, sortedWords(want))
		}
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

func sortedWords(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// Every walk of a packet (design §2.6) by IPv6, and of IPv4 beside it where containers have that.
func TestWalksOfIPv6(t *testing.T) { onStacks(t, walksOfIPv6) }

func walksOfIPv6(t *testing.T, s stack) {
	l := upLab(t, lab.Options{Cloud: s.Name, IPv6: true})
	n1, n2 := l.Nodes[0], l.Nodes[1]
	run := func(r *chain.Runtime, id string, device int) end {
		ips := s.on(t, l, r.Node, device)
		result := start(t, r, id, chain.WithCapability("ips", ips))
		if got := chain.IPs(result); !slices.Equal(got, ips) {
			t.Fatalf("%s has %s, asked for %s", id, got, ips)
		}
		if err := r.Check(t.Context(), id); err != nil {
			t.Errorf("CHECK right after ADD: %v", err)
		}
		return s.endOf(t, r.Node, id, result)
	}
	r := onNode(t, n1, s.conflist(""))
	c0, c1, beside, c2 := run(r, "c0", 0), run(r, "c1", 1), run(r, "beside", 1), run(r, "c2", 2)
	there := run(onNode(t, n2, s.conflist("")), "there", 1)
	one, two, out := nodeEnd(l, n1), nodeEnd(l, n2), end{Host: l.Internet, ip: internet6, ip4: internet}
	for _, w := range []struct {
		from, to     end
		onOne, onTwo string
	}{
		{c1, beside, c1.veth + " " + beside.veth, ""},
		{c1, c2, c1.veth + " " + c2.veth, ""},
		{c0, c1, c0.veth + " " + c1.veth, ""},
		{c1, there, c1.veth + " eth1", "eth1 " + there.veth},
		{c2, there, c2.veth + " eth2", "eth1 " + there.veth},
		{c0, there, c0.veth + " eth0", "eth1 " + there.veth},
		{c1, one, c1.veth, ""},
		{one, c1, c1.veth, ""},
		{one, c0, c0.veth, ""},
		{c1, two, c1.veth + " eth1", "eth0"},
		{two, c1, "eth1 " + c1.veth, "eth0"},
		{two, c2, "eth2 " + c2.veth, "eth0"},
		{two, c0, "eth0 " + c0.veth, "eth0"},
		{c0, out, c0.veth + " eth0", ""},
		{c1, out, c1.veth + " eth1", ""},
		{c2, out, c2.veth + " eth2", ""},
		{out, c0, "eth0 " + c0.veth, ""},
		{out, c1, "eth1 " + c1.veth, ""},
		{out, c2, "eth2 " + c2.veth, ""},
	} {
		carried(t, l, w.from, w.to, netip.AddrPortFrom(w.to.ip, servicePort), servicePort, w.from.ip, w.onOne, w.onTwo)
	}
	s.itself(t, l, one, c1)
	nodePortRule(t, n1, c1.ip)
	for from, onTwo := range map[end]string{out: "", two: "eth0"} {
		carried(t, l, from, c1, netip.AddrPortFrom(one.ip, nodePort), servicePort, from.ip, "eth0 "+c1.veth, onTwo)
	}
	if s.dual() {
		walksOfIPv4(t, c1, two, out, one)
	} else {
		hasNoIPv4(t, n1, c1)
	}
	if spoofed, _, err := l.Drops(); err != nil || spoofed != 0 {
		t.Errorf("the VPC dropped %d packets with another's source: %v", spoofed, err)
	}
}

// itself lets a container call itself by a Service, as kube-proxy translates that.
func (s stack) itself(t *testing.T, l *lab.Lab, node, c end) {
	t.Helper()
	const service = "fd00:20::a"
	rules := fmt.Sprintf(`table ip6 hairpin {
		chain pre { type nat hook prerouting priority dstnat; ip6 daddr %[1]s tcp dport 80 dnat to [%[2]s]:%[3]d; }
		chain post { type nat hook postrouting priority srcnat; ip6 saddr %[2]s ip6 daddr %[2]s masquerade fully-random; }
	}`, service, c.ip, servicePort)
	if _, err := node.Output(t.Context(), nil, "nft", rules); err != nil {
		t.Fatal(err)
	}
	carried(t, l, c, c, netip.AddrPortFrom(netip.MustParseAddr(service), 80), servicePort, node.ip, c.veth, "")
}

// walksOfIPv4 wants a container's IPv4 to be what it is without IPv6.
func walksOfIPv4(t *testing.T, c, two, out, one end) {
	t.Helper()
	if peer := tcpPeer(t, c.Host, two.Host, two.ip4); peer != c.ip4 {
		t.Errorf("another node sees %s as %s, want %s", c.Name, peer, c.ip4)
	}
	if peer := tcpPeer(t, c.Host, out.Host, out.ip4); peer != one.ip4 {
		t.Errorf("the internet sees %s as %s, want the node's %s", c.Name, peer, one.ip4)
	}
	if peer := tcpPeer(t, two.Host, c.Host, c.ip4); peer != two.ip4 {
		t.Errorf("%s sees another node as %s, want %s", c.Name, peer, two.ip4)
	}
}

// hasNoIPv4 wants a container, and the node for its sake, to have nothing of IPv4.
func hasNoIPv4(t *testing.T, n *lab.Node, c end) {
	t.Helper()
	for _, args := range [][]string{{"-4", "-o", "addr", "show", "dev", "eth0"}, {"-4", "route"}} {
		if lines, err := chain.IPCommand(t.Context(), c.Host, args...); err != nil || len(lines) > 0 {
			t.Errorf("%s has %q of IPv4: %v", c.Name, lines, err)
		}
	}
	lines, err := chain.IPCommand(t.Context(), &n.Host, "-4", "route", "show", "table", "all", "dev", c.veth)
	if err != nil || len(lines) > 0 {
		t.Errorf("the node has routes of IPv4 to %s: %q, %v", c.Name, lines, err)
	}
}

// A container with IPv6 leaves nothing by DEL and by GC, a second ADD changes nothing, and who has its addresses next does
// not notice its late DEL.
func TestLifeWithIPv6(t *testing.T) { onStacks(t, lifeWithIPv6) }

func lifeWithIPv6(t *testing.T, s stack) {
	l := upLab(t, lab.Options{Cloud: s.Name, IPv6: true, ENIs: 2})
	n := l.Nodes[0]
	two := nodeEnd(l, l.Nodes[1])
	r := onNode(t, n, s.conflist(`, "firstDeviceIndex": 1, "maxENIs": 2`))
	comeAndGo(t, r, "warm")
	before := snapshot(t, n)
	if _, err := n.AddNetns("a"); err != nil {
		t.Fatal(err)
	}
	first, err := r.Add(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	a := s.endOf(t, n, "a", first)
	during := snapshot(t, n)
	again, err := r.Add(t.Context(), "a")
	if err != nil || cmp.Diff(first, again) != "" {
		t.Errorf("a second ADD: %v\n%s", err, cmp.Diff(first, again))
	}
	if diff := cmp.Diff(during, snapshot(t, n)); diff != "" {
		t.Errorf("a second ADD changed the node (-before +after):\n%s", diff)
	}
	if err := r.Check(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := r.Del(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, snapshot(t, n)); diff != "" {
			t.Errorf("DEL left (-before +after):\n%s", diff)
		}
	}
	heir := s.endOf(t, n, "heir", start(t, r, "heir", chain.WithCapability("ips", chain.IPs(first))))
	if heir.ip != a.ip || heir.ip4 != a.ip4 {
		t.Errorf("the next container has %s and %s, asked for those of the first", heir.ip, heir.ip4)
	}
	if err := r.Del(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	mustPing(t, heir.Host, two.ip, probe.From{})
	mustPing(t, two.Host, heir.ip, probe.From{})
	if err := r.Check(t.Context(), "heir"); err != nil {
		t.Errorf("after the late DEL: %v", err)
	}
	s.collected(t, n, r)
}

// comeAndGo lets a container live for a moment.
func comeAndGo(t *testing.T, r *chain.Runtime, id string) {
	t.Helper()
	if _, err := r.Run(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// collected lets a container die without a DEL beside the heir, and collects it. The kernel takes its link in its own time.
func (s stack) collected(t *testing.T, n *lab.Node, r *chain.Runtime) {
	t.Helper()
	before := snapshot(t, n)
	if _, err := r.Run(t.Context(), "dead"); err != nil {
		t.Fatal(err)
	}
	if err := n.DelNetns("dead"); err != nil {
		t.Fatal(err)
	}
	if err := r.GC(t.Context(), types.GCAttachment{ContainerID: "heir", IfName: chain.IfName}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for diff := "?"; diff != ""; time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(before, snapshot(t, n)); ctx.Err() != nil {
			t.Fatalf("GC left (-before +after):\n%s", diff)
		}
	}
	if err := r.Check(t.Context(), "heir"); err != nil {
		t.Errorf("after GC: %v", err)
	}
}

// An ENI that is made for a container comes late, on a host whose new links have IPv6 switched off: it carries the
// container's traffic, and the host keeps the default route that its router told it.
func TestANewENICarriesIPv6(t *testing.T) { onStacks(t, aNewENICarriesIPv6) }

func aNewENICarriesIPv6(t *testing.T, s stack) {
	l := upLab(t, lab.Options{Cloud: s.Name, IPv6: true, ENIs: 1, Delay: 300 * time.Millisecond, Hotplug: "ens%d"})
	n := l.Nodes[0]
	two := nodeEnd(l, l.Nodes[1])
	settings := "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; cat /proc/sys/net/ipv6/conf/eth0/accept_ra"
	if got, err := n.Output(t.Context(), nil, "sh", "-ec", settings); err != nil || string(got) != "1\n" {
		t.Fatalf("accept_ra of eth0 is %q: %v", got, err)
	}
	r := onNode(t, n, s.conflist(`, "firstDeviceIndex": 1`))
	c := s.endOf(t, n, "c", start(t, r, "c"))
	enis := l.VPC.ENIs(n.InstanceID)
	if len(enis) != 2 {
		t.Fatalf("%d ENIs, want 2", len(enis))
	}
	link := l.Link(enis[1].ID)
	if !strings.HasPrefix(link, "ens") {
		t.Errorf("the new link is called %q", link)
	}
	carried(t, l, two, c, netip.AddrPortFrom(c.ip, servicePort), servicePort, two.ip, link+" "+c.veth, "eth0")
	carried(t, l, c, two, netip.AddrPortFrom(two.ip, servicePort), servicePort, c.ip, link+" "+c.veth, "eth0")
	mustPing(t, c.Host, internet6, probe.From{})
	mustPing(t, &n.Host, internet6, probe.From{})
	if err := r.Check(t.Context(), "c"); err != nil {
		t.Error(err)
	}
	settings = fmt.Sprintf("cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra %[1]s/accept_ra %[1]s/disable_ipv6 default/disable_ipv6", link)
	if got, err := n.Output(t.Context(), nil, "sh", "-ec", settings); err != nil || string(got) != "1\n2\n0\n0\n1\n" {
		t.Errorf("forwarding, accept_ra and disable_ipv6 are %q: %v", got, err)
	}
}
