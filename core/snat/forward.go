package snat

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/xtables"
)

// Hosts with Docker, and cautious ones, drop what they forward unless a rule accepts it. Containers' packets are accepted
// by rules at the end of such a chain: whatever the host's own rules drop or reject stays so.

// filter and forward name the table and the chain of the host's filter, as iptables has them.
const (
	filter        = "filter"
	forwardLegacy = "FORWARD"
)

// FilterChains returns the chains of nftables that drop what of a family is forwarded on usual hosts: that of iptables-nft, and
// that of the example which distributions ship as /etc/nftables.conf, which is for both.
func FilterChains(f family.Family) []*nftables.Chain {
	of := func(tables nftables.TableFamily, chain string) *nftables.Chain {
		return &nftables.Chain{Name: chain, Table: &nftables.Table{Family: tables, Name: filter}}
	}
	own := tableOf(f).Family
	return []*nftables.Chain{of(own, forwardLegacy), of(nftables.TableFamilyINet, "forward"), of(own, "forward")}
}

// acceptRules returns the rules for the packets of and to containers.
func acceptRules(containers []string) []Rule {
	var rules []Rule
	for _, pattern := range containers {
		rules = append(rules,
			Rule{terms: []term{nameLike("iifname", expr.MetaKeyIIFNAME, pattern), counter(), accept()}},
			Rule{terms: []term{nameLike("oifname", expr.MetaKeyOIFNAME, pattern), counter(), accept()}})
	}
	return rules
}

// nameLike compares an interface's name with a pattern in the way in which iptables-nft does, so that it can list the rule.
func nameLike(words string, key expr.MetaKey, pattern string) term {
	fixed, wild := strings.CutSuffix(pattern, "*")
	name := append([]byte(fixed), 0)
	if wild {
		name = []byte(fixed)
	}
	return term{fmt.Sprintf("%s %q", words, pattern), []expr.Any{&expr.Meta{Key: key, Register: reg}, equal(name)}}
}

// counter counts, as every rule of iptables does.
func counter() term { return term{"counter", []expr.Any{&expr.Counter{}}} }

// admit lets containers' packets pass where the host drops what it forwards.
func admit(ctx context.Context, p Policy) (changed bool, err error) {
	d, err := forwardDifference(ctx, p)
	if d == "" || err != nil {
		return false, err
	}
	release, err := alone(ctx) // a second process would append the same
	if err != nil {
		return false, err
	}
	defer release()
	for _, chain := range FilterChains(p.Family) {
		if err := admitNFT(ctx, chain, p.Containers); err != nil {
			return true, fmt.Errorf("accept what containers send, in %s: %w", ChainWords(chain), err)
		}
	}
	if err := admitLegacy(ctx, p); err != nil {
		return true, fmt.Errorf("accept what containers send, in %s-legacy: %w", xtables.Name(p.Family), err)
	}
	return true, nil
}

// forwardDifference says, in words, which rule is missing where the host drops what it forwards; "" where none is.
func forwardDifference(ctx context.Context, p Policy) (string, error) {
	for _, chain := range FilterChains(p.Family) {
		lacking, err := lackingNFT(ctx, chain, p.Containers)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", ChainWords(chain), err)
		}
		for _, r := range lacking {
			return fmt.Sprintf("%s drops what is forwarded and lacks %s", ChainWords(chain), r.words()), nil
		}
	}
	legacy := fmt.Sprintf("chain FORWARD of %s-legacy", xtables.Name(p.Family))
	lacking, _, err := lackingLegacy(ctx, p)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", legacy, err)
	}
	for _, r := range lacking {
		return fmt.Sprintf("%s drops what is forwarded and lacks %s", legacy, r), nil
	}
	return "", nil
}

// ChainWords names a chain of nftables, with its table.
func ChainWords(c *nftables.Chain) string {
	return fmt.Sprintf("chain %s of %s", c.Name, tableWords(c.Table))
}

// lackingNFT returns the rules that a chain lacks; none where it drops nothing, or is not there.
func lackingNFT(ctx context.Context, chain *nftables.Chain, containers []string) ([]Rule, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseLasting() }()
	base, err := conn.ListChain(chain.Table, chain.Name)
	if err != nil {
		return nil, nil //nolint:nilerr // the library does not say which error it was; nearly always, absence
	}
	if base.Hooknum == nil || *base.Hooknum != *nftables.ChainHookForward || base.Policy == nil || *base.Policy != nftables.ChainPolicyDrop {
		return nil, nil
	}
	have, err := conn.GetRules(chain.Table, base)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(acceptRules(containers), func(want Rule) bool {
		code := uncounted(asRead(want.code()))
		return slices.ContainsFunc(have, func(got *nftables.Rule) bool { return reflect.DeepEqual(uncounted(got.Exprs), code) })
	}), nil
}

// uncounted is a rule's code without its counter, which may be anywhere and have counted.
func uncounted(code []expr.Any) []expr.Any {
	return slices.DeleteFunc(slices.Clone(code), func(e expr.Any) bool { _, counts := e.(*expr.Counter); return counts })
}

func admitNFT(ctx context.Context, chain *nftables.Chain, containers []string) error {
	lacking, err := lackingNFT(ctx, chain, containers)
	if len(lacking) == 0 || err != nil {
		return err
	}
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	for _, r := range lacking {
		conn.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: r.code()})
	}
	return conn.Flush()
}

// lackingLegacy returns the rules, in iptables' words, that the legacy variant's chain lacks, and the program for them, which
// is needed only where the chain drops.
func lackingLegacy(ctx context.Context, p Policy) ([]string, *xtables.Program, error) {
	drops, err := xtables.LegacyDrops(p.Family, filter)
	if err != nil || !drops {
		return nil, nil, err
	}
	program, err := xtables.FindVariant(ctx, xtables.Legacy, p.Family)
	if err != nil {
		return nil, nil, err
	}
	policy, have, err := program.Chain(ctx, filter, forwardLegacy)
	if err != nil || policy != "DROP" {
		return nil, program, err
	}
	var lacking []string
	for _, pattern := range p.Containers {
		for _, option := range []string{"-i", "-o"} {
			if rule := fmt.Sprintf("-A FORWARD %s %s -j ACCEPT", option, plus(pattern)); !slices.Contains(have, rule) {
				lacking = append(lacking, rule)
			}
		}
	}
	return lacking, program, nil
}

func admitLegacy(ctx context.Context, p Policy) error {
	lacking, program, err := lackingLegacy(ctx, p)
	if len(lacking) == 0 || err != nil {
		return err
	}
	return program.Restore(ctx, "*"+filter+"\n"+strings.Join(lacking, "\n")+"\nCOMMIT\n")
}
