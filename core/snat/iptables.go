package snat

import (
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/flock"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/xtables"
)

// textTables are iptables' tables of one family, by one set of programs, with the policy rules that belong to them.
type textTables struct {
	program *xtables.Program
	host    *netstate.Handle
}

// read returns what there is of eni-snat, and what the policy wants, given that.
func (t textTables) read(ctx context.Context, p Policy) (foundChains, Chains, error) {
	n := chainNamesOf(p.Network, p.Family)
	mangle, err := t.program.Table(ctx, "mangle")
	if err != nil {
		return foundChains{}, Chains{}, fmt.Errorf("read %s' table mangle: %w", n.program(), err)
	}
	var postrouting []string
	if p.Family == family.IPv4 { // of IPv6 nothing is ever translated
		if _, postrouting, err = t.program.Chain(ctx, "nat", "POSTROUTING"); err != nil {
			return foundChains{}, Chains{}, fmt.Errorf("read %s' table nat: %w", n.program(), err)
		}
	}
	f := n.foundIn(mangle, postrouting)
	want := p.widen(f.chains[n.enter]).Chains(t.program.RandomFully())
	want.alike(&f, func(chain string, rule TextRule) bool {
		has, err := t.program.Exists("mangle", chain, rule)
		return err == nil && has
	})
	return f, want, nil
}

// apply is Apply for iptables. iptables knows no change that is refused because another came first; so who writes has the
// namespace to himself among us.
func (t textTables) apply(ctx context.Context, p Policy) (changed bool, err error) {
	f, want, err := t.read(ctx, p)
	if err != nil || want.difference(f) == "" {
		return false, err
	}
	release, err := alone(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if f, want, err = t.read(ctx, p); err != nil || want.difference(f) == "" {
		return false, err
	}
	return true, t.write(ctx, p, want, f)
}

// remove removes what there is of the policy's network, after another backend has taken over.
func (t textTables) remove(ctx context.Context, p Policy) error {
	release, err := alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	f, none, err := t.read(ctx, p.off())
	if err != nil {
		return err
	}
	return t.write(ctx, p, none, f)
}

// write makes what is found what is wanted. The policy rules that the policy no longer has go before the chains that tell
// of them.
func (t textTables) write(ctx context.Context, p Policy, want Chains, f foundChains) error {
	stale, needed := f.rules(want.names)
	needed = append(needed, p.State().Rules...)
	for _, r := range stale {
		if slices.Contains(needed, r) {
			continue
		}
		if err := t.host.RemoveRule(r); err != nil {
			return err
		}
	}
	text := want.restore(f)
	if text == "" {
		return nil
	}
	if err := t.program.Restore(ctx, text); err != nil {
		return fmt.Errorf("write %s' tables: %w", want.names.program(), err)
	}
	return nil
}

// check is Check for iptables.
func (t textTables) check(ctx context.Context, p Policy) (string, error) {
	f, want, err := t.read(ctx, p)
	if err != nil {
		return "", err
	}
	return want.difference(f), nil
}

// alone waits until no other of us writes to the network namespace of the calling thread. The lock is the namespace's
// own file, and so needs none, and goes with the namespace.
func alone(ctx context.Context) (release func(), err error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	if err := flock.Take(ctx, file, unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("wait for another that writes iptables' tables: %w", err)
	}
	return func() { _ = file.Close() }, nil
}
