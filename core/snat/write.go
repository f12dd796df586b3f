package snat

import (
	"context"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// write makes the kernel's sets and chains of the network those of the ruleset, in one transaction: no packet sees a part
// of it. It may be repeated, and two processes that write the same may come at once; where f is no longer what the
// kernel has, the kernel refuses all of it.
func write(ctx context.Context, want Ruleset, f found) error {
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	table := conn.AddTable(tableOf(want.names.family))
	clearChains(conn, table, want, f)
	if err := writeSets(conn, table, want, f); err != nil {
		return err
	}
	for _, c := range want.Chains {
		writeChain(conn, table, c)
	}
	return conn.Flush()
}

// clearChains empties the network's chains, so that none needs a set, and deletes those that must be made anew.
func clearChains(conn *nftables.Conn, table *nftables.Table, want Ruleset, f found) {
	for _, name := range []string{want.names.mark, want.names.snat} {
		got, has := f.chains[name]
		if !has {
			continue
		}
		chain := &nftables.Chain{Name: name, Table: table}
		conn.FlushChain(chain)
		if c := want.chain(name); c == nil || !c.hooked(got.base) {
			conn.DelChain(chain)
		}
	}
}

// writeSets makes the network's sets hold what they are to hold.
func writeSets(conn *nftables.Conn, table *nftables.Table, want Ruleset, f found) error {
	for i, name := range []string{want.names.containers, want.names.include, want.names.keep} {
		got, has := f.sets[name]
		s := want.set(name)
		if has && (s == nil || !got.fits(s.kind)) {
			conn.DelSet(&nftables.Set{Name: name, Table: table})
			got = foundSet{}
		}
		if s == nil {
			continue
		}
		// The ID names the set within the transaction; the library would take one from a counter that is not safe to share.
		set := &nftables.Set{ID: uint32(i + 1), Name: name, Table: table, KeyType: s.kind.datatype(), Interval: true}
		if err := conn.AddSet(set, nil); err != nil {
			return err
		}
		add, flush := s.change(got.spans)
		if flush {
			conn.FlushSet(set)
		}
		if len(add) == 0 {
			continue
		}
		if err := conn.SetAddElements(set, elements(add)); err != nil {
			return err
		}
	}
	return nil
}

// writeChain makes the chain where it is missing, and gives it its rules.
func writeChain(conn *nftables.Conn, table *nftables.Table, c Chain) {
	policy := nftables.ChainPolicyAccept
	chain := conn.AddChain(&nftables.Chain{
		Name: c.Name, Table: table, Type: c.Type, Hooknum: &c.Hook, Priority: &c.Priority, Policy: &policy,
	})
	// Another process may have made it since we looked, and have given it the same rules.
	conn.FlushChain(chain)
	for _, r := range c.Rules {
		conn.AddRule(&nftables.Rule{
			Table: table, Chain: chain, Exprs: slices.Clip(r.code()),
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.Comment),
		})
	}
}
