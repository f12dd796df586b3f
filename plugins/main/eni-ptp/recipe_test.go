package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// Recipes 3 and 4: a container on an ENI of another subnet and one on an ENI of the primary's subnet, and one on the
// primary ENI; rules and routes are the recipe's, and each reaches what the recipe reaches.
func TestRecipes(t *testing.T) { onEach(t, recipesOn) }

func recipesOn(t *testing.T, v variant) {
	n := newNodeOf(t, v)
	a, b, c := nstest.New(t), nstest.New(t), nstest.New(t)
	add(t, n.NS, plugin{id: "a", netns: a.Path(), conf: n.conf("eni-1")})
	add(t, n.NS, plugin{id: "b", netns: b.Path(), conf: n.conf("eni-2")})
	add(t, n.NS, plugin{id: "c", netns: c.Path(), conf: n.conf("eni-0")})

	wantRules := []string{
		"512: from all to 10.19.16.17 lookup main",
		"512: from all to 10.19.16.6 lookup main",
		"512: from all to 10.19.0.24 lookup main",
		"512: from all to 10.19.0.17 lookup main",
		"512: from all to 10.19.0.40 lookup main",
		"1536: from 10.19.16.17 lookup 2",
		"1536: from 10.19.16.6 lookup 2",
		"1536: from 10.19.0.24 lookup 3",
		"1536: from 10.19.0.17 lookup 3",
	}
	main, pods := []string{
		"10.19.0.0/20 dev eth0 scope link src 10.19.0.22",
		"10.19.0.24 dev eth2 scope link",
		"10.19.16.17 dev eth1 scope link",
		"172.17.0.0/16 dev docker0 scope link src 172.17.0.1",
		"default via 10.19.0.1 dev eth0",
	}, []string{
		"10.19.0.17 dev podX" + v.in() + " scope link src 10.19.0.22",
		"10.19.0.40 dev podX" + v.in() + " scope link src 10.19.0.22",
		"10.19.16.6 dev podX" + v.in() + " scope link src 10.19.0.22",
	}
	if v.routing == netconf.PerENI {
		wantRules = []string{
			"512: from all to 10.19.16.17 lookup main",
			"512: from all lookup 101512",
			"512: from all to 10.19.0.24 lookup main",
			"1536: from all fwmark 0x2/0x3f lookup 2",
			"1536: from 10.19.16.17 lookup 2",
			"1536: from all fwmark 0x3/0x3f lookup 3",
			"1536: from 10.19.0.24 lookup 3",
		}
	} else {
		main, pods = append(main, pods...), nil
		slices.Sort(main)
	}
	if diff := cmp.Diff(wantRules, rules(t, n.NS)); diff != "" {
		t.Errorf("unexpected rules (-want +got):\n%s", diff)
	}
	for table, want := range map[int][]string{
		layout.TableMain: main, layout.TablePods: pods,
		2: {"10.19.16.1 dev eth1 table 2 scope link", "default via 10.19.16.1 dev eth1 table 2"},
		3: {"10.19.0.1 dev eth2 table 3 scope link", "default via 10.19.0.1 dev eth2 table 3"},
	} {
		if diff := cmp.Diff(want, routes(t, n.NS, table)); diff != "" {
			t.Errorf("unexpected routes in table %d (-want +got):\n%s", table, diff)
		}
	}
	inside := []string{"169.254.1.1 dev eth0 scope link", "default via 169.254.1.1 dev eth0"}
	for _, container := range []*nstest.NS{a, b, c} {
		if diff := cmp.Diff(inside, routes(t, container, layout.TableMain)); diff != "" {
			t.Errorf("unexpected routes in a container (-want +got):\n%s", diff)
		}
	}

	walks := []struct {
		name     string
		in       *nstest.NS
		from, to string
		ttl      int
	}{
		{"ENI of another subnet to another host", n.NS, "10.19.16.17", otherIP, 64},
		{"ENI of the same subnet to another host", n.NS, "10.19.0.24", otherIP, 64},
		{"container to another host, one hop more", a, "", otherIP, 63},
		{"container to its ENI's address", a, "", "10.19.16.17", 64},
		{"container to its node", a, "", nodeIP, 64},
		{"container to a container on another ENI", a, "", "10.19.0.17", 63},
		{"container to a container on the primary ENI", a, "", "10.19.0.40", 63},
		{"container on the same subnet's ENI to another host", b, "", otherIP, 63},
		{"container on the primary ENI to another host", c, "", otherIP, 63},
		{"node to container", n.NS, "", "10.19.16.6", 64},
		{"node to container on the primary ENI", n.NS, "", "10.19.0.40", 64},
		{"another host to container", n.vpc, otherIP, "10.19.16.6", 63},
		{"another host to container on the same subnet's ENI", n.vpc, otherIP, "10.19.0.17", 63},
		{"container to itself", a, "", "10.19.16.6", 64},
	}
	for _, w := range walks {
		ttl, err := ping(t, w.in, w.from, w.to)
		if err != nil {
			t.Errorf("%s: %v", w.name, err)
		} else if ttl != w.ttl {
			t.Errorf("%s: the reply has TTL %d, not %d", w.name, ttl, w.ttl)
		}
	}
}

// The VPC of these tests drops a source that is not the ENI's: without its rule a container reaches nobody. That proves
// that the walks above are proof.
func TestTheWrongENIIsDropped(t *testing.T) { onEach(t, theWrongENIIsDroppedOn) }

func theWrongENIIsDroppedOn(t *testing.T, v variant) {
	n := newNodeOf(t, v)
	a := nstest.New(t)
	add(t, n.NS, plugin{id: "a", netns: a.Path(), conf: n.conf("eni-1")})
	n.Do(func() error {
		r := netlink.NewRule()
		r.Priority, r.Table = 1536, 2
		if v.routing == netconf.PerENI {
			bits := uint32(layout.MaskENI)
			r.Mark, r.Mask = 2, &bits
		} else {
			r.Src = netlink.NewIPNet([]byte{10, 19, 16, 6})
		}
		return netlink.RuleDel(r)
	})
	if _, err := ping(t, a, "", otherIP); err == nil {
		t.Error("a packet left by the wrong ENI and was answered")
	}
}

// The kernel's choice of an MTU, an ENI's, and the configured one.
func TestMTU(t *testing.T) {
	n := newNode(t)
	n.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(eth0, 1480)
	})
	tests := []struct {
		name string
		conf map[string]any
		want int
	}{
		{"of its ENI", n.conf("eni-1"), 1450},
		{"of another IPAM's address: the uplink's", hostLocal(t), 1480},
		{"as configured", with(n.conf("eni-2"), map[string]any{"mtu": 1300}), 1300},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := nstest.New(t)
			r := add(t, n.NS, plugin{id: string(rune('a' + i)), netns: ns.Path(), conf: tt.conf})
			for _, l := range r.Interfaces {
				if l.Mtu != tt.want {
					t.Errorf("%s has MTU %d, not %d", l.Name, l.Mtu, tt.want)
				}
			}
		})
	}
}

// A chained tuning that changes the MAC makes the kernel forget the permanent neighbour: the host then answers ARP, at
// once, and CHECK takes no offence.
func TestAChangedMACStaysReachable(t *testing.T) {
	n := newNode(t)
	a := nstest.New(t)
	p := plugin{id: "a", netns: a.Path(), conf: n.conf("eni-1")}
	r := add(t, n.NS, p)
	a.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetHardwareAddr(eth0, []byte{0xc2, 0xb0, 0x57, 0x49, 0x47, 0xf1}); err != nil {
			return err
		}
		neighs, err := netlink.NeighList(eth0.Attrs().Index, netlink.FAMILY_V4)
		for _, neigh := range neighs {
			if neigh.State&netlink.NUD_PERMANENT != 0 {
				t.Errorf("the kernel kept %s: this test shows nothing", neigh.IP)
			}
		}
		return err
	})
	if _, err := ping(t, a, "", otherIP); err != nil {
		t.Error(err)
	}
	p.verb, p.conf = "CHECK", with(p.conf, map[string]any{"prevResult": r})
	succeed(t, n.NS, p)
}
