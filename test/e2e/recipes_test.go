package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

// The recipe's hosts and ENIs, which the lab has too.
var (
	node1Primary = netip.MustParseAddr("10.19.0.22")
	node1ENI1    = netip.MustParseAddr("10.19.16.17")
	node1ENI2    = netip.MustParseAddr("10.19.0.24")
	node2Primary = netip.MustParseAddr("10.19.0.11")
	internet     = netip.MustParseAddr("198.51.100.10")
)

// recipeNode is a node with one container on the ENI of another subnet, and one on that of the primary's subnet, and no
// eni-snat.
type recipeNode struct {
	*lab.Lab
	node   *lab.Node
	c1, c2 *lab.Host  // the containers on ENI 1 and on ENI 2
	p1, p2 netip.Addr // their addresses
}

func upRecipe(t *testing.T, cloud, conflist string, b backend) recipeNode {
	t.Helper()
	l := upLab(t, lab.Options{Cloud: cloud})
	n := l.Nodes[0]
	ip1, ip2 := assign(t, l, n, 1, 1)[0], assign(t, l, n, 2, 1)[0]
	r := onNode(t, n, b.routed(on(cloud, conflist)))
	r.Wrap(b.wrapper...)
	p1, p2 := runIn(t, r, "netns1", chain.WithIP(ip1)), runIn(t, r, "netns2", chain.WithIP(ip2))
	if p1 != ip1 || p2 != ip2 {
		t.Fatalf("containers have %s and %s, asked for %s and %s", p1, p2, ip1, ip2)
	}
	return recipeNode{l, n, n.Container("netns1"), n.Container("netns2"), p1, p2}
}

// veth returns the host's end of the container whose address it is.
func veth(t *testing.T, n *lab.Node, ip netip.Addr) string {
	t.Helper()
	lines, err := chain.IPCommand(t.Context(), &n.Host, "-o", "route", "get", ip.String())
	if err != nil || len(lines) != 1 {
		t.Fatalf("route to %s: %q, %v", ip, lines, err)
	}
	_, dev, _ := strings.Cut(lines[0], " dev ")
	return strings.Fields(dev)[0]
}

func ping(t *testing.T, from *lab.Host, to netip.Addr, bind probe.From) (probe.Reply, error) {
	t.Helper()
	return labtest.Ping(t, from, to, bind)
}

func mustPing(t *testing.T, from *lab.Host, to netip.Addr, bind probe.From) probe.Reply {
	t.Helper()
	return labtest.MustPing(t, from, to, bind)
}

// hops returns the path as traceroute prints it.
func hops(t *testing.T, from *lab.Host, to netip.Addr) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var path []string
	err := from.Do(func() error {
		found, err := probe.Traceroute(ctx, to, probe.From{}, 5)
		for _, h := range found {
			path = append(path, h.From.String())
		}
		return err
	})
	if err != nil {
		t.Errorf("trace from %s to %s: %v", from.Name, to, err)
	}
	return strings.Join(path, " ")
}

// Recipes 3.1 and 4.1: an ENI of another subnet and one of the primary's.
func TestRecipe31And41TheENIOnTheHost(t *testing.T) { onClouds(t, theENIOnTheHost) }

func theENIOnTheHost(t *testing.T, cloud string) {
	r := upRecipe(t, cloud, fmt.Sprintf(ptpOnly, ""), backend{})
	host := &r.node.Host
	v1, v2 := veth(t, r.node, r.p1), veth(t, r.node, r.p2)
	// The order within a preference is that of addition.
	sameLines(t, host, fmt.Sprintf(`
		0: from all lookup local
		512: from all to 10.19.16.17 lookup main
		512: from all to %[1]s lookup main
		512: from all to 10.19.0.24 lookup main
		512: from all to %[2]s lookup main
		1536: from 10.19.16.17 lookup 2
		1536: from %[1]s lookup 2
		1536: from 10.19.0.24 lookup 3
		1536: from %[2]s lookup 3
		32766: from all lookup main
		32767: from all lookup default`, r.p1, r.p2), "rule")
	main := fmt.Sprintf("default via 10.19.0.1 dev eth0\n"+
		"10.19.0.0/20 dev eth0 proto kernel scope link src 10.19.0.22\n"+
		"10.19.0.24 dev eth2 scope link\n"+
		"%s dev %s scope link\n"+
		"10.19.16.17 dev eth1 scope link\n"+
		"%s dev %s scope link", r.p2, v2, r.p1, v1)
	sameLines(t, host, sortedByDestination(main), "route", "show", "table", "main")
	sameLines(t, host, "default via 10.19.16.1 dev eth1\n10.19.16.1 dev eth1 scope link", "route", "show", "table", "2")
	sameLines(t, host, "default via 10.19.0.1 dev eth2\n10.19.0.1 dev eth2 scope link", "route", "show", "table", "3")
	mustPing(t, host, node2Primary, probe.From{Interface: "eth1"})
	mustPing(t, host, node2Primary, probe.From{Interface: "eth2"})
}

// Recipes 3.2 and 4.2: a container on each.
func TestRecipe32And42AContainerOnEach(t *testing.T) { onRoutings(t, aContainerOnEach) }

func aContainerOnEach(t *testing.T, cloud string, b backend) {
	r := upRecipe(t, cloud, fmt.Sprintf(ptpOnly, ""), b)
	other := map[*lab.Host]netip.Addr{r.c1: r.p2, r.c2: r.p1}
	own := map[*lab.Host]netip.Addr{r.c1: node1ENI1, r.c2: node1ENI2}
	for c, ip := range map[*lab.Host]netip.Addr{r.c1: r.p1, r.c2: r.p2} {
		sameLines(t, c, "default via 169.254.1.1 dev eth0\n169.254.1.1 dev eth0 scope link", "route")
		mac, err := chain.IPCommand(t.Context(), &r.node.Host, "-o", "link", "show", veth(t, r.node, ip))
		if err != nil {
			t.Fatal(err)
		}
		_, lladdr, _ := strings.Cut(mac[0], "link/ether ")
		sameLines(t, c, "169.254.1.1 dev eth0 lladdr "+strings.Fields(lladdr)[0]+" PERMANENT", "neigh", "show", "nud", "permanent")
		addrs, err := chain.IPCommand(t.Context(), c, "-o", "-4", "addr", "show", "eth0")
		if err != nil || len(addrs) != 1 || !strings.Contains(addrs[0], "inet "+ip.String()+"/32 scope global eth0") {
			t.Errorf("%s: eth0 has %q, %v", c.Name, addrs, err)
		}
		if reply := mustPing(t, c, node2Primary, probe.From{}); reply.TTL != 63 {
			t.Errorf("%s: the other host's reply has TTL %d, the recipe shows 63", c.Name, reply.TTL)
		}
		mustPing(t, c, own[c], probe.From{})
		mustPing(t, c, node1Primary, probe.From{})
		mustPing(t, c, other[c], probe.From{})
		for to, want := range map[netip.Addr]string{
			node2Primary: "10.19.0.22 " + node2Primary.String(),
			other[c]:     "10.19.0.22 " + other[c].String(),
			own[c]:       own[c].String(),
			node1Primary: node1Primary.String(),
		} {
			// The lab's router is the recipe's fabric, which shows no hop.
			if got := hops(t, c, to); got != want {
				t.Errorf("%s to %s goes by %q, the recipe shows %q", c.Name, to, got, want)
			}
		}
	}
}

// Recipe 5: the traffic of a secondary ENI's container is on that ENI, and not on the primary.
func TestRecipe5TheTrafficIsOnTheENIItself(t *testing.T) { onRoutings(t, theTrafficIsOnTheENIItself) }

func theTrafficIsOnTheENIItself(t *testing.T, cloud string, b backend) {
	r := upRecipe(t, cloud, fmt.Sprintf(ptpOnly, ""), b)
	for dev, ip := range map[string]netip.Addr{"eth1": r.p1, "eth2": r.p2} {
		capture := startCapture(t, &r.node.Host)
		mustPing(t, &r.Nodes[1].Host, ip, probe.From{})
		seen := devices(t, capture, func(p probe.Packet) bool { return p.Src.Addr() == ip || p.Dst.Addr() == ip })
		if want := fmt.Sprintf("%s %s", dev, veth(t, r.node, ip)); seen != want {
			t.Errorf("node2 pings %s: seen on %q, want %q", ip, seen, want)
		}
	}
}

// Recipe "Pod to External".
func TestRecipePodToExternal(t *testing.T) { onBackends(t, podToExternal) }

func podToExternal(t *testing.T, cloud string, b backend) {
	r := upRecipe(t, cloud, fmt.Sprintf(whole, "", b.conf), b)
	b.holds(t, r.node)
	for _, c := range []*lab.Host{r.c1, r.c2} {
		capture := startCapture(t, &r.node.Host)
		if peer := tcpPeer(t, c, r.Internet, internet); peer != node1Primary {
			t.Errorf("%s: the internet sees %s, want the primary address %s", c.Name, peer, node1Primary)
		}
		seen := devices(t, capture, func(p probe.Packet) bool { return p.Dst.Addr() == internet })
		if !strings.HasPrefix(seen, "eth0 ") || strings.Contains(seen, "eth1") || strings.Contains(seen, "eth2") {
			t.Errorf("%s: packets to the internet were on %q, want eth0", c.Name, seen)
		}
	}
	for c, ip := range map[*lab.Host]netip.Addr{r.c1: r.p1, r.c2: r.p2} {
		if peer := tcpPeer(t, c, &r.Nodes[1].Host, node2Primary); peer != ip {
			t.Errorf("%s: a host of the VPC sees %s, want %s", c.Name, peer, ip)
		}
	}
}

// With eni-snat left out the VPC drops what a container sends to the internet: the fabric's own check works.
func TestWithoutSNATTheVPCDropsIt(t *testing.T) {
	onBackends(t, func(t *testing.T, cloud string, b backend) {
		conflist := fmt.Sprintf(ptpOnly, "")
		if b.conf != "" { // there, and switched off
			conflist = fmt.Sprintf(whole, "", b.conf+`, "snat": false`)
		}
		theVPCDropsIt(t, upRecipe(t, cloud, conflist, b))
	})
}

func theVPCDropsIt(t *testing.T, r recipeNode) {
	t.Helper()
	_, before, err := r.Drops()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ping(t, r.c1, internet, probe.From{}); err == nil {
		t.Error("the internet answered a container that has no public address")
	}
	if _, after, err := r.Drops(); err != nil || after <= before {
		t.Errorf("dropped for want of a public address: %d before, %d after, %v", before, after, err)
	}
}
