package snat

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/enichain/enichain/core/layout"
)

// foundChains is what iptables has of eni-snat: all chains, of every network, and the rules outside them that are this
// network's.
type foundChains struct {
	chains map[string][]string // rules without "-A CHAIN "
	jumps  []foundJump
	snat   []string
}

type foundJump struct{ from, rule string }

// foundIn sorts the lines of the table mangle, and those of the chain POSTROUTING of nat.
func (n chainNames) foundIn(mangle, postrouting []string) foundChains {
	f := foundChains{chains: map[string][]string{}}
	for _, line := range mangle {
		if name, ok := strings.CutPrefix(line, "-N "+chainPrefix); ok {
			f.chains[chainPrefix+name] = nil
			continue
		}
		chain, rule, ok := cutRule(line)
		switch {
		case !ok:
		case strings.HasPrefix(chain, chainPrefix):
			f.chains[chain] = append(f.chains[chain], rule)
		case strings.HasSuffix(rule, "-j "+n.enter), strings.HasSuffix(rule, "-j "+n.routed):
			f.jumps = append(f.jumps, foundJump{chain, rule})
		}
	}
	note := fmt.Sprintf("--comment %q ", n.note)
	for _, line := range postrouting {
		if _, rule, ok := cutRule(line); ok && strings.Contains(rule, note) {
			f.snat = append(f.snat, rule)
		}
	}
	return f
}

// cutRule takes "-A CHAIN RULE" apart.
func cutRule(line string) (chain, rule string, ok bool) {
	rest, ok := strings.CutPrefix(line, "-A ")
	chain, rule, _ = strings.Cut(rest, " ")
	return chain, rule, ok
}

// difference returns, in words, the first thing that iptables has otherwise than the network's part; "" where it has all.
func (c Chains) difference(f foundChains) string {
	mangle := c.names.program() + "' table mangle"
	for _, chain := range c.Mangle {
		if d := chain.difference(f); d != "" {
			return fmt.Sprintf("chain %s of %s %s", chain.Name, mangle, d)
		}
	}
	for _, name := range c.unwanted(f) {
		return fmt.Sprintf("chain %s of %s is not wanted", name, mangle)
	}
	for _, j := range c.Jumps {
		if !slices.Contains(f.jumps, foundJump{j.From, j.Rule.String()}) {
			return fmt.Sprintf("chain %s of %s lacks: %s", j.From, mangle, j.Rule)
		}
	}
	if len(f.jumps) > len(c.Jumps) {
		return fmt.Sprintf("%s has %d rules that lead to the network's chains, not %d", mangle, len(f.jumps), len(c.Jumps))
	}
	var snat []string
	if c.SNAT != nil {
		snat = []string{c.SNAT.String()}
	}
	if !slices.Equal(snat, f.snat) {
		return fmt.Sprintf("chain POSTROUTING of %s' table nat has %q with the network's comment, not %q", c.names.program(), f.snat, snat)
	}
	return ""
}

// difference says what the found chain is or does otherwise.
func (t TextChain) difference(f foundChains) string {
	got, has := f.chains[t.Name]
	if !has {
		return "is missing"
	}
	for i, want := range t.Rules {
		if i == len(got) {
			return fmt.Sprintf("lacks its rule %d: %s", i+1, want)
		}
		if got[i] != want.String() {
			return fmt.Sprintf("has another rule %d than: %s", i+1, want)
		}
	}
	if extra := len(got) - len(t.Rules); extra > 0 {
		return fmt.Sprintf("has %d rules too many", extra)
	}
	return ""
}

// unwanted returns the network's chains that iptables has and the network's part has not, each before those that it
// jumps to.
func (c Chains) unwanted(f foundChains) []string {
	return slices.DeleteFunc(c.names.all(), func(name string) bool {
		_, has := f.chains[name]
		return !has || slices.ContainsFunc(c.Mangle, func(t TextChain) bool { return t.Name == name })
	})
}

// rules returns the policy rules that go with the found chains of one network, and those that go with the others'.
func (f foundChains) rules(n chainNames) (own, others []layout.Rule) {
	for name, rules := range f.chains {
		switch {
		case name == n.judged:
			own = layout.NewRules(judged(rules))
		case strings.HasPrefix(name, judgedPrefix):
			others = append(others, layout.NewRules(judged(rules))...)
		}
	}
	return own, others
}

// judged reads from the rules of a judgedChain those that stay and those that leave.
func judged(rules []string) (stays, leaves []netip.Prefix) {
	for _, r := range rules {
		words := strings.Fields(r)
		to := layout.Default(netip.IPv4Unspecified())
		if len(words) > 1 && words[0] == "-d" {
			p, err := netip.ParsePrefix(words[1])
			if err != nil {
				continue
			}
			to, words = p, words[2:]
		}
		switch {
		case len(words) == 2 && words[1] == "RETURN":
			stays = append(stays, to)
		case len(words) > 1 && words[0] == "-j" && words[1] == "CONNMARK":
			leaves = append(leaves, to)
		}
	}
	return stays, leaves
}

// alike puts our own words where the programs have others for the same rule, as another version of them may: has says
// whether they find a rule in a chain. A rule that stands in its chain in our words is not asked for.
func (c Chains) alike(f *foundChains, has func(chain string, rule TextRule) bool) {
	for _, t := range c.Mangle {
		got := slices.Clone(f.chains[t.Name])
		if len(got) != len(t.Rules) {
			continue
		}
		for i, want := range t.Rules {
			if text := want.String(); !slices.Contains(got, text) && has(t.Name, want) {
				got[i] = text
			}
		}
		f.chains[t.Name] = got
	}
}

// restore returns what makes of the found the network's part, as iptables-restore takes it. What POSTROUTING has of the
// network goes first where it goes: the chains, by which a part that is left is found, go last.
func (c Chains) restore(f foundChains) string {
	nat, mangle := c.restoreNAT(f), c.restoreMangle(f)
	if c.SNAT == nil {
		return nat + mangle
	}
	return mangle + nat
}

func (c Chains) restoreMangle(f foundChains) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, t := range c.Mangle {
		line(":%s - [0:0]", t.Name) // empties one that is there
	}
	for _, t := range c.Mangle {
		for _, r := range t.Rules {
			line("-A %s %s", t.Name, r)
		}
	}
	have := slices.Clone(f.jumps)
	for _, j := range c.Jumps {
		if i := slices.Index(have, foundJump{j.From, j.Rule.String()}); i >= 0 {
			have = slices.Delete(have, i, i+1)
			continue
		}
		// The first, because others end the table for what is established: Calico, unless it is told not to.
		line("-I %s 1 %s", j.From, j.Rule)
	}
	for _, j := range have {
		line("-D %s %s", j.from, j.rule)
	}
	for _, name := range c.unwanted(f) {
		line("-F %s\n-X %[1]s", name)
	}
	return table("mangle", b.String())
}

func (c Chains) restoreNAT(f foundChains) string {
	var b strings.Builder
	want := c.SNAT.String()
	if c.SNAT != nil && !slices.Contains(f.snat, want) {
		// The last: what is said of single connections, as kube-proxy and portmap do, goes first.
		fmt.Fprintf(&b, "-A POSTROUTING %s\n", want)
	}
	kept := false
	for _, r := range f.snat {
		if r == want && !kept {
			kept = true
			continue
		}
		fmt.Fprintf(&b, "-D POSTROUTING %s\n", r)
	}
	return table("nat", b.String())
}

// table is a table's part of iptables-restore's input; nothing where nothing is to be done.
func table(name, lines string) string {
	if lines == "" {
		return ""
	}
	return fmt.Sprintf("*%s\n%sCOMMIT\n", name, lines)
}
