package snat

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// found is what the kernel has under a network's names.
type found struct {
	table   bool // it exists
	dormant bool
	sets    map[string]foundSet
	chains  map[string]foundChain
}

type foundSet struct {
	key      nftables.SetDatatype
	interval bool
	spans    []span
}

type foundChain struct {
	base  nftables.Chain
	rules []foundRule
}

type foundRule struct {
	comment string
	code    []expr.Any
}

// difference returns, in words, the first thing that the kernel has otherwise than the ruleset; "" where it has all.
func (r Ruleset) difference(f found) string {
	table := r.names.table()
	if !f.table && len(r.Chains) > 0 {
		return table + " is missing"
	}
	if f.dormant {
		return table + " is dormant"
	}
	for _, s := range r.Sets {
		if d := s.difference(f); d != "" {
			return fmt.Sprintf("set %s of %s %s", s.Name, table, d)
		}
	}
	for _, c := range r.Chains {
		if d := c.difference(f); d != "" {
			return fmt.Sprintf("chain %s of %s %s", c.Name, table, d)
		}
	}
	for _, name := range r.leftover(f) {
		return fmt.Sprintf("%s of %s is not wanted", name, table)
	}
	return ""
}

// leftover returns the network's sets and chains that the kernel has and the ruleset has not.
func (r Ruleset) leftover(f found) []string {
	var out []string
	for _, name := range []string{r.names.containers, r.names.include, r.names.keep} {
		if _, has := f.sets[name]; has && r.set(name) == nil {
			out = append(out, "set "+name)
		}
	}
	for _, name := range []string{r.names.mark, r.names.snat} {
		if _, has := f.chains[name]; has && r.chain(name) == nil {
			out = append(out, "chain "+name)
		}
	}
	return out
}

func (r Ruleset) set(name string) *Set {
	if i := slices.IndexFunc(r.Sets, func(s Set) bool { return s.Name == name }); i >= 0 {
		return &r.Sets[i]
	}
	return nil
}

func (r Ruleset) chain(name string) *Chain {
	if i := slices.IndexFunc(r.Chains, func(c Chain) bool { return c.Name == name }); i >= 0 {
		return &r.Chains[i]
	}
	return nil
}

// difference says what the kernel's set is or does otherwise.
func (s Set) difference(f found) string {
	got, has := f.sets[s.Name]
	if !has {
		return "is missing"
	}
	if !got.fits(s.kind) {
		return "is not one of intervals of " + s.kind.datatype().Name
	}
	for _, lack := range missing(s.spans, got.spans) {
		return "lacks " + lack.words(s.kind)
	}
	if s.open {
		return ""
	}
	for _, extra := range missing(got.spans, s.spans) {
		return fmt.Sprintf("has %s, which is not wanted", extra.words(s.kind))
	}
	return ""
}

// fits says whether the set can hold intervals of the kind.
func (f foundSet) fits(kind setKind) bool { return f.interval && f.key == kind.datatype() }

// change returns what must be added to the set, given what it has, and whether it must be emptied before.
func (s Set) change(have []span) (add []span, flush bool) {
	want := s.spans
	if s.open {
		want = outermost(slices.Concat(want, have))
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			return want, true
		}
	}
	return slices.DeleteFunc(slices.Clone(want), func(w span) bool { return slices.Contains(have, w) }), false
}

// difference says what the kernel's chain is or does otherwise.
func (c Chain) difference(f found) string {
	got, has := f.chains[c.Name]
	if !has {
		return "is missing"
	}
	if !c.hooked(got.base) {
		return fmt.Sprintf("is not of type %s, hook %s, priority %s", c.Type, hookName(c.Hook), priorityName(c.Priority))
	}
	if got.base.Policy == nil || *got.base.Policy != nftables.ChainPolicyAccept {
		return "does not have the policy accept"
	}
	for i, rule := range c.Rules {
		if i == len(got.rules) {
			return fmt.Sprintf("lacks its rule %d: %s", i+1, rule.words())
		}
		if !rule.same(got.rules[i]) {
			return fmt.Sprintf("has another rule %d than: %s", i+1, rule.words())
		}
	}
	if extra := len(got.rules) - len(c.Rules); extra > 0 {
		return fmt.Sprintf("has %d rules too many", extra)
	}
	return ""
}

// hooked says whether the chain sees the packets that c is to see, at the moment that it is to see them.
func (c Chain) hooked(base nftables.Chain) bool {
	return base.Type == c.Type && base.Hooknum != nil && *base.Hooknum == c.Hook &&
		base.Priority != nil && *base.Priority == c.Priority
}

// same says whether the kernel's rule is this one.
func (r Rule) same(got foundRule) bool {
	return got.comment == r.Comment && reflect.DeepEqual(got.code, asRead(r.code()))
}

// asRead returns the expressions as they look once the kernel has given them back: not every field comes back. The family
// that the library asks for is that of extensions of iptables, and ours has none.
func asRead(code []expr.Any) []expr.Any {
	out := make([]expr.Any, 0, len(code))
	for _, e := range code {
		data, err := expr.MarshalExprData(unix.NFPROTO_IPV4, e)
		copied, ok := reflect.New(reflect.TypeOf(e).Elem()).Interface().(expr.Any)
		if err != nil || !ok || expr.Unmarshal(unix.NFPROTO_IPV4, data, copied) != nil {
			copied = e
		}
		out = append(out, copied)
	}
	return out
}
