package snat

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/xtables"
)

// rulesOfNew returns our policy rules for new connections, in ip's words.
func rulesOfNew(t *testing.T, h *netstate.Handle) []string {
	t.Helper()
	all, err := h.Rules()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range all {
		if r.Ours && r.Mark == layout.MarkNew {
			out = append(out, r.String())
		}
	}
	return out
}

// TestChainsHeal damages the tables in every way, and wants Check to name the damage and Apply to mend it; and what is
// right already not to be written again.
func TestChainsHeal(t *testing.T) {
	tests := []struct{ name, damage, want string }{
		{"table flushed", "iptables -t mangle -F", "chain ENI-PRE-podnet of iptables' table mangle lacks its rule 1: -i eth0"},
		{"all gone", "iptables -t mangle -F; iptables -t mangle -X", "chain ENI-PRE-podnet of iptables' table mangle is missing"},
		{"rule gone", "iptables -t mangle -D ENI-DST-podnet 3", "chain ENI-DST-podnet of iptables' table mangle has another rule 3 than: -d 10.0.0.0/16"},
		{"rule more", "iptables -t mangle -A ENI-POD-podnet -j ACCEPT", "chain ENI-POD-podnet of iptables' table mangle has 1 rules too many"},
		{"rule before", "iptables -t mangle -I ENI-FWD-podnet -j ACCEPT", "has another rule 1 than: -i eth0"},
		{"another mask", "iptables -t mangle -R ENI-POD-podnet 1 -m connmark --mark 0x80/0x80 -j MARK --set-mark 0x80", "has another rule 1 than: -m connmark"},
		{"jump gone", "iptables -t mangle -D FORWARD 1", `chain FORWARD of iptables' table mangle lacks: -m comment --comment "enichain podnet" -j ENI-FWD-podnet`},
		{"jump under a condition", "iptables -t mangle -R PREROUTING 1 -i eth7 -j ENI-PRE-podnet", "chain PREROUTING of iptables' table mangle lacks: "},
		{"jump twice", "iptables -t mangle -I INPUT -j ENI-FWD-podnet", "has 4 rules that lead to the network's chains, not 3"},
		{"not translated", "iptables -t nat -F", `chain POSTROUTING of iptables' table nat has [] with the network's comment, not ["-o eth0`},
		{
			"to another address",
			`iptables -t nat -R POSTROUTING 1 -o eth0 -m mark --mark 0x80/0x80 -m comment --comment "enichain podnet" -j SNAT --to-source 10.0.0.11`,
			"chain POSTROUTING of iptables' table nat has",
		},
		{
			"translated twice",
			`iptables -t nat -A POSTROUTING -o eth0 -m mark --mark 0x80/0x80 -m comment --comment "enichain podnet" -j SNAT --to-source 10.0.0.10 --random-fully`,
			"chain POSTROUTING of iptables' table nat has",
		},
		{"policy rule gone", "ip rule del pref 1280 to 10.0.0.0/16", `rule "1280: from all to 10.0.0.0/16 fwmark 0x40/0x40 goto 1536" is missing`},
		{"the last policy rule gone", "ip rule del pref 1409", `rule "1409: from all fwmark 0x40/0x40 lookup main" is missing`},
	}
	onVariants(t, func(t *testing.T, _ xtables.Variant) {
		inside(t, nstest.New(t), func(h *netstate.Handle) {
			p := textual(asIs)
			apply(t, h, p)
			sound := saved(t)
			for _, tt := range tests {
				command(t, "sh", "-c", tt.damage)
				if d := check(t, h, p); !strings.Contains(d, tt.want) {
					t.Errorf("%s: check says %q, want ...%s...", tt.name, d, tt.want)
				}
				apply(t, h, p)
				if d := check(t, h, p); d != "" {
					t.Errorf("%s: check after apply says %q", tt.name, d)
				}
				if diff := cmp.Diff(sound, saved(t)); diff != "" {
					t.Errorf("%s: apply made others:\n%s", tt.name, diff)
				}
				if apply(t, h, p) {
					t.Errorf("%s: the second apply wrote", tt.name)
				}
			}
		})
	})
}

// TestChainsOfNetworks shows that networks leave each other's chains alone, and share the policy rules that both need.
func TestChainsOfNetworks(t *testing.T) {
	onVariants(t, func(t *testing.T, _ xtables.Variant) {
		inside(t, nstest.New(t), func(h *netstate.Handle) {
			p := textual(asIs)
			other := textual(func(p *Policy) {
				p.Network, p.Containers, p.Closed = "other", []string{"oth*"}, true
				p.Keep = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("172.16.0.0/12")}
			})
			apply(t, h, p)
			before := saved(t)
			apply(t, h, other)
			if apply(t, h, p) || apply(t, h, other) {
				t.Error("the networks change each other's part")
			}
			const first, second = "1280: from all to 10.0.0.0/16 fwmark 0x40/0x40 goto 1536", "1280: from all to 100.64.0.0/16 fwmark 0x40/0x40 goto 1536"
			const third, last = "1280: from all to 172.16.0.0/12 fwmark 0x40/0x40 goto 1536", "1409: from all fwmark 0x40/0x40 lookup main"
			if diff := cmp.Diff([]string{first, second, third, last}, rulesOfNew(t, h)); diff != "" {
				t.Errorf("policy rules of both (-want +got):\n%s", diff)
			}
			apply(t, h, other.off())
			if diff := cmp.Diff(before, saved(t)); diff != "" {
				t.Errorf("after the other network was switched off:\n%s", diff)
			}
			if diff := cmp.Diff([]string{first, second, last}, rulesOfNew(t, h)); diff != "" {
				t.Errorf("policy rules of one (-want +got):\n%s", diff)
			}
			p.Keep = p.Keep[:1]
			apply(t, h, p)
			if diff := cmp.Diff([]string{first, last}, rulesOfNew(t, h)); diff != "" {
				t.Errorf("policy rules with a destination less (-want +got):\n%s", diff)
			}
			// The kernel takes a rule for any destination for the same as one for a single one.
			include := p
			include.Include = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}
			for range 2 {
				apply(t, h, include)
				const leaves = "1408: from all to 192.168.0.0/16 fwmark 0x40/0x40 lookup main"
				if diff := cmp.Diff([]string{first, leaves}, rulesOfNew(t, h)); diff != "" {
					t.Errorf("policy rules with a list of what leaves (-want +got):\n%s", diff)
				}
				apply(t, h, p)
				if diff := cmp.Diff([]string{first, last}, rulesOfNew(t, h)); diff != "" {
					t.Errorf("policy rules without the list (-want +got):\n%s", diff)
				}
			}
			apply(t, h, p.off())
			if left := append(saved(t), rulesOfNew(t, h)...); len(left) > 0 {
				t.Errorf("left of networks that are switched off: %q", left)
			}
		})
	})
}

// TestChainsContainersStay is TestContainersStay on iptables, and over a change of the backend.
func TestChainsContainersStay(t *testing.T) {
	onVariants(t, func(t *testing.T, _ xtables.Variant) {
		inside(t, nstest.New(t), func(h *netstate.Handle) {
			contents := func() (out []string) {
				for _, line := range saved(t) {
					if pattern, found := strings.CutPrefix(line, "-A ENI-PRE-podnet -i "); found && strings.HasSuffix(line, "ENI-POD-podnet") {
						out = append(out, strings.Fields(pattern)[0])
					}
				}
				return out
			}
			for _, step := range []struct {
				backend    string
				containers string
				closed     bool
				want       string
			}{
				{netconf.NFTables, "old*", false, ""},
				{netconf.IPTables, "pod*", false, "old+ pod+"},
				{netconf.IPTables, "vet*", false, "old+ pod+ vet+"},
				{netconf.IPTables, "po*", false, "old+ po+ vet+"},
				{netconf.NFTables, "a", false, ""},
				{netconf.IPTables, "b", false, "a b old+ po+ vet+"},
				{netconf.IPTables, "pod*", true, "pod+"},
			} {
				p := podnet()
				p.Backend, p.Containers, p.Closed = step.backend, []string{step.containers}, step.closed
				apply(t, h, p)
				if got := strings.Join(contents(), " "); got != step.want {
					t.Errorf("after %q on %s (closed: %v): %s, want %s", step.containers, step.backend, step.closed, got, step.want)
				}
				if d := check(t, h, p); d != "" {
					t.Errorf("after %q on %s (closed: %v): check says %q", step.containers, step.backend, step.closed, d)
				}
			}
		})
	})
}

// TestChainsAtOnce runs ADDs of two networks at once on an empty kernel, beside somebody who writes other rules.
func TestChainsAtOnce(t *testing.T) {
	onVariants(t, func(t *testing.T, _ xtables.Variant) {
		ns := nstest.New(t)
		policies := []Policy{
			textual(asIs),
			textual(func(p *Policy) { p.Network = "other" }),
			textual(func(p *Policy) { p.Containers = []string{"vet*"} }),
		}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				inside(t, ns, func(h *netstate.Handle) {
					p := policies[i%3]
					if _, err := Apply(t.Context(), h, p); err != nil {
						t.Errorf("apply of %s: %v", p.Network, err)
					}
					if i%4 == 0 {
						command(t, "iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-j", "ACCEPT")
					}
				})
			})
		}
		wg.Wait()
		inside(t, ns, func(h *netstate.Handle) {
			policies[0].Containers = []string{"pod*", "vet*"}
			for _, p := range policies[:2] {
				if apply(t, h, p) {
					t.Errorf("network %s is not settled", p.Network)
				}
			}
			text := strings.Join(saved(t), "\n")
			if n, m := strings.Count(text, "-j SNAT"), strings.Count(text, "-j ENI-FWD"); n != 2 || m != 4 {
				t.Errorf("%d rules translate, want one a network; %d jumps, want two a network:\n%s", n, m, text)
			}
		})
	})
}
