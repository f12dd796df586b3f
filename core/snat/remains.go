package snat

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/nfnetlink"
	"github.com/enichain/enichain/core/xtables"
)

// remain is what another backend has of a network.
type remain struct {
	what       string
	containers []string // the interfaces that it serves
	remove     func(context.Context) error
}

// remains returns what backends other than this one have of the policy's network. It asks the kernel, and runs a program
// only where there is something. What no program is there for cannot be removed, and is left out.
func (b backend) remains(ctx context.Context, p Policy) ([]remain, error) {
	own := xtables.Variant("")
	var all []remain
	if b.text != nil {
		var err error
		if own, err = b.text.program.Variant(ctx); err != nil {
			return nil, err
		}
		if all, err = remainsOfTable(ctx, p); err != nil {
			return nil, err
		}
	}
	for _, v := range []xtables.Variant{xtables.NFT, xtables.Legacy} {
		if v == own {
			continue
		}
		r, err := remainsOfVariant(ctx, b.host, p, v)
		if err != nil {
			return nil, err
		}
		all = append(all, r...)
	}
	return all, nil
}

// remainsOfTable returns the network's part of the nftables table.
func remainsOfTable(ctx context.Context, p Policy) ([]remain, error) {
	none := Ruleset{names: namesOf(p.Network, p.Family)}
	f, err := read(ctx, none.names)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", none.names.table(), err)
	}
	objects := none.leftover(f)
	if len(objects) == 0 {
		return nil, nil
	}
	r := remain{what: objects[0] + " of " + none.names.table()}
	for _, s := range f.sets[none.names.containers].spans {
		r.containers = append(r.containers, s.pattern())
	}
	r.remove = func(ctx context.Context) error {
		if _, err := applyTable(ctx, p.off()); err != nil {
			return err
		}
		return removeEmptyTable(ctx, tableOf(p.Family))
	}
	return []remain{r}, nil
}

// removeEmptyTable removes an nftables table where nothing is in it. The kernel looks itself (NLM_F_NONREC), so that what
// another network puts there meanwhile is safe; the library always asks for all to go.
func removeEmptyTable(ctx context.Context, t *nftables.Table) error {
	err := nfnetlink.Commit(ctx, nfnetlink.Table(unix.NFT_MSG_DELTABLE, unix.NLM_F_NONREC, uint8(t.Family), t.Name))
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// remainsOfVariant returns the network's chains in a variant of iptables.
func remainsOfVariant(ctx context.Context, h *netstate.Handle, p Policy, v xtables.Variant) ([]remain, error) {
	names := chainNamesOf(p.Network, p.Family)
	holds, err := v.Holds(p.Family, "mangle", names.enter)
	if err != nil || !holds {
		return nil, err
	}
	found, err := xtables.FindVariant(ctx, v, p.Family)
	if errors.Is(err, xtables.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text := textTables{found, h}
	f, _, err := text.read(ctx, p.off())
	if err != nil {
		return nil, err
	}
	return []remain{{
		what:       fmt.Sprintf("chain %s of %s-%s", names.enter, names.program(), v),
		containers: enterPatterns(f.chains[names.enter], names),
		remove:     func(ctx context.Context) error { return text.remove(ctx, p) },
	}}, nil
}
