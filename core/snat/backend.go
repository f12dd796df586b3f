package snat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/xtables"
)

// Apply makes the kernel hold the policy's ruleset or chains, and its policy rules, and says whether the backend's part had
// to be written. What is right already is not written again. It may be run by several processes at once, for one network
// and for several. Chains and sets of other networks, those of the other family, and other tables and rules, stay as they
// are. What another backend has of the network goes, once the policy's has all of it, so that no packet is without either.
//
// An error is xtables.ErrMissing or xtables.ErrBusy where iptables is the matter, or says what was refused.
func Apply(ctx context.Context, h *netstate.Handle, p Policy) (changed bool, err error) {
	if err := h.Apply(p.State()); err != nil {
		return false, err
	}
	b, err := backendOf(ctx, h, p)
	if err != nil {
		return false, err
	}
	others, err := b.remains(ctx, p)
	if err != nil {
		return false, err
	}
	for _, r := range others { // the containers that these serve still run
		if !p.Closed {
			p.Containers = slices.Concat(p.Containers, r.containers)
		}
	}
	if changed, err = b.apply(ctx, p); err != nil {
		return false, err
	}
	for _, r := range others {
		if err := r.remove(ctx); err != nil {
			return true, fmt.Errorf("remove %s: %w", r.what, err)
		}
		changed = true
	}
	if p.Forward {
		admitted, err := admit(ctx, p)
		if err != nil {
			return changed, err
		}
		changed = changed || admitted
	}
	return changed, nil
}

// Check returns, in words, the first thing that the kernel has otherwise than Apply would make it; "" where it has all.
func Check(ctx context.Context, h *netstate.Handle, p Policy) (difference string, err error) {
	b, err := backendOf(ctx, h, p)
	if err != nil {
		return "", err
	}
	if difference, err = b.check(ctx, p); difference != "" || err != nil {
		return difference, err
	}
	others, err := b.remains(ctx, p)
	if err != nil {
		return "", err
	}
	for _, r := range others {
		return r.what + " is not wanted: another backend has taken over", nil
	}
	if p.Forward {
		if d, err := forwardDifference(ctx, p); d != "" || err != nil {
			return d, err
		}
	}
	return h.Diff(p.State())
}

// Ready asks whether the backend can be used at all: whether the kernel answers for nftables, or the host has iptables. What
// IPv6 needs of it comes with the same packages, and is not missed where no container has IPv6.
func Ready(ctx context.Context, backend string) error {
	if backend != netconf.IPTables {
		return readyTable(ctx)
	}
	program := xtables.Name(family.IPv4)
	for _, name := range []string{program, program + "-restore"} {
		if _, err := xtables.Path(name); err != nil {
			return err
		}
	}
	return nil
}

// backend is where a policy is written: by the programs of iptables, or, where these are nil, to the nftables table.
type backend struct {
	text *textTables
	host *netstate.Handle
}

func backendOf(ctx context.Context, h *netstate.Handle, p Policy) (backend, error) {
	if p.Backend != netconf.IPTables {
		return backend{nil, h}, nil
	}
	found, err := xtables.Find(ctx, xtables.Name(p.Family))
	if errors.Is(err, xtables.ErrMissing) && !p.SNAT && !p.NodePort {
		return backend{nil, h}, nil // there is nothing to write
	}
	return backend{&textTables{found, h}, h}, err
}

func (b backend) apply(ctx context.Context, p Policy) (changed bool, err error) {
	if b.text != nil {
		return b.text.apply(ctx, p)
	}
	return applyTable(ctx, p)
}

func (b backend) check(ctx context.Context, p Policy) (string, error) {
	if b.text != nil {
		return b.text.check(ctx, p)
	}
	return checkTable(ctx, p)
}
