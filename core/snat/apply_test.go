package snat

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// TestApplyRepeats shows that what is right already is not written again: handles, which the kernel counts up, stay.
func TestApplyRepeats(t *testing.T) {
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		if d := check(t, h, podnet()); d != "table ip enichain is missing" {
			t.Errorf("check of an empty kernel says %q", d)
		}
		if !apply(t, h, podnet()) {
			t.Error("the first apply changed nothing")
		}
		before := nft(t, "-a", "list", "ruleset")
		if apply(t, h, podnet()) {
			t.Error("the second apply wrote the table")
		}
		if diff := cmp.Diff(before, nft(t, "-a", "list", "ruleset")); diff != "" {
			t.Errorf("the second apply changed the table:\n%s", diff)
		}
		if d := check(t, h, podnet()); d != "" {
			t.Errorf("check after apply says %q", d)
		}
	})
}

// TestApplyHeals damages the table in every way, and wants Check to name the damage and Ensure, which had found all in place, to mend it.
func TestApplyHeals(t *testing.T) {
	const chain = "add chain ip enichain mark-podnet { type filter hook prerouting priority -90; policy accept; }"
	tests := []struct{ name, damage, want string }{
		{"table gone", `delete table ip enichain`, "table ip enichain is missing"},
		{"table asleep", `add table ip enichain { flags dormant; }`, "table ip enichain is dormant"},
		{"empty", `flush table ip enichain`, "lacks its rule 1: iifname"},
		{
			"set gone",
			`flush chain ip enichain mark-podnet; delete set ip enichain keep-podnet`,
			"set keep-podnet of table ip enichain is missing",
		},
		{
			"set of another type",
			`flush chain ip enichain mark-podnet; delete set ip enichain keep-podnet;
			 add set ip enichain keep-podnet { type inet_service; }`,
			"set keep-podnet of table ip enichain is not one of intervals of ipv4_addr",
		},
		{
			"names without patterns",
			`flush chain ip enichain mark-podnet; delete set ip enichain containers-podnet;
			 add set ip enichain containers-podnet { type ifname; }`,
			"set containers-podnet of table ip enichain is not one of intervals of ifname",
		},
		{"element gone", `delete element ip enichain keep-podnet { 10.0.0.0/16 }`, "lacks 10.0.0.0/16"},
		{"element more", `add element ip enichain keep-podnet { 8.8.8.0/24 }`, "has 8.8.8.0/24, which is not wanted"},
		{"element of one key more", `add element ip enichain keep-podnet { 8.8.8.8 }`, "has 8.8.8.8, which is not wanted"},
		{"range more", `add element ip enichain keep-podnet { 8.8.8.1-8.8.8.9 }`, "has 8.8.8.1-8.8.8.9, which is not wanted"},
		{
			"element wider",
			`delete element ip enichain keep-podnet { 10.0.0.0/16 }; add element ip enichain keep-podnet { 10.0.0.0/8 }`,
			"has 10.0.0.0/8, which is not wanted",
		},
		{"pattern gone", `flush set ip enichain containers-podnet`, `lacks "pod*"`},
		{"set more", `add set ip enichain include-podnet { type ipv4_addr; }`, "set include-podnet of table ip enichain is not wanted"},
		{"chain gone", `delete chain ip enichain snat-podnet`, "chain snat-podnet of table ip enichain is missing"},
		{"chain without hook", `delete chain ip enichain snat-podnet; add chain ip enichain snat-podnet`, "is not of type nat, hook postrouting"},
		{
			"chain at another priority",
			`delete chain ip enichain mark-podnet; ` + strings.Replace(chain, "-90", "-200", 1),
			"chain mark-podnet of table ip enichain is not of type filter, hook prerouting, priority dstnat + 10",
		},
		{
			"chain at another hook",
			`delete chain ip enichain mark-podnet; ` + strings.Replace(chain, "prerouting", "forward", 1),
			"is not of type filter, hook prerouting",
		},
		{"policy", strings.Replace(chain, "accept", "drop", 1), "does not have the policy accept"},
		{"rule more", `add rule ip enichain snat-podnet counter`, "has 1 rules too many"},
		{"rule before", `insert rule ip enichain snat-podnet accept`, "has another rule 1 than: oifname"},
		{
			"another address",
			`flush chain ip enichain snat-podnet; add rule ip enichain snat-podnet oifname "eth0" ` +
				`meta mark & 0x80 == 0x80 snat to 10.0.0.11 fully-random comment "the VPC takes only its own address here"`,
			"has another rule 1 than: oifname",
		},
		{
			"another comment",
			`flush chain ip enichain snat-podnet; add rule ip enichain snat-podnet oifname "eth0" ` +
				`meta mark & 0x80 == 0x80 snat to 10.0.0.10 fully-random comment "mine"`,
			"has another rule 1 than: oifname",
		},
		{
			"without random ports",
			`flush chain ip enichain snat-podnet; add rule ip enichain snat-podnet oifname "eth0" ` +
				`meta mark & 0x80 == 0x80 snat to 10.0.0.10 comment "the VPC takes only its own address here"`,
			"has another rule 1 than: oifname",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inside(t, nstest.New(t), func(h *netstate.Handle) {
				dir := stamped(t, h, podnet())
				sound := list(t)
				nft(t, tt.damage)
				if d := check(t, h, podnet()); !strings.Contains(d, tt.want) {
					t.Errorf("check says %q, want ...%s...", d, tt.want)
				}
				if !ensure(t, h, podnet(), dir) {
					t.Error("ensure changed nothing")
				}
				if d := check(t, h, podnet()); d != "" {
					t.Errorf("check afterwards says %q", d)
				}
				if diff := cmp.Diff(sorted(sound), sorted(list(t))); diff != "" {
					t.Errorf("ensure made another table:\n%s", diff)
				}
			})
		})
	}
}

// sorted returns the lines of a table without their order: a chain that was made anew comes last.
func sorted(table string) []string {
	all := lines(table)
	slices.Sort(all)
	return all
}

// TestApplySameByHand shows that rules which nft itself made of our words are the same to us.
func TestApplySameByHand(t *testing.T) {
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		apply(t, h, podnet())
		sound := list(t)
		nft(t, "delete table ip enichain")
		nft(t, sound)
		if d := check(t, h, podnet()); d != "" {
			t.Errorf("check says %q", d)
		}
	})
}

// TestNetworks shows that networks share the table and leave each other's part alone.
func TestNetworks(t *testing.T) {
	other := podnet()
	other.Network, other.Containers, other.Closed, other.NodePort = "other", []string{"oth*"}, true, false
	off := podnet()
	off.SNAT, off.NodePort = false, false
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		nft(t, "add table ip enichain; add chain ip enichain mine; add rule ip enichain mine counter")
		apply(t, h, podnet())
		apply(t, h, other)
		if apply(t, h, podnet()) || apply(t, h, other) {
			t.Error("the networks change each other's part")
		}
		apply(t, h, off)
		if d := check(t, h, off); d != "" {
			t.Errorf("check of the network that was switched off says %q", d)
		}
		if d := check(t, h, other); d != "" {
			t.Errorf("check of the other network says %q", d)
		}
		if left := list(t); strings.Contains(left, "podnet") || !strings.Contains(left, "chain mine") {
			t.Errorf("after one network was switched off:\n%s", left)
		}
	})
}

// TestContainersStay shows that a network keeps the interfaces of containers that an earlier configuration made, unless
// the configuration lists them all.
func TestContainersStay(t *testing.T) {
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		p := podnet()
		contents := func() string {
			for _, line := range lines(nft(t, "list", "set", "ip", Table, "containers-podnet")) {
				if strings.HasPrefix(line, "elements") {
					return line
				}
			}
			return ""
		}
		for _, step := range []struct {
			containers []string
			closed     bool
			want       string
		}{
			{[]string{"pod*"}, false, `elements = { "pod*" }`},
			{[]string{"vet*"}, false, `elements = { "pod*", "vet*" }`},
			{[]string{"pod*"}, false, `elements = { "pod*", "vet*" }`},
			{[]string{"pod0123"}, false, `elements = { "pod*", "vet*" }`},
			{[]string{"po*"}, false, `elements = { "po*", "vet*" }`},
			{[]string{"cni0", "vet*"}, true, `elements = { "cni0", "vet*" }`},
			{[]string{"pod*"}, true, `elements = { "pod*" }`},
		} {
			p.Containers, p.Closed = step.containers, step.closed
			apply(t, h, p)
			if got := contents(); got != step.want {
				t.Errorf("after %q (closed: %v): %s, want %s", step.containers, step.closed, got, step.want)
			}
			if d := check(t, h, p); d != "" {
				t.Errorf("after %q (closed: %v): check says %q", step.containers, step.closed, d)
			}
		}
	})
}

// TestApplyAtOnce runs 64 ADDs of two networks at once on an empty kernel, of which one network's come with two kinds of
// interfaces, beside somebody who writes other tables all the time.
func TestApplyAtOnce(t *testing.T) {
	ns := nstest.New(t)
	other := podnet()
	other.Network = "other"
	second := podnet()
	second.Containers = []string{"vet*"}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			p := []Policy{podnet(), other, second}[i%3]
			inside(t, ns, func(h *netstate.Handle) {
				for range 3 {
					if _, err := Apply(t.Context(), h, p); err != nil {
						t.Errorf("apply of %s: %v", p.Network, err)
					}
					if d, err := Check(t.Context(), h, p); d != "" || err != nil {
						t.Errorf("check of %s: %q %v", p.Network, d, err)
					}
				}
				if i%16 == 0 {
					nft(t, fmt.Sprintf("add table ip noise%d; delete table ip noise%[1]d", i))
				}
			})
		})
	}
	wg.Wait()
	inside(t, ns, func(h *netstate.Handle) {
		second.Containers = []string{"pod*", "vet*"}
		for _, p := range []Policy{second, other} {
			if apply(t, h, p) {
				t.Errorf("network %s is not settled", p.Network)
			}
		}
		if n := strings.Count(list(t), "snat to"); n != 2 {
			t.Errorf("%d rules translate, want one a network:\n%s", n, list(t))
		}
		rules, err := h.Rules()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range rules {
			if r.Pref == layout.PrefMark {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d rules of preference %d, want 1", n, layout.PrefMark)
		}
	})
}

// TestRule shows that the policy rule is made, checked, and made beside a foreign one of the same preference.
func TestRule(t *testing.T) {
	foreign := netlink.NewRule()
	foreign.Family, foreign.Priority, foreign.Table, foreign.Protocol = unix.AF_INET, layout.PrefMark, 77, unix.RTPROT_STATIC
	foreign.Src = netlink.NewIPNet(netip.MustParseAddr("10.9.9.9").AsSlice())
	ours := netlink.NewRule()
	ours.Family, ours.Priority = unix.AF_INET, layout.PrefMark
	mask := uint32(layout.Mark)
	ours.Mark, ours.Mask, ours.Table = mask, &mask, layout.TableMain
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		if err := netlink.RuleAdd(foreign); err != nil {
			t.Fatal(err)
		}
		apply(t, h, podnet())
		if err := netlink.RuleDel(ours); err != nil {
			t.Fatalf("our rule was not made: %v", err)
		}
		if d := check(t, h, podnet()); d != `rule "1024: from all fwmark 0x80/0x80 lookup main" is missing` {
			t.Errorf("check without the rule says %q", d)
		}
		apply(t, h, podnet())
		if d := check(t, h, podnet()); d != "" {
			t.Errorf("check after apply says %q", d)
		}
		if err := netlink.RuleDel(foreign); err != nil {
			t.Errorf("the foreign rule went: %v", err)
		}
	})
}

// TestReady shows that the question of STATUS is answered, and leaves nothing behind.
func TestReady(t *testing.T) {
	inside(t, nstest.New(t), func(*netstate.Handle) {
		if err := Ready(t.Context(), netconf.NFTables); err != nil {
			t.Errorf("nftables does not answer: %v", err)
		}
		if left := nft(t, "list", "ruleset"); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
}
