package snat

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/xtables"
)

// Chains is a network's part of iptables' tables. Its String is what iptables-restore takes, and iptables-save shows of it.
//
// iptables has no hook between DNAT and the routing decision: its nat table is left as soon as a rule of it translates
// (nf_nat_inet_fn, net/netfilter/nf_nat_core.c), and what follows comes after routing. So, unlike a Ruleset, the chains do
// not decide before routing which new connections leave the VPC: they give them layout.MarkNew, the policy rules of
// State judge the real destination, and the chains write down where each went. The mark does not say whose a connection
// is: what one network on iptables keeps in the VPC, they keep for all.
type Chains struct {
	// Mangle are the chains of the table mangle, Jumps the rules that lead into them.
	Mangle []TextChain
	Jumps  []Jump
	// SNAT is the rule of POSTROUTING in the table nat; nil where there is none.
	SNAT  TextRule
	names chainNames
}

// TextChain is a chain of the network's own.
type TextChain struct {
	Name  string
	Rules []TextRule
}

// Jump is a rule of one of the kernel's own chains.
type Jump struct {
	From string
	Rule TextRule
}

// TextRule is a rule in the words of `iptables -S`, each of them by itself, without "-A CHAIN".
type TextRule []string

// chainNames are those of a network's objects in the tables of a family.
type chainNames struct {
	family family.Family
	enter  string // every packet, before routing
	pods   string // those of containers
	routed string // every packet, after routing
	judged string // new ones of containers
	note   string // the comment of rules outside
}

// chainPrefix begins the name of each chain; judgedPrefix those of the chains with destinations.
const (
	chainPrefix  = "ENI-"
	judgedPrefix = chainPrefix + "DST-"
)

// chainNamesOf returns the names of a network's objects, which may have 28 characters (XT_EXTENSION_MAXNAMELEN,
// include/uapi/linux/netfilter/x_tables.h).
func chainNamesOf(network string, f family.Family) chainNames {
	short := layout.Shorten(network, 28-len(judgedPrefix))
	return chainNames{
		family: f,
		enter:  chainPrefix + "PRE-" + short, pods: chainPrefix + "POD-" + short,
		routed: chainPrefix + "FWD-" + short, judged: judgedPrefix + short,
		note: "enichain " + layout.Shorten(network, readable),
	}
}

// program returns what the family's program is called.
func (n chainNames) program() string { return xtables.Name(n.family) }

// all returns the names of the chains, each before those that it jumps to.
func (n chainNames) all() []string { return []string{n.enter, n.pods, n.routed, n.judged} }

// Chains returns the network's part of the tables, for a program that knows of random ports or not. It is empty where both
// switches are off.
func (p Policy) Chains(randomFully bool) Chains {
	c := Chains{names: chainNamesOf(p.Network, p.Family)}
	if !p.SNAT && !p.NodePort {
		return c
	}
	c.Mangle = []TextChain{p.enterChain(c.names), p.podsChain(c.names)}
	c.jump("PREROUTING", c.names.enter)
	if routed := p.routedChain(c.names); len(routed.Rules) > 0 {
		c.Mangle = append(c.Mangle, routed)
		c.jump("INPUT", c.names.routed)
		c.jump("FORWARD", c.names.routed)
	}
	if p.SNAT {
		c.Mangle = append(c.Mangle, p.judgedChain(c.names))
		c.SNAT = p.snatRule(c.names, randomFully)
	}
	return c
}

func (c *Chains) jump(from, to string) {
	c.Jumps = append(c.Jumps, Jump{from, TextRule{"-m", "comment", "--comment", c.names.note, "-j", to}})
}

// The conditions and targets, in iptables-save's own words. Only our bits are ever changed.

func isNew() TextRule { return TextRule{"-m", "conntrack", "--ctstate", "NEW"} }

func wasDNATed() TextRule { return TextRule{"-m", "conntrack", "--ctstate", "DNAT"} }

func bit(mark int) string { return fmt.Sprintf("%#x/%#[1]x", mark) }

func setCtBit() TextRule { return TextRule{"-j", "CONNMARK", "--set-xmark", bit(layout.Mark)} }

func setBit(mark int) TextRule { return TextRule{"-j", "MARK", "--set-xmark", bit(mark)} }

func clearBit(mark int) TextRule {
	return TextRule{"-j", "MARK", "--set-xmark", fmt.Sprintf("0x0/%#x", mark)}
}

func ctBit() TextRule { return TextRule{"-m", "connmark", "--mark", bit(layout.Mark)} }

func hasBit(mark int) TextRule { return TextRule{"-m", "mark", "--mark", bit(mark)} }

// from is the condition that a packet entered by an interface; a '*' at the pattern's end stands for any rest.
func from(pattern string) TextRule { return TextRule{"-i", plus(pattern)} }

// out is from for the interface by which a packet leaves.
func out(pattern string) TextRule { return TextRule{"-o", plus(pattern)} }

// plus is a pattern as iptables has it.
func plus(pattern string) string {
	if fixed, wild := strings.CutSuffix(pattern, "*"); wild {
		return fixed + "+"
	}
	return pattern
}

// to is the condition that the destination is in the prefix; none where that is any, as iptables-save has it.
func to(p netip.Prefix) TextRule {
	if p.Bits() == 0 {
		return nil
	}
	return TextRule{"-d", p.Masked().String()}
}

func rule(parts ...TextRule) TextRule { return slices.Concat(parts...) }

// enterChain sees every packet before it is routed, and before its destination is translated.
func (p Policy) enterChain(n chainNames) TextChain {
	c := TextChain{Name: n.enter}
	if p.NodePort {
		// What stays an address of the node, IPVS' for one, and what is translated in a moment.
		local := TextRule{"-m", "addrtype", "--dst-type", "LOCAL"}
		c.Rules = append(c.Rules, rule(from(p.Primary), isNew(), local, setCtBit()))
	}
	for _, pattern := range p.patterns() {
		c.Rules = append(c.Rules, rule(from(pattern), TextRule{"-j", n.pods}))
	}
	return c
}

// podsChain routes what containers send on connections of the primary ENI by it.
func (p Policy) podsChain(n chainNames) TextChain {
	c := TextChain{Name: n.pods, Rules: []TextRule{rule(ctBit(), setBit(layout.Mark))}}
	if p.SNAT {
		undecided := TextRule{"-m", "connmark", "!", "--mark", bit(layout.Mark)}
		single := TextRule{"-m", "addrtype", "!", "--dst-type", "BROADCAST,MULTICAST"}
		c.Rules = append(c.Rules, rule(isNew(), undecided, single, setBit(layout.MarkNew)))
	}
	return c
}

// routedChain sees every packet that the node forwards or takes itself, with its real destination.
func (p Policy) routedChain(n chainNames) TextChain {
	c := TextChain{Name: n.routed}
	if p.NodePort {
		c.Rules = append(c.Rules, rule(from(p.Primary), isNew(), wasDNATed(), setCtBit()))
	}
	if p.Family == family.IPv6 && p.NodePort {
		c.Rules = append(c.Rules, p.keepRules()...)
	}
	if p.SNAT {
		for _, pattern := range p.patterns() {
			c.Rules = append(c.Rules, rule(from(pattern), hasBit(layout.MarkNew), TextRule{"-j", n.judged}))
		}
	}
	return c
}

// keepRules are what keepChain is. POSTROUTING does not know where a packet came from, and kube-proxy's chain is first there:
// hence its mark goes.
func (p Policy) keepRules() (rules []TextRule) {
	for _, pattern := range p.patterns() {
		rules = append(rules, rule(out(pattern), TextRule{"-j", "RETURN"}))
	}
	for _, pattern := range p.patterns() {
		rules = append(rules, rule(from(pattern), TextRule{"!", "-o", p.Primary}, isNew(), clearBit(layout.MarkMasquerade)))
	}
	return rules
}

// judgedChain gives the connection to the primary ENI where the rules sent its first packet there. On a container of the
// primary ENI the rules have no effect, hence the destinations once more.
func (p Policy) judgedChain(n chainNames) TextChain {
	c := TextChain{Name: n.judged, Rules: []TextRule{
		clearBit(layout.MarkNew),
		{"!", "-o", p.Primary, "-j", "RETURN"},
	}}
	stays, leaves := p.destinations()
	for _, d := range stays {
		c.Rules = append(c.Rules, rule(to(d), TextRule{"-j", "RETURN"}))
	}
	for _, d := range leaves {
		c.Rules = append(c.Rules, rule(to(d), setCtBit()))
	}
	c.Rules = append(c.Rules, rule(ctBit(), setBit(layout.Mark)))
	return c
}

// destinations returns those that stay in the VPC, and of the others those that leave it.
func (p Policy) destinations() (stays, leaves []netip.Prefix) {
	if len(p.Include) == 0 {
		return outermostPrefixes(p.Keep), []netip.Prefix{layout.Default(netip.IPv4Unspecified())}
	}
	return outermostPrefixes(p.Keep), outermostPrefixes(p.Include)
}

// snatRule translates what was sent to the primary ENI, like snatChain.
func (p Policy) snatRule(n chainNames, randomFully bool) TextRule {
	r := rule(TextRule{"-o", p.Primary}, hasBit(layout.Mark),
		TextRule{"-m", "comment", "--comment", n.note, "-j", "SNAT", "--to-source", p.PrimaryIP.String()})
	if randomFully {
		return append(r, "--random-fully")
	}
	return append(r, "--random")
}

// patterns returns the containers' interfaces, sorted, without those that another pattern has.
func (p Policy) patterns() []string {
	var out []string
	for _, s := range patternSpans(p.Containers) {
		out = append(out, s.pattern())
	}
	return out
}

// widen returns the policy with the containers' interfaces that the chains have already, where they are to stay.
func (p Policy) widen(enter []string) Policy {
	if !p.Closed {
		p.Containers = slices.Concat(p.Containers, enterPatterns(enter, chainNamesOf(p.Network, p.Family)))
	}
	return p
}

// enterPatterns reads from the rules of an enterChain the containers' interfaces.
func enterPatterns(rules []string, n chainNames) []string {
	var patterns []string
	for _, r := range rules {
		words := strings.Fields(r)
		if len(words) != 4 || words[0] != "-i" || words[3] != n.pods {
			continue
		}
		pattern := words[1]
		if fixed, wild := strings.CutSuffix(pattern, "+"); wild {
			pattern = fixed + "*"
		}
		patterns = append(patterns, pattern)
	}
	return patterns
}

// outermostPrefixes sorts the prefixes and drops those that another holds.
func outermostPrefixes(prefixes []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Masked().Addr().Compare(b.Masked().Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var out []netip.Prefix
	for _, p := range sorted {
		if len(out) == 0 || !out[len(out)-1].Contains(p.Addr()) {
			out = append(out, p.Masked())
		}
	}
	return out
}

// String returns the rule as iptables-save prints it: words with a space in quotes.
func (r TextRule) String() string {
	words := slices.Clone(r)
	for i, w := range words {
		if strings.Contains(w, " ") {
			words[i] = `"` + w + `"`
		}
	}
	return strings.Join(words, " ")
}

// String returns the network's part as iptables-restore takes it, on a host that has nothing of it.
func (c Chains) String() string { return c.restore(foundChains{}) }
