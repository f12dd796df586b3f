package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// twice is a container with two interfaces, eth0 and net1.
type twice struct {
	*nstest.NS
	node        *node
	first       plugin
	second      plugin
	table       int // of the second, in the container
	firstResult *types100.Result
	result      *types100.Result
}

// attachTwice attaches a container to the two networks.
func attachTwice(t testing.TB, n *node, first, second map[string]any) *twice {
	t.Helper()
	c := &twice{NS: nstest.New(t), node: n}
	c.first = plugin{id: "c1", netns: c.Path(), conf: first}
	c.firstResult = add(t, n.NS, c.first)
	c.addSecond(t, second)
	return c
}

func (c *twice) addSecond(t testing.TB, conf map[string]any) {
	t.Helper()
	c.second = plugin{id: "c1", ifName: "net1", netns: c.Path(), conf: conf}
	c.result = add(t, c.node.NS, c.second)
	c.Do(func() error {
		net1, err := netlink.LinkByName("net1")
		if err == nil {
			c.table = layout.TableInside + net1.Attrs().Index
		}
		return err
	})
}

// wantBoth sends from each address to another host of the VPC, and from there to each.
func (c *twice) wantBoth(t testing.TB) {
	t.Helper()
	for _, r := range []*types100.Result{c.firstResult, c.result} {
		ip := r.IPs[0].Address.IP.String()
		if _, err := ping(t, c.NS, ip, otherIP); err != nil {
			t.Error(err)
		}
		if _, err := ping(t, c.node.vpc, otherIP, ip); err != nil {
			t.Error(err)
		}
		if _, err := ping(t, c.node.NS, "", ip); err != nil {
			t.Error(err)
		}
	}
}

func check(t testing.TB, n *node, p plugin, r *types100.Result) {
	t.Helper()
	p.verb, p.conf = "CHECK", with(p.conf, map[string]any{"prevResult": r})
	succeed(t, n.NS, p)
}

// strict makes the reverse path filter strict everywhere but on the ENIs: a packet that takes the wrong interface of the
// container is lost.
func strict(t testing.TB, spaces ...*nstest.NS) {
	t.Helper()
	for _, ns := range spaces {
		ns.Do(func() error {
			return errors.Join(sysctl("ipv4/conf/default/rp_filter", "1"), sysctl("ipv4/conf/all/rp_filter", "1"))
		})
	}
}

// A second interface has its address, its own table and what the configuration lists, and leaves the first one's default
// route alone; either may go first.
func TestASecondAttachment(t *testing.T) { onLayouts(t, aSecondAttachmentOn) }

func aSecondAttachmentOn(t *testing.T, v variant) {
	routed := map[string]any{"routes": []any{map[string]any{"dst": "172.30.0.0/16"}}}
	tests := []struct {
		name   string
		second func(n *node) map[string]any
		want   []string // routes by net1 in main
	}{
		{"same network", func(n *node) map[string]any { return n.conf("eni-1") }, nil},
		{"another network of the same store", func(n *node) map[string]any {
			return with(with(n.conf("eni-2"), routed), map[string]any{"name": "second"})
		}, []string{"172.30.0.0/16"}},
		{"on the primary ENI", func(n *node) map[string]any { return with(n.conf("eni-0"), routed) }, []string{"172.30.0.0/16"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := preparedOf(t, v)
			strict(t, n.NS)
			before := n.everything(t)
			c := attachTwice(t, n, n.conf("eni-1"), tt.second(n))
			strict(t, c.NS)
			c.wantInside(t, tt.want)
			if again := add(t, n.NS, c.second); again.IPs[0].Address.String() != c.result.IPs[0].Address.String() {
				t.Errorf("a second ADD gives %v, not %v", again.IPs, c.result.IPs)
			}
			add(t, n.NS, c.first)
			c.wantInside(t, tt.want)
			c.wantBoth(t)
			check(t, n, c.first, c.firstResult)
			check(t, n, c.second, c.result)
			c.secondGoesAndComes(t, tt.second(n))
			c.firstGoes(t)
			if diff := cmp.Diff(before, n.everything(t)); diff != "" {
				t.Errorf("left on the host (-before +after):\n%s", diff)
			}
		})
	}
}

// wantInside compares the container's rules and routes, and the result, with what a second interface has.
func (c *twice) wantInside(t *testing.T, destinations []string) {
	t.Helper()
	ip := c.result.IPs[0].Address.IP
	wantRules := []string{fmt.Sprintf("1536: from %s lookup %d", ip, c.table), fmt.Sprintf("1536: from all oif net1 lookup %d", c.table)}
	if len(destinations) > 0 {
		wantRules = append(wantRules, c.ruleOfFirst())
	}
	if diff := cmp.Diff(wantRules, rules(t, c.NS)); diff != "" {
		t.Errorf("unexpected rules (-want +got):\n%s", diff)
	}
	wantMain := []string{"169.254.1.1 dev eth0 scope link"}
	var inResult []string
	for _, dst := range destinations {
		wantMain = append(wantMain, dst+" via 169.254.1.1 dev net1")
		inResult = append(inResult, dst+" 169.254.1.1")
	}
	wantMain = append(wantMain, "default via 169.254.1.1 dev eth0")
	if diff := cmp.Diff(wantMain, routes(t, c.NS, layout.TableMain)); diff != "" {
		t.Errorf("unexpected routes in main (-want +got):\n%s", diff)
	}
	own := []string{
		fmt.Sprintf("169.254.1.1 dev net1 table %d scope link", c.table), fmt.Sprintf("default via 169.254.1.1 dev net1 table %d", c.table),
	}
	if diff := cmp.Diff(own, routes(t, c.NS, c.table)); diff != "" {
		t.Errorf("unexpected routes of its own (-want +got):\n%s", diff)
	}
	var got []string
	for _, r := range c.result.Routes {
		got = append(got, r.Dst.String()+" "+r.GW.String())
	}
	if diff := cmp.Diff(inResult, got); diff != "" {
		t.Errorf("unexpected routes in the result (-want +got):\n%s", diff)
	}
}

// ruleOfFirst keeps what has the first interface's address from taking the second one's destinations.
func (c *twice) ruleOfFirst() string {
	return fmt.Sprintf("1536: from %s lookup %d", c.firstResult.IPs[0].Address.IP, c.table-1)
}

// secondGoesAndComes takes net1 away, with a late DEL behind, and attaches it again.
func (c *twice) secondGoesAndComes(t *testing.T, conf map[string]any) {
	t.Helper()
	del := c.second
	del.verb = "DEL"
	succeed(t, c.node.NS, del)
	succeed(t, c.node.NS, del)
	if left := rules(t, c.NS); len(left) > 0 && !slices.Equal(left, []string{c.ruleOfFirst()}) {
		t.Errorf("left in the container: %q", left)
	}
	check(t, c.node, c.first, c.firstResult)
	if _, err := ping(t, c.NS, "", otherIP); err != nil {
		t.Error(err)
	}
	c.addSecond(t, conf)
	c.wantBoth(t)
}

// firstGoes takes eth0 away, then net1.
func (c *twice) firstGoes(t *testing.T) {
	t.Helper()
	del := c.first
	del.verb = "DEL"
	succeed(t, c.node.NS, del)
	check(t, c.node, c.second, c.result)
	if _, err := ping(t, c.NS, c.result.IPs[0].Address.IP.String(), otherIP); err != nil {
		t.Error(err)
	}
	del = c.second
	del.verb = "DEL"
	succeed(t, c.node.NS, del)
}

// Sockets that are bound to the second interface, as `ping -I net1` does, leave by it with its address.
func TestBoundToTheSecondInterface(t *testing.T) {
	n := newNode(t)
	c := attachTwice(t, n, n.conf("eni-1"), n.conf("eni-2"))
	c.Do(func() error {
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			control := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "net1") })
			return errors.Join(control, err)
		}}
		conn, err := d.Dial("udp4", net.JoinHostPort(otherIP, "9"))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		want := c.result.IPs[0].Address.IP.String()
		if got, _, _ := net.SplitHostPort(conn.LocalAddr().String()); got != want {
			t.Errorf("a socket on net1 has %s, want %s", got, want)
		}
		return nil
	})
}

// Over another IPAM the second interface has the routes that this one lists, in its own words.
func TestASecondAttachmentOverHostLocal(t *testing.T) {
	n := newNode(t)
	conf := hostLocal(t)
	conf["ipam"].(map[string]any)["routes"] = []any{
		map[string]any{"dst": "0.0.0.0/0"}, map[string]any{"dst": "172.31.0.0/16", "gw": "10.88.0.1"},
	}
	c := attachTwice(t, n, n.conf("eni-1"), conf)
	c.wantInside(t, []string{"172.31.0.0/16"})
	ip := c.result.IPs[0].Address.IP.String()
	if _, err := ping(t, c.NS, ip, nodeIP); err != nil {
		t.Error(err)
	}
	if _, err := ping(t, n.NS, "", ip); err != nil {
		t.Error(err)
	}
	check(t, n, c.second, c.result)
	check(t, n, c.first, c.firstResult)
}

// A default route that another has is never taken; one that nobody has need not be taken.
func TestDefaultRoute(t *testing.T) {
	n := prepared(t)
	before := n.everything(t)
	ns := nstest.New(t)
	aside := plugin{id: "c", netns: ns.Path(), conf: with(n.conf("eni-1"), map[string]any{
		"defaultRoute": false, "routes": []any{map[string]any{"dst": "10.19.0.0/16"}},
	})}
	r := add(t, n.NS, aside)
	if diff := cmp.Diff([]string{"10.19.0.0/16 via 169.254.1.1 dev eth0"}, routes(t, ns, layout.TableMain)); diff != "" {
		t.Errorf("unexpected routes (-want +got):\n%s", diff)
	}
	if _, err := ping(t, ns, "", otherIP); err != nil {
		t.Error(err)
	}
	check(t, n, aside, r)
	wanted := plugin{id: "c", ifName: "net1", netns: ns.Path(), conf: with(n.conf("eni-2"), map[string]any{"defaultRoute": true})}
	check(t, n, wanted, add(t, n.NS, wanted))
	taken := n.everything(t)
	third := plugin{verb: "ADD", id: "c", ifName: "net2", netns: ns.Path(), conf: wanted.conf}
	if _, err := run(t, n.NS, third); err == nil || err.Code != 7 || !strings.Contains(err.Msg, "a route to 169.254.1.1/32 by net1 already") {
		t.Errorf("unexpected error: %v", err)
	}
	third.conf = with(n.conf("eni-2"), map[string]any{"routes": []any{map[string]any{"dst": "10.19.0.0/16"}}})
	if _, err := run(t, n.NS, third); err == nil || err.Code != 7 || !strings.Contains(err.Msg, "a route to 10.19.0.0/16 by eth0 already") {
		t.Errorf("unexpected error: %v", err)
	}
	if diff := cmp.Diff(taken, n.everything(t)); diff != "" {
		t.Errorf("changed by what was refused (-before +after):\n%s", diff)
	}
	check(t, n, aside, r)
	for _, p := range []plugin{aside, wanted, third} {
		p.verb = "DEL"
		succeed(t, n.NS, p)
	}
	if diff := cmp.Diff(before, n.everything(t)); diff != "" {
		t.Errorf("left on the host (-before +after):\n%s", diff)
	}
}

// GC takes the one attachment of a container and leaves the other, whose rules and routes stay.
func TestGCOfASecondAttachment(t *testing.T) {
	n := prepared(t)
	c := attachTwice(t, n, n.conf("eni-1"), n.conf("eni-2"))
	valid := []any{map[string]any{"containerID": "c1", "ifname": "eth0"}}
	succeed(t, n.NS, plugin{verb: "GC", conf: with(n.conf("eni-1"), map[string]any{"cni.dev/valid-attachments": valid})})
	check(t, n, c.first, c.firstResult)
	if owned := n.owned(t); len(owned) != 1 {
		t.Errorf("unexpected owners: %q", owned)
	}
	if left := rules(t, c.NS); len(left) > 0 {
		t.Errorf("left in the container: %q", left)
	}
}

// Each piece of a second interface is taken away by hand: CHECK of it names the piece, CHECK of the first does not mind.
func TestCheckNamesEachPieceOfASecond(t *testing.T) {
	tests := []struct {
		name   string
		damage func(c *twice) error
		want   string
	}{
		{"route", func(*twice) error { return delRoute("net1", 254, "172.30.0.0/16") }, `route "172.30.0.0/16 via 169.254.1.1 dev net1" is missing`},
		{"own default route", func(c *twice) error { return delRoute("net1", c.table, "0.0.0.0/0") }, `finds "default via 169.254.1.1 dev eth0", not "default via 169.254.1.1 dev net1"`},
		{"rule of the address", func(c *twice) error { return delRule(1536, c.result.IPs[0].Address.String(), "") }, ` is missing`},
		{"rule of the device", func(*twice) error {
			r := netlink.NewRule()
			r.Priority, r.OifName = 1536, "net1"
			return netlink.RuleDel(r)
		}, `rule "1536: from all oif net1 lookup `},
		{"neighbour", func(*twice) error {
			return onLink("net1", func(l netlink.Link) error {
				return netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: net.IP{169, 254, 1, 1}})
			})
		}, `neighbour "169.254.1.1 dev net1 lladdr `},
	}
	n := newNode(t)
	conf := with(n.conf("eni-2"), map[string]any{"routes": []any{map[string]any{"dst": "172.30.0.0/16"}}})
	c := attachTwice(t, n, n.conf("eni-1"), conf)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.Do(func() error { return tt.damage(c) })
			p := c.second
			p.verb, p.conf = "CHECK", with(p.conf, map[string]any{"prevResult": c.result})
			if _, err := run(t, n.NS, p); err == nil || err.Code != 103 || !strings.Contains(err.Msg, "in the container: ") || !strings.Contains(err.Msg, tt.want) {
				t.Errorf("unexpected error:\n- want: %s\n-  got: %v", tt.want, err)
			}
			check(t, n, c.first, c.firstResult)
			add(t, n.NS, c.second)
			check(t, n, c.second, c.result)
		})
	}
}

// A second network's destinations are not for what has the first one's address: answers to them leave by its own ENI.
func TestDestinationsAreNotForOtherAddresses(t *testing.T) {
	n := prepared(t)
	strict(t, n.NS)
	c := attachTwice(t, n, n.conf("eni-1"), with(n.conf("eni-2"), map[string]any{
		"routes": []any{map[string]any{"dst": otherIP + "/32"}},
	}))
	strict(t, c.NS)
	c.wantBoth(t)
	if _, err := ping(t, c.NS, "", otherIP); err != nil {
		t.Error(err)
	}
}

// Two stores that count tables, or number ENIs, alike would cut the first one's containers off.
func TestATableOfAnotherStoreIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, v variant) {
		anotherStoreIsRefused(t, v, 2, `table 2 has the default route of eth1: networks with stores of their own need a "tableBase" each`)
	})
}

func TestANumberOfAnotherStoreIsRefused(t *testing.T) {
	anotherStoreIsRefused(t, variant{netconf.PerENI, netconf.TCX}, 2+store.Numbers, `the rule "1536: from all fwmark 0x2/0x3f lookup 2" takes the number 2 to a table of eth1`)
}

func anotherStoreIsRefused(t *testing.T, v variant, table int, want string) {
	t.Helper()
	n := preparedOf(t, v)
	ns := nstest.New(t)
	add(t, n.NS, plugin{id: "a", netns: ns.Path(), conf: n.conf("eni-1")})
	other := t.TempDir()
	err := store.At(other).Update(t.Context(), func(tx *store.Tx) error {
		mine := ports()[2]
		mine.eni.Table = table
		return errors.Join(tx.PutENI(mine.eni), tx.AddAddresses(mine.eni.ID, []netip.Addr{netip.MustParseAddr(mine.ips[0])}))
	})
	if err != nil {
		t.Fatal(err)
	}
	conf := with(n.conf("eni-2"), map[string]any{"name": "other", "ipam": map[string]any{"type": "eni-ipam", "dataDir": other, "eni": "eni-2"}})
	_, refused := run(t, n.NS, plugin{verb: "ADD", id: "b", netns: nstest.New(t).Path(), conf: conf})
	if refused == nil || refused.Code != 101 || !strings.Contains(refused.Msg, want) {
		t.Errorf("unexpected error: %v", refused)
	}
	if _, err := ping(t, ns, "", otherIP); err != nil {
		t.Error(err)
	}
}

// Which interface has the default route is each family's own affair: a second interface has that of IPv6 where the first has
// IPv4 alone, and stands beside one that has both.
func TestTheDefaultRouteOfEachFamily(t *testing.T) {
	tests := []struct {
		name  string
		first func(n *node) map[string]any
		want  string // the interface of IPv6's default route
	}{
		{"IPv4 alone, then both", func(n *node) map[string]any { return n.conf("eni-1") }, "net1"},
		{"both, then both", func(n *node) map[string]any { return n.conf6("eni-1", "", first6) }, "eth0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode6(t)
			c := attachTwice(t, n, tt.first(n), n.conf6("eni-2", "", other6))
			c.wantBoth(t)
			for _, to := range []string{otherIP, far6} {
				if _, err := ping(t, c.NS, "", to); err != nil {
					t.Error(err)
				}
			}
			if _, err := ping(t, c.NS, other6, far6); err != nil {
				t.Error(err)
			}
			if _, err := ping(t, n.vpc, far6, other6); err != nil {
				t.Error(err)
			}
			c.Do(func() error {
				route, err := netlink.RouteGet(net.ParseIP(far6))
				if err != nil {
					return err
				}
				link, err := netlink.LinkByIndex(route[0].LinkIndex)
				if err == nil && link.Attrs().Name != tt.want {
					t.Errorf("IPv6 leaves by %s, want %s", link.Attrs().Name, tt.want)
				}
				return err
			})
			check(t, n, c.first, c.firstResult)
			check(t, n, c.second, c.result)
			add(t, n.NS, c.second)
			check(t, n, c.first, c.firstResult)
		})
	}
}
