package snat

import (
	"github.com/google/nftables"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
)

// The order among the neighbours at a hook.
const (
	// priorityMark comes after every DNAT, which the kernel does at -100 whatever the priority of the chain that asked
	// for it (nf_nat_ipv4_ops, nf_nat_ipv6_ops, net/netfilter/nf_nat_proto.c): the destination is the real one, on every packet.
	priorityMark = -90
	// prioritySNAT comes after those who translate sources at 100, as kube-proxy does: the first to decide wins, and
	// what is said of single connections goes before what is said of all.
	prioritySNAT = 110
	// priorityKeep comes before them.
	priorityKeep = 90
)

// Ruleset is a network's part of its family's table. Its String is what `nft list table ip enichain` shows of it.
type Ruleset struct {
	Sets   []Set
	Chains []Chain
	names  names
}

// Set is a named set of intervals.
type Set struct {
	Name  string
	kind  setKind
	spans []span
	// open says that spans which the set has already may stay.
	open bool
}

// Chain is a base chain with the policy accept.
type Chain struct {
	Name     string
	Type     nftables.ChainType
	Hook     nftables.ChainHook
	Priority nftables.ChainPriority
	Rules    []Rule
}

// Rule is one rule of a chain.
type Rule struct {
	Comment string
	terms   []term
}

// Ruleset returns the network's part of the table. It is empty where both switches are off.
func (p Policy) Ruleset() Ruleset {
	r := Ruleset{names: namesOf(p.Network, p.Family)}
	if !p.SNAT && !p.NodePort {
		return r
	}
	r.Sets = append(r.Sets, Set{Name: r.names.containers, kind: interfaceSet, spans: patternSpans(p.Containers), open: !p.Closed})
	if p.SNAT && len(p.Include) > 0 {
		r.Sets = append(r.Sets, Set{Name: r.names.include, kind: addressSet, spans: prefixSpans(p.Include)})
	}
	if p.SNAT && len(p.Keep) > 0 {
		r.Sets = append(r.Sets, Set{Name: r.names.keep, kind: addressSet, spans: prefixSpans(p.Keep)})
	}
	r.Chains = append(r.Chains, p.markChain(r.names))
	if p.SNAT {
		r.Chains = append(r.Chains, p.snatChain(r.names))
	}
	if p.Family == family.IPv6 && p.NodePort {
		r.Chains = append(r.Chains, p.keepChain(r.names))
	}
	return r
}

// markChain decides, by one bit of the connection's mark, which connections belong to the primary ENI, and routes what
// containers send on them by it, before the routing decision. Replies are un-DNATed after that decision only, so the
// mark, not the address, must say where they go.
func (p Policy) markChain(n names) Chain {
	c := Chain{
		Name: n.mark, Type: nftables.ChainTypeFilter,
		Hook: *nftables.ChainHookPrerouting, Priority: priorityMark,
	}
	add := func(comment string, terms ...term) { c.Rules = append(c.Rules, Rule{Comment: comment, terms: terms}) }
	if p.NodePort {
		// Any translated destination: node ports, host ports, and load balancers' addresses that the node does not hold.
		add("entered for an address that was translated", iifname(p.Primary), ctStateNew(), ctStatusDNAT(), setCtMark())
		// IPVS translates later, and so the address is still the node's.
		add("entered for an address of the node", iifname(p.Primary), ctStateNew(), fibDaddrType(addrLocal), setCtMark())
	}
	add("not from a container", iifnameNotIn(n.containers), accept())
	if p.SNAT {
		// Unicast is neither the node's own address nor multicast nor broadcast.
		terms := []term{ctStateNew(), fibDaddrType(addrUnicast)}
		if len(p.Include) > 0 {
			terms = append(terms, daddr(n.include, true))
		}
		if len(p.Keep) > 0 {
			terms = append(terms, daddr(n.keep, false))
		}
		add("leaves the VPC", append(terms, setCtMark())...)
	}
	add("by the primary ENI", ctMarked(), setMetaMark())
	return c
}

// snatChain translates what was sent to the primary ENI. It asks for the packet's mark, not the connection's: markChain
// gives that only to what containers send, and so nothing of the host or of other bridges is ever translated.
func (p Policy) snatChain(n names) Chain {
	return Chain{
		Name: n.snat, Type: nftables.ChainTypeNAT,
		Hook: *nftables.ChainHookPostrouting, Priority: prioritySNAT,
		Rules: []Rule{{
			Comment: "the VPC takes only its own address here",
			terms:   []term{oifname(p.Primary), metaMarked(), snatTo(p.PrimaryIP)},
		}},
	}
}

// keepChain lets what a container sends by its own ENI keep its address, where kube-proxy would masquerade it: for a node
// port of this node with an endpoint beyond it. The host has no address of IPv6 on that ENI, and the VPC drops what leaves it
// with another ENI's. The answers come back here all the same.
func (p Policy) keepChain(n names) Chain {
	return Chain{
		Name: n.snat, Type: nftables.ChainTypeNAT,
		Hook: *nftables.ChainHookPostrouting, Priority: priorityKeep,
		Rules: []Rule{{
			Comment: "its ENI has no address of the host's",
			terms: []term{
				iifnameIn(n.containers), oifnameNotIn(n.containers), oifnameNot(p.Primary), snatToItself(),
			},
		}},
	}
}

// State returns what the marks need beside the table or the chains: the policy rule, where anything is marked, and for
// iptables those that judge new connections.
func (p Policy) State() layout.State {
	if !p.SNAT && !p.NodePort {
		return layout.State{}
	}
	rules := []layout.Rule{layout.MarkRule(p.Family)}
	if p.SNAT && p.Backend == netconf.IPTables {
		rules = append(rules, layout.NewRules(p.destinations())...)
	}
	return layout.State{Rules: rules}
}
