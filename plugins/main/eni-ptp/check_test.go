package main

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// Each single piece of what ADD makes is taken away by hand: CHECK must name it. Where ADD can bring it back, it does.
func TestCheckNamesEachPiece(t *testing.T) { onEach(t, checkNamesEachPieceOn) }

func checkNamesEachPieceOn(t *testing.T, v variant) {
	veth := layout.Identify("pod", "a", "eth0").Veth
	host := func(f func() error) func(*node, *nstest.NS) { return func(n *node, _ *nstest.NS) { n.Do(f) } }
	inside := func(f func() error) func(*node, *nstest.NS) { return func(_ *node, c *nstest.NS) { c.Do(f) } }
	tests := []piece{
		{name: "forwarding", damage: host(func() error { return sysctl("ipv4/ip_forward", "0") }), want: "sysctl net/ipv4/ip_forward is 0, not 1"},
		{name: "primary's rp_filter", damage: host(func() error { return sysctl("ipv4/conf/eth0/rp_filter", "1") }), want: "sysctl net/ipv4/conf/eth0/rp_filter is 1, not 2"},
		{name: "ENI's rp_filter", damage: host(func() error { return sysctl("ipv4/conf/eth1/rp_filter", "0") }), want: "sysctl net/ipv4/conf/eth1/rp_filter is 0, not 2"},
		{name: "ENI down", damage: host(func() error { return down("eth1") }), want: "link eth1 is down"},
		{name: "ENI's MTU", damage: host(func() error { return mtu("eth1", 1400) }), want: "link eth1 has mtu 1400, not 1450"},
		{name: "ENI's address", damage: host(func() error { return delAddr("eth1", "10.19.16.17/32") }), want: "address 10.19.16.17/32 is missing on eth1"},
		{name: "ENI's foreign address", damage: host(func() error { return up("eth1", "10.19.16.99/32") }), want: "address 10.19.16.99/32 is on eth1"},
		{name: "ENI's route in main", damage: host(func() error { return delRoute("eth1", 254, "10.19.16.17/32") }), want: `route "10.19.16.17 dev eth1 scope link" is missing`},
		{name: "ENI's gateway", damage: host(func() error { return delRoute("eth1", 2, "10.19.16.1/32") }), want: `route "10.19.16.1 dev eth1 table 2 scope link" is missing`},
		{name: "ENI's default route", damage: host(func() error { return delRoute("eth1", 2, "0.0.0.0/0") }), want: `route "default via 10.19.16.1 dev eth1 table 2" is missing`},
		{name: "subnet's route in main", damage: host(func() error { return addRoute("eth1", "10.19.16.0/20") }), want: `route "10.19.16.0/20 dev eth1 scope link" is there and must not be`},
		{name: "rule to the ENI", damage: host(func() error { return delRule(512, "", "10.19.16.17/32") }), want: `rule "512: from all to 10.19.16.17 lookup main" is missing`},
		{name: "rule from the ENI", damage: host(func() error { return delRule(1536, "10.19.16.17/32", "") }), want: `rule "1536: from 10.19.16.17 lookup 2" is missing`},
		{name: "ENI", damage: host(func() error { return delLink("eth1") }), want: "the link of eni-1 is missing", stays: true},
		{name: "veth", damage: host(func() error { return delLink(veth) }), want: "link " + veth + " is missing"},
		{name: "veth down", damage: host(func() error { return down(veth) }), want: "link " + veth + " is down"},
		{name: "proxy ARP", damage: host(func() error { return sysctl("ipv4/conf/"+veth+"/proxy_arp", "0") }), want: "/proxy_arp is 0, not 1"},
		{name: "proxy delay", damage: host(func() error { return sysctl("ipv4/neigh/"+veth+"/proxy_delay", "80") }), want: "/proxy_delay is 80, not 0"},
		{name: "host route", damage: host(func() error { return delRoute(veth, v.table(), "10.19.16.6/32") }), want: `route "10.19.16.6 dev ` + veth + v.in() + ` scope link" is missing`},
		{name: "source of the host route", damage: host(func() error {
			return errors.Join(delRoute(veth, v.table(), "10.19.16.6/32"), addRouteIn(veth, v.table(), "10.19.16.6/32"))
		}), want: "packets to 10.19.16.6 get the source address 172.17.0.1, not 10.19.0.22"},
		{name: "loopback", damage: inside(func() error { return down("lo") }), want: "in the container: link lo is down"},
		{name: "interface down", damage: inside(func() error { return down("eth0") }), want: "in the container: link eth0 is down"},
		{name: "interface renamed", damage: inside(func() error { return rename("eth0", "eth7") }), want: "in the container: link eth0 is missing", stays: true},
		{name: "address", damage: inside(func() error { return delAddr("eth0", "10.19.16.6/32") }), want: "in the container: address 10.19.16.6/32 is missing on eth0"},
		{name: "default route", damage: inside(func() error { return delRoute("eth0", 254, "0.0.0.0/0") }), want: `in the container: "ip route get 192.0.2.1 from 10.19.16.6" finds no route, not "default via 169.254.1.1 dev eth0"`},
		{name: "gateway route", damage: inside(func() error { return delRoute("eth0", 254, "169.254.1.1/32") }), want: `in the container: "ip route get 169.254.1.1 from 10.19.16.6" finds "default via 169.254.1.1 dev eth0", not "169.254.1.1 dev eth0 scope link"`},
		{name: "neighbour", damage: inside(delNeigh), want: `in the container: neighbour "169.254.1.1 dev eth0 lladdr `},
		{name: "IPAM", damage: func(*node, *nstest.NS) {}, want: "the stand-in was told to fail", stays: true},
	}
	tests = append(tests, piecesOf(v, veth)...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNodeOf(t, v)
			container := nstest.New(t)
			p := plugin{verb: "ADD", id: "a", netns: container.Path(), conf: n.conf("eni-1")}
			r := add(t, n.NS, p)
			check := p
			check.verb, check.conf = "CHECK", with(p.conf, map[string]any{"prevResult": r})
			succeed(t, n.NS, check)
			tt.damage(n, container)
			if tt.name == "IPAM" {
				check.conf["ipam"] = with(check.conf["ipam"].(map[string]any), map[string]any{"fail": "CHECK"})
			}
			_, err := run(t, n.NS, check)
			if err == nil || !strings.Contains(err.Msg, tt.want) || err.Code != 103 && tt.name != "IPAM" {
				t.Errorf("unexpected error:\n- want: %s\n-  got: %v", tt.want, err)
			}
			if !tt.stays {
				check.conf["prevResult"] = add(t, n.NS, p)
				succeed(t, n.NS, check)
			}
		})
	}
}

// piece is one that is taken away by hand.
type piece struct {
	name   string
	damage func(n *node, container *nstest.NS)
	want   string
	stays  bool // an ADD cannot bring it back
}

// piecesOf are those of a variant alone.
func piecesOf(v variant, veth string) []piece {
	host := func(f func() error) func(*node, *nstest.NS) { return func(n *node, _ *nstest.NS) { n.Do(f) } }
	nft := func(line string) func(*node, *nstest.NS) {
		return host(func() error { return exec.Command("nft", strings.Fields(line)...).Run() })
	}
	if v.routing == netconf.PerPod {
		return []piece{
			{name: "rule to", damage: host(func() error { return delRule(512, "", "10.19.16.6/32") }), want: `rule "512: from all to 10.19.16.6 lookup main" is missing`},
			{name: "rule from", damage: host(func() error { return delRule(1536, "10.19.16.6/32", "") }), want: `rule "1536: from 10.19.16.6 lookup 2" is missing`},
			{name: "stale rule", damage: host(func() error {
				return errors.Join(delRule(1536, "10.19.16.6/32", ""), addRule(1536, "10.19.16.6/32", 3, layout.Protocol),
					addRule(1536, "10.19.16.6/32", 2, layout.Protocol))
			}), want: `rule "1536: from 10.19.16.6 lookup 3" stands where "1536: from 10.19.16.6 lookup 2" belongs`},
		}
	}
	nothing := "nothing marks the packets of " + veth + " with 0x2: "
	pieces := []piece{
		{name: "containers' rule", damage: host(func() error { return delShared(512, 0, layout.TablePods) }), want: `rule "512: from all lookup 101512" is missing`},
		{name: "number's rule", damage: host(func() error { return delShared(1536, 2, 2) }), want: `rule "1536: from all fwmark 0x2/0x3f lookup 2" is missing`},
		{name: "number's rule of an earlier table", damage: host(func() error {
			return errors.Join(delShared(1536, 2, 2), addShared(1536, 2, 9), addShared(1536, 2, 2))
		}), want: `rule "1536: from all fwmark 0x2/0x3f lookup 9" stands where "1536: from all fwmark 0x2/0x3f lookup 2" belongs`},
		{name: "marks", damage: host(func() error { return unmark(veth) }), want: nothing},
	}
	if v.marking == netconf.NFTables {
		pieces = append(pieces,
			piece{name: "element", damage: nft("delete element ip enichain-eni eni { 10.19.16.6 }"), want: "table ip enichain-eni gives 10.19.16.6 the number 0, not 2"},
			piece{name: "element of another ENI", damage: func(n *node, container *nstest.NS) {
				nft("delete element ip enichain-eni eni { 10.19.16.6 }")(n, container)
				nft("add element ip enichain-eni eni { 10.19.16.6 : 3 }")(n, container)
			}, want: "table ip enichain-eni gives 10.19.16.6 the number 3, not 2"},
			piece{name: "rule of nftables", damage: nft("flush chain ip enichain-eni pods"), want: "the rule of table ip enichain-eni is not enichain's"},
			piece{name: "table", damage: nft("delete table ip enichain-eni"), want: "table ip enichain-eni gives 10.19.16.6 the number 0, not 2"})
	}
	return pieces
}

// unmark takes from a veth what marks its packets.
func unmark(veth string) error {
	h, err := netstate.Here()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(veth)
	if err != nil {
		return err
	}
	return marking.Clear(h, link)
}

// shared is a rule for no address in particular.
func shared(pref int, mark uint32, table int) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Protocol = netlink.FAMILY_V4, pref, table, layout.Protocol
	if mark != 0 {
		bits := uint32(layout.MaskENI)
		r.Mark, r.Mask = mark, &bits
	}
	return r
}

func addShared(pref int, mark uint32, table int) error {
	return netlink.RuleAdd(shared(pref, mark, table))
}

func delShared(pref int, mark uint32, table int) error {
	return netlink.RuleDel(shared(pref, mark, table))
}

// What chained plugins change is no difference: sbr moves the container's routes to a table of its own.
func TestCheckToleratesSBR(t *testing.T) {
	n := newNode(t)
	container := nstest.New(t)
	p := plugin{id: "a", netns: container.Path(), conf: n.conf("eni-1")}
	r := add(t, n.NS, p)
	container.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		index := eth0.Attrs().Index
		gw := netlink.NewIPNet(net.IP{169, 254, 1, 1})
		return errors.Join(
			netlink.RouteAdd(&netlink.Route{LinkIndex: index, Table: 100, Dst: gw, Scope: netlink.SCOPE_LINK}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: index, Table: 100, Gw: gw.IP, Flags: int(netlink.FLAG_ONLINK)}),
			addRule(100, "10.19.16.6/32", 100, 0),
			delRoute("eth0", 254, "0.0.0.0/0"), delRoute("eth0", 254, "169.254.1.1/32"),
			netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "net1"}}),
		)
	})
	p.verb, p.conf = "CHECK", with(p.conf, map[string]any{"prevResult": r})
	succeed(t, n.NS, p)
}

func TestCheckWantsAPrevResult(t *testing.T) {
	n := newNode(t)
	ns := nstest.New(t)
	p := plugin{id: "a", netns: ns.Path(), conf: n.conf("eni-1")}
	add(t, n.NS, p)
	p.verb = "CHECK"
	if _, err := run(t, n.NS, p); err == nil || err.Code != 7 || err.Msg != "prevResult is missing" {
		t.Errorf("unexpected error: %v", err)
	}
	p.conf = with(p.conf, map[string]any{"prevResult": map[string]any{"cniVersion": "1.1.0"}})
	if _, err := run(t, n.NS, p); err == nil || err.Code != 103 || !strings.Contains(err.Msg, "prevResult has no address of eth0") {
		t.Errorf("unexpected error: %v", err)
	}
	p.netns = "/run/netns/no-such"
	if _, err := run(t, n.NS, p); err == nil || err.Code != 8 {
		t.Errorf("unexpected error: %v", err)
	}
}

func down(name string) error {
	return onLink(name, func(l netlink.Link) error { return netlink.LinkSetDown(l) })
}

func mtu(name string, mtu int) error {
	return onLink(name, func(l netlink.Link) error { return netlink.LinkSetMTU(l, mtu) })
}

func delLink(name string) error {
	return onLink(name, func(l netlink.Link) error { return netlink.LinkDel(l) })
}

func rename(name, other string) error {
	return onLink(name, func(l netlink.Link) error {
		return errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, other))
	})
}

func delAddr(name, address string) error {
	return onLink(name, func(l netlink.Link) error {
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, a)
	})
}

func delNeigh() error {
	return onLink("eth0", func(l netlink.Link) error {
		return netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: net.IP{169, 254, 1, 1}})
	})
}

func onLink(name string, f func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return f(l)
}

func addRoute(name, dst string) error { return addRouteIn(name, 0, dst) }

func addRouteIn(name string, table int, dst string) error {
	return onLink(name, func(l netlink.Link) error {
		_, to, err := net.ParseCIDR(dst)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Table: table, Dst: to, Scope: netlink.SCOPE_LINK})
	})
}

func delRoute(name string, table int, dst string) error {
	return onLink(name, func(l netlink.Link) error {
		_, to, err := net.ParseCIDR(dst)
		if err != nil {
			return err
		}
		// Scope nowhere matches any.
		return netlink.RouteDel(&netlink.Route{LinkIndex: l.Attrs().Index, Table: table, Dst: to, Scope: netlink.SCOPE_NOWHERE})
	})
}

func addRule(pref int, from string, table int, protocol uint8) error {
	r := netlink.NewRule()
	r.Priority, r.Table, r.Protocol = pref, table, protocol
	_, src, err := net.ParseCIDR(from)
	if err != nil {
		return err
	}
	r.Src = src
	return netlink.RuleAdd(r)
}

func delRule(pref int, from, to string) error {
	r := netlink.NewRule()
	r.Priority = pref
	for s, into := range map[string]**net.IPNet{from: &r.Src, to: &r.Dst} {
		if s == "" {
			continue
		}
		_, n, err := net.ParseCIDR(s)
		if err != nil {
			return err
		}
		*into = n
	}
	return netlink.RuleDel(r)
}
