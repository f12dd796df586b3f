package snat

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/xtables"
)

// textual is podnet on iptables, changed.
func textual(change func(*Policy)) Policy {
	p := podnet()
	p.Backend = netconf.IPTables
	change(&p)
	return p
}

func asIs(*Policy) {}

// saved returns what the host's iptables-save and ip6tables-save have of eni-snat, in any order.
func saved(t *testing.T) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(command(t, "iptables-save") + command(t, "ip6tables-save")) {
		if line = strings.TrimSpace(line); strings.Contains(line, "ENI-") || strings.Contains(line, "enichain") {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// expected returns what iptables-save is to print of the chains, in any order.
func expected(c Chains) []string {
	var out []string
	for line := range strings.Lines(c.String()) {
		line = strings.TrimSpace(line)
		if rest, inserted := strings.CutPrefix(line, "-I "); inserted {
			line = "-A " + strings.Replace(rest, " 1 ", " ", 1)
		}
		if strings.HasPrefix(line, "-") || strings.HasPrefix(line, ":") {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// TestChainsGolden shows that the chains' words are those in testdata, and that both variants list the same.
func TestChainsGolden(t *testing.T) {
	tests := map[string]Policy{
		"default":       textual(asIs),
		"ipv6":          podnet6(netconf.IPTables),
		"nodeport-only": textual(func(p *Policy) { p.SNAT = false }),
		"snat-only":     textual(func(p *Policy) { p.NodePort = false }),
		"include": textual(func(p *Policy) {
			p.Include = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
			p.Keep = []netip.Prefix{netip.MustParsePrefix("10.0.3.7/32")}
		}),
		"include-alone": textual(func(p *Policy) { p.Include, p.Keep = p.Keep, nil }),
		"overlaps": textual(func(p *Policy) {
			p.Network = "0-digits.and-a-name-that-is-longer"
			p.Containers = []string{"pod*", "pod1", "cni0", "podman*", "veth*"}
			for _, s := range []string{"10.0.0.0/24", "10.0.0.5/32", "10.1.0.0/16", "192.168.0.1/32", "255.0.0.0/8", "0.0.0.0/8"} {
				p.Keep = append(p.Keep, netip.MustParsePrefix(s))
			}
		}),
	}
	for name, p := range tests {
		t.Run(name, func(t *testing.T) {
			want := p.Chains(true)
			golden(t, filepath.Join("testdata", name+".iptables"), want.String()+p.State().String())
			onVariants(t, func(t *testing.T, _ xtables.Variant) {
				inside(t, nstest.New(t), func(h *netstate.Handle) {
					apply(t, h, p)
					if diff := cmp.Diff(expected(want), saved(t)); diff != "" {
						t.Errorf("iptables-save has others (-want +got):\n%s", diff)
					}
				})
			})
		})
	}
}

// TestChainsDocumented shows that the page shows what the kernel gets.
func TestChainsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/eni-snat.md")
	if err != nil {
		t.Fatal(err)
	}
	p := textual(asIs)
	for _, text := range []string{
		p.Chains(true).String(), strings.ReplaceAll(p.State().String(), "rule ", ""), podnet6(netconf.IPTables).Chains(true).String(),
	} {
		if !strings.Contains(string(page), text) {
			t.Errorf("docs/eni-snat.md does not show this as it is:\n%s", text)
		}
	}
}

// TestChainNames shows that names fit into the kernel, and differ where networks do.
func TestChainNames(t *testing.T) {
	seen := map[string]string{}
	for _, network := range []string{"a", "twenty-characters-it", "twenty-one-characters", "twenty-one-characters-more", strings.Repeat("x", 300)} {
		n := chainNamesOf(network, family.IPv4)
		for _, name := range n.all() {
			if len(name) > 28 {
				t.Errorf("network %s: chain %s has %d characters", network, name, len(name))
			}
			if other, taken := seen[name]; taken {
				t.Errorf("networks %s and %s share chain %s", network, other, name)
			}
			seen[name] = network
		}
	}
}

// TestChainsOnlyOurBits shows that no rule changes another bit of a mark.
func TestChainsOnlyOurBits(t *testing.T) {
	for _, c := range textual(func(p *Policy) { p.Include = p.Keep }).Chains(true).Mangle {
		for _, r := range c.Rules {
			text := r.String()
			if !strings.Contains(text, "MARK --") {
				continue
			}
			_, set, found := strings.Cut(text, "--set-xmark ")
			if !found || !slices.Contains([]string{"0x80/0x80", "0x40/0x40", "0x0/0x40"}, set) {
				t.Errorf("%s has %s", c.Name, text)
			}
		}
	}
}

// TestRandom shows what an iptables gets that does not know --random-fully.
func TestRandom(t *testing.T) {
	if got := textual(asIs).Chains(false).SNAT.String(); !strings.HasSuffix(got, "--to-source 10.0.0.10 --random") {
		t.Errorf("got %s", got)
	}
}

// TestAlike shows that a rule in other words is the same where iptables finds it, and that another order is not.
func TestAlike(t *testing.T) {
	want := textual(asIs).Chains(true)
	lines := func() map[string][]string {
		chains := map[string][]string{}
		for _, c := range want.Mangle {
			for _, r := range c.Rules {
				chains[c.Name] = append(chains[c.Name], r.String())
			}
		}
		return chains
	}
	all := func(string, TextRule) bool { return true }
	none := func(string, TextRule) bool { return false }
	judged := want.names.judged
	for _, tt := range []struct {
		name   string
		change func(rules []string)
		has    func(string, TextRule) bool
		same   bool
	}{
		{"other words", func(r []string) { r[0] = "-j MARK --and-mark 0xffffffbf" }, all, true},
		{"another rule", func(r []string) { r[0] = "-j MARK --set-mark 7" }, none, false},
		{"another order", func(r []string) { r[0], r[1] = r[1], r[0] }, all, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := foundChains{chains: lines()}
			tt.change(f.chains[judged])
			want.alike(&f, tt.has)
			chain := want.Mangle[slices.IndexFunc(want.Mangle, func(c TextChain) bool { return c.Name == judged })]
			if d := chain.difference(f); (d == "") != tt.same {
				t.Errorf("difference %q, same: %v", d, tt.same)
			}
		})
	}
}

// TestJudgedReadsBack shows that the destinations of other networks are read from their chains as they were written.
func TestJudgedReadsBack(t *testing.T) {
	for _, p := range []Policy{
		textual(asIs),
		textual(func(p *Policy) {
			p.Include = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("8.8.8.8/32")}
		}),
		textual(func(p *Policy) { p.Keep = nil }),
	} {
		var rules []string
		for _, r := range p.judgedChain(chainNamesOf(p.Network, p.Family)).Rules {
			rules = append(rules, r.String())
		}
		if diff := cmp.Diff(p.State().Rules[1:], layout.NewRules(judged(rules)), cmp.Comparer(func(a, b layout.Rule) bool { return a == b })); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	}
}
