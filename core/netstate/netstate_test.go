package netstate_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
)

// in runs f with a handle of a new namespace that has links eth0 and eth1.
func in(t *testing.T, f func(h *netstate.Handle) error) {
	t.Helper()
	ns := nstest.New(t)
	ns.Do(func() error {
		for _, name := range []string{"eth0", "eth1"} {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = name
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-far"}); err != nil {
				return err
			}
			far, err := netlink.LinkByName(name + "-far")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(far); err != nil {
				return err
			}
		}
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		return f(h)
	})
}

func eni(t *testing.T, h *netstate.Handle) store.ENI {
	t.Helper()
	l, err := h.LinkByName("eth1")
	if err != nil {
		t.Fatal(err)
	}
	return store.ENI{
		ID: "eni-1", MAC: l.MAC.String(), DeviceIndex: 1, Table: 2, MTU: 1400,
		Subnet:    netip.MustParsePrefix("10.0.16.0/20"),
		Gateway:   netip.MustParseAddr("10.0.16.1"),
		PrimaryIP: netip.MustParseAddr("10.0.16.17"),
	}
}

func TestPrepareENI(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		e := eni(t, h)
		// What a DHCP client leaves: the same address with the subnet's mask, the subnet's route, and another address.
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(eth1); err != nil {
			return err
		}
		for _, a := range []string{"10.0.16.17/20", "10.0.16.99/20", "172.20.0.1/24"} {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(eth1, addr); err != nil {
				return err
			}
		}
		for range 2 {
			link, err := h.PrepareENI(e, netconf.PerPod)
			if err != nil {
				return err
			}
			if link.Name != "eth1" || link.MTU != 1400 || !link.Up {
				t.Errorf("unexpected link %+v", link)
			}
			want := []string{
				"rule 512: from all to 10.0.16.17 lookup main",
				"rule 1536: from 10.0.16.17 lookup 2",
				"main 10.0.16.17 dev eth1 scope link",
				"2 10.0.16.1 dev eth1 scope link",
				"2 default via 10.0.16.1 dev eth1",
				"addr 10.0.16.17/32",
			}
			if diff := cmp.Diff(want, dump(t, "eth1")); diff != "" {
				t.Errorf("unexpected state (-want +got):\n%s", diff)
			}
		}
		return nil
	})
}

// dump lists rules that are not the kernel's, main's and table 2's routes by the device, and its addresses.
func dump(t *testing.T, device string) []string {
	t.Helper()
	var out []string
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range rules {
		if k.Protocol == unix.RTPROT_KERNEL {
			continue
		}
		r := layout.Rule{Pref: k.Priority, Table: k.Table, Mark: k.Mark}
		if k.Src != nil {
			r.From = netip.MustParsePrefix(k.Src.String())
		}
		if k.Dst != nil {
			r.To = netip.MustParsePrefix(k.Dst.String())
		}
		out = append(out, "rule "+r.String())
	}
	link, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []struct {
		id   int
		name string
	}{{254, "main"}, {2, "2"}} {
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4,
			&netlink.Route{Table: table.id, LinkIndex: link.Attrs().Index}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(routes) - 1; i >= 0; i-- { // the kernel lists the default route first
			out = append(out, table.name+" "+words(routes[i], device))
		}
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		out = append(out, "addr "+a.IPNet.String())
	}
	return out
}

func words(k netlink.Route, device string) string {
	r := layout.Route{Dev: layout.Device{Name: device}}
	if k.Dst != nil {
		r.Dst = netip.MustParsePrefix(k.Dst.String())
	}
	if k.Gw != nil {
		r.Via = netip.MustParseAddr(k.Gw.String())
	}
	return r.String()
}

func TestPrepareENIConcurrently(t *testing.T) {
	ns := nstest.New(t)
	var e store.ENI
	ns.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "far"}); err != nil {
			return err
		}
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		e = eni(t, h)
		return nil
	})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			netns, err := sandbox.Open(ns.Path())
			if err != nil {
				t.Error(err)
				return
			}
			defer netns.Close()
			ns.Do(func() error {
				h, err := netstate.At(netns)
				if err != nil {
					return err
				}
				defer h.Close()
				if _, err := h.PrepareENI(e, netconf.PerPod); err != nil {
					t.Error(err)
				}
				return nil
			})
		})
	}
	wg.Wait()
	ns.Do(func() error {
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		link, err := h.ENILink(e)
		if err != nil {
			return err
		}
		if d, err := h.Diff(layout.ENI(e, link.Device, netconf.PerPod)); d != "" || err != nil {
			t.Errorf("after 32 at once: %q %v", d, err)
		}
		return nil
	})
}

// Each piece of an ENI's state is taken away by hand; Diff must name it, and PrepareENI must bring it back.
func TestENIPieces(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, eth1 netlink.Link)
		want   string
		// unseen: PrepareENI's short check does not look there.
		unseen bool
	}{
		{name: "down", damage: func(t *testing.T, l netlink.Link) { must(t, netlink.LinkSetDown(l)) }, want: "link eth1 is down"},
		{name: "mtu", damage: func(t *testing.T, l netlink.Link) { must(t, netlink.LinkSetMTU(l, 1300)) }, want: "link eth1 has mtu 1300, not 1400"},
		{name: "address", damage: func(t *testing.T, l netlink.Link) {
			must(t, netlink.AddrDel(l, address(t, "10.0.16.17/32")))
		}, want: "address 10.0.16.17/32 is missing on eth1"},
		{name: "foreign address", damage: func(t *testing.T, l netlink.Link) {
			must(t, netlink.AddrAdd(l, address(t, "10.0.16.50/32")))
		}, want: "address 10.0.16.50/32 is on eth1, which may have 10.0.16.17/32 alone", unseen: true},
		{name: "main route", damage: func(t *testing.T, l netlink.Link) {
			delRoute(t, l, 254, "10.0.16.17/32")
		}, want: `route "10.0.16.17 dev eth1 scope link" is missing`, unseen: true},
		{name: "gateway route", damage: func(t *testing.T, l netlink.Link) {
			delRoute(t, l, 2, "10.0.16.1/32")
		}, want: `route "10.0.16.1 dev eth1 table 2 scope link" is missing`, unseen: true},
		{name: "default route", damage: func(t *testing.T, l netlink.Link) {
			delRoute(t, l, 2, "0.0.0.0/0")
		}, want: `route "default via 10.0.16.1 dev eth1 table 2" is missing`},
		{name: "subnet route", damage: func(t *testing.T, l netlink.Link) {
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: network(t, "10.0.16.0/20"), Scope: netlink.SCOPE_LINK}))
		}, want: `route "10.0.16.0/20 dev eth1 scope link" is there and must not be`, unseen: true},
		{name: "rule to", damage: func(t *testing.T, _ netlink.Link) {
			must(t, netlink.RuleDel(rule(t, 512, "", "10.0.16.17/32", 254, layout.Protocol)))
		}, want: `rule "512: from all to 10.0.16.17 lookup main" is missing`, unseen: true},
		{name: "rule from", damage: func(t *testing.T, _ netlink.Link) {
			must(t, netlink.RuleDel(rule(t, 1536, "10.0.16.17/32", "", 2, layout.Protocol)))
		}, want: `rule "1536: from 10.0.16.17 lookup 2" is missing`},
		{name: "rule of an earlier table", damage: func(t *testing.T, _ netlink.Link) {
			must(t, netlink.RuleDel(rule(t, 1536, "10.0.16.17/32", "", 2, layout.Protocol)))
			must(t, netlink.RuleAdd(rule(t, 1536, "10.0.16.17/32", "", 7, layout.Protocol)))
			eth0, err := netlink.LinkByName("eth0")
			must(t, err)
			must(t, netlink.LinkSetUp(eth0))
			must(t, netlink.RouteAdd(&netlink.Route{
				LinkIndex: eth0.Attrs().Index, Table: 7, Dst: network(t, "0.0.0.0/0"), Scope: netlink.SCOPE_LINK,
			}))
			must(t, netlink.RuleAdd(rule(t, 1536, "10.0.16.17/32", "", 2, layout.Protocol)))
		}, want: `rule "1536: from 10.0.16.17 lookup 7" stands where "1536: from 10.0.16.17 lookup 2" belongs`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(h *netstate.Handle) error {
				e := eni(t, h)
				link, err := h.PrepareENI(e, netconf.PerPod)
				if err != nil {
					return err
				}
				state := layout.ENI(e, link.Device, netconf.PerPod)
				if d, err := h.Diff(state); d != "" || err != nil {
					t.Fatalf("right after its preparation: %q %v", d, err)
				}
				eth1, err := netlink.LinkByName("eth1")
				if err != nil {
					return err
				}
				tt.damage(t, eth1)
				if d, err := h.Diff(state); d != tt.want || err != nil {
					t.Errorf("unexpected difference:\n- want: %s\n-  got: %s %v", tt.want, d, err)
				}
				prepare := h.PrepareENI
				if tt.unseen {
					prepare = h.RepairENI
				}
				if _, err := prepare(e, netconf.PerPod); err != nil {
					return err
				}
				if d, err := h.Diff(state); d != "" || err != nil {
					t.Errorf("not healed: %q %v", d, err)
				}
				return nil
			})
		})
	}
}

func TestRemoveRules(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		ip := netip.MustParseAddr("10.0.16.6")
		must(t, netlink.RuleAdd(rule(t, 1536, "10.0.16.6/32", "", 9, 4))) // another's, at our priority
		must(t, netlink.RuleAdd(rule(t, 1536, "10.0.16.6/32", "", 2, layout.Protocol)))
		must(t, netlink.RuleAdd(rule(t, 1536, "10.0.16.6/32", "", 3, layout.Protocol)))
		must(t, netlink.RuleAdd(rule(t, 1536, "10.0.16.60/32", "", 3, layout.Protocol)))
		must(t, netlink.RuleAdd(rule(t, 512, "", "10.0.16.6/32", 254, layout.Protocol)))
		for _, want := range []int{3, 0} {
			n, err := h.RemoveRules(netstate.ForAddress(ip)...)
			if n != want || err != nil {
				t.Errorf("removed %d, not %d: %v", n, want, err)
			}
		}
		want := []string{"rule 1536: from 10.0.16.6 lookup 9", "rule 1536: from 10.0.16.60 lookup 3"}
		if diff := cmp.Diff(want, dump(t, "eth0")); diff != "" {
			t.Errorf("unexpected rules (-want +got):\n%s", diff)
		}
		return nil
	})
}

// A rule of a device is told from one of another, and need not have the device to go.
// A rule that selects nothing is in the kernel's eyes each of ours with its preference.
func TestRemoveRulesOfNobodyRemovesNone(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		rule := layout.Rule{Pref: layout.PrefFromContainer, From: netip.MustParsePrefix("10.19.16.5/32"), Table: 2}
		if err := h.Apply(layout.State{Rules: []layout.Rule{rule}}); err != nil {
			return err
		}
		if n, err := h.RemoveRules(layout.Rule{Pref: layout.PrefFromContainer, Mask: layout.MaskENI, Table: 2}); n > 0 || err == nil {
			t.Errorf("%d rules were removed: %v", n, err)
		}
		d, err := h.Diff(layout.State{Rules: []layout.Rule{rule}})
		if d != "" {
			t.Error(d)
		}
		return err
	})
}

func TestRuleOfADevice(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		here := layout.Rule{Pref: 1536, Out: "eth1", Table: 300}
		gone := layout.Rule{Pref: 1536, Out: "gone", Table: 300}
		must(t, h.Apply(layout.State{Rules: []layout.Rule{gone, here}}))
		for _, want := range []string{"", `rule "1536: from all oif eth1 lookup 300" is missing`} {
			if d, err := h.Diff(layout.State{Rules: []layout.Rule{here}}); d != want || err != nil {
				t.Errorf("got %q, want %q: %v", d, want, err)
			}
			if _, err := h.RemoveRules(here); err != nil {
				return err
			}
		}
		if d, err := h.Diff(layout.State{Rules: []layout.Rule{gone}}); d != "" || err != nil {
			t.Errorf("another's rule went too: %q %v", d, err)
		}
		n, err := h.RemoveRules(gone)
		if n != 1 {
			t.Errorf("removed %d", n)
		}
		return err
	})
}

func TestMarkRule(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		for range 2 {
			if err := h.EnsureRule(layout.MarkRule(family.IPv4)); err != nil {
				return err
			}
		}
		if diff := cmp.Diff([]string{"rule 1024: from all fwmark 0x80/0x80 lookup main"}, dump(t, "eth0")); diff != "" {
			t.Errorf("unexpected rules (-want +got):\n%s", diff)
		}
		six := layout.State{Rules: []layout.Rule{layout.MarkRule(family.IPv6)}}
		if d, err := h.Diff(six); d != `IPv6 rule "1024: from all fwmark 0x80/0x80 lookup main" is missing` || err != nil {
			t.Errorf("with the rule of IPv4 alone: %q, %v", d, err)
		}
		if err := h.Apply(six); err != nil {
			return err
		}
		n, err := h.RemoveRules(layout.MarkRule(family.IPv4))
		if n != 1 || err != nil {
			t.Errorf("removed %d: %v", n, err)
		}
		if d, err := h.Diff(six); d != "" || err != nil {
			t.Errorf("with the rule of IPv6 alone: %q, %v", d, err)
		}
		return nil
	})
}

// A rule that goes on at another is compared with one that looks up a table by what it does.
func TestRuleGoto(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		rules := layout.NewRules([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")})
		for range 2 {
			if err := h.Apply(layout.State{Rules: rules}); err != nil {
				return err
			}
		}
		if d, err := h.Diff(layout.State{Rules: rules}); d != "" || err != nil {
			t.Errorf("diff after apply: %q %v", d, err)
		}
		other := rules[0]
		other.Goto, other.Table = 0, layout.TableMain
		want := `rule "1280: from all to 10.0.0.0/16 fwmark 0x40/0x40 goto 1536" stands where "1280: from all to 10.0.0.0/16 fwmark 0x40/0x40 lookup main" belongs`
		if d, err := h.Diff(layout.State{Rules: []layout.Rule{other}}); d != want || err != nil {
			t.Errorf("diff with another rule: %q %v", d, err)
		}
		for _, r := range rules {
			if err := h.RemoveRule(r); err != nil {
				return err
			}
		}
		if d, err := h.Diff(layout.State{Rules: rules[:1]}); !strings.Contains(d, "is missing") || err != nil {
			t.Errorf("diff after removal: %q %v", d, err)
		}
		return nil
	})
}

func TestENILink(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		e := eni(t, h)
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = "bridge", eth1.Attrs().HardwareAddr
		must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
		for _, hint := range []int{0, eth1.Attrs().Index, 1, 9999} {
			e.IfIndex = hint
			if l, err := h.ENILink(e); err != nil || l.Name != "eth1" {
				t.Errorf("with hint %d: %q %v", hint, l.Name, err)
			}
		}
		e.MAC = "02:00:00:00:00:99"
		if _, err := h.ENILink(e); err == nil || !strings.Contains(err.Error(), "link with MAC 02:00:00:00:00:99: no such link") {
			t.Errorf("unexpected error: %v", err)
		}
		e.MAC, e.Link = "", "eth0"
		if l, err := h.ENILink(e); err != nil || l.Name != "eth0" {
			t.Errorf("by name: %q %v", l.Name, err)
		}
		return nil
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func address(t *testing.T, s string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(s)
	must(t, err)
	return a
}

func network(t *testing.T, s string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(s)
	must(t, err)
	return n
}

func rule(t *testing.T, pref int, from, to string, table int, protocol uint8) *netlink.Rule {
	t.Helper()
	r := netlink.NewRule()
	r.Priority, r.Table, r.Protocol = pref, table, protocol
	if from != "" {
		r.Src = network(t, from)
	}
	if to != "" {
		r.Dst = network(t, to)
	}
	return r
}

func delRoute(t *testing.T, l netlink.Link, table int, dst string) {
	t.Helper()
	must(t, netlink.RouteDel(&netlink.Route{
		LinkIndex: l.Attrs().Index, Table: table, Dst: network(t, dst), Scope: netlink.SCOPE_NOWHERE, // any scope
	}))
}

// A route of one type of service is removed too, which the kernel finds by that alone.
func TestAbsentOfAService(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		dst := netip.MustParsePrefix("10.8.0.4/32")
		if err := errors.Join(netlink.LinkSetUp(eth1), netlink.RouteAdd(&netlink.Route{
			LinkIndex: eth1.Attrs().Index, Table: 5, Dst: network(t, dst.String()), Tos: 0x10, Scope: netlink.SCOPE_LINK,
		})); err != nil {
			return err
		}
		unwanted := layout.State{Absent: []layout.Route{{Dst: dst, Dev: layout.Device{Index: eth1.Attrs().Index, Name: "eth1"}, Table: 5}}}
		if d, err := h.Diff(unwanted); d == "" || err != nil {
			t.Errorf("while it is there: %q, %v", d, err)
		}
		if err := h.Apply(unwanted); err != nil {
			return err
		}
		if d, err := h.Diff(unwanted); d != "" || err != nil {
			t.Errorf("once removed: %q, %v", d, err)
		}
		return nil
	})
}

// A link may go between being found and being asked about: a container's namespace ends when it likes.
// A namespace dies when nobody is in it or holds it open.
func TestPeerLives(t *testing.T) {
	here, there := nstest.New(t), nstest.New(t)
	ns, err := sandbox.Open(there.Path())
	if err != nil {
		t.Fatal(err)
	}
	here.Do(func() error {
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		if _, err := h.AddVeth(netstate.Veth{Name: "pod1", Peer: "eth0", PeerIn: ns}); err != nil {
			return err
		}
		veth, err := h.LinkByName("pod1")
		if err != nil {
			return err
		}
		there.Close()
		if lives, err := h.PeerLives(veth); !lives || err != nil {
			t.Errorf("while it is held open: it lives: %v, error %v", lives, err)
		}
		_ = ns.Close()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // the kernel lets go of it in its own time
			lives, err := h.PeerLives(veth)
			if !lives && err == nil {
				break
			}
			if err != nil || time.Now().After(end) {
				t.Errorf("when nobody holds it: it lives: %v, error %v", lives, err)
				break
			}
		}
		lo, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		if lives, err := h.PeerLives(lo); lives || err != nil {
			t.Errorf("of no veth: it lives: %v, error %v", lives, err)
		}
		return nil
	})
}

func TestHostRoutesOfALinkThatIsGone(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		ips, err := h.HostRoutes(layout.Device{Index: 4711, Name: "gone"})
		if len(ips) > 0 {
			t.Errorf("a link that is gone has routes to %v", ips)
		}
		return err
	})
}
