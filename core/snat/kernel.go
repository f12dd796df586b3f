package snat

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
)

// tries bounds how often a change is tried that another process's change got in the way of.
const tries = 16

// applyTable is Apply for nftables.
func applyTable(ctx context.Context, p Policy) (changed bool, err error) {
	want := p.Ruleset()
	for range tries {
		var f found
		if f, err = read(ctx, want.names); err != nil {
			return false, fmt.Errorf("read %s: %w", want.names.table(), err)
		}
		if want.difference(f) == "" {
			return false, nil
		}
		if err = write(ctx, want, f); err == nil {
			return true, nil
		}
		if !outdated(err) {
			break
		}
	}
	return false, fmt.Errorf("write %s: %w", want.names.table(), err)
}

// checkTable is Check for nftables.
func checkTable(ctx context.Context, p Policy) (string, error) {
	want := p.Ruleset()
	difference := ""
	for range tries {
		f, err := read(ctx, want.names)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", want.names.table(), err)
		}
		// A list that was read while another process changed it may show neither what was nor what is.
		again := want.difference(f)
		if again == "" || again == difference {
			difference = again
			break
		}
		difference = again
	}
	return difference, nil
}

// readyTable asks whether the kernel answers for nftables at all.
func readyTable(ctx context.Context) error {
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	t := tableOf(family.IPv4)
	if _, err := conn.ListTableOfFamily(t.Name, t.Family); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("ask for %s: %w", tableWords(t), err)
	}
	return nil
}

// patience bounds one exchange with the kernel, which answers at once or, where a module is missing, not at all.
const patience = 10 * time.Second

// deadline is when an exchange that begins now has to be over.
func deadline(ctx context.Context) time.Time {
	latest := time.Now().Add(patience)
	if d, ok := ctx.Deadline(); ok && d.Before(latest) {
		return d
	}
	return latest
}

// dial returns a connection, in the network namespace of the calling thread, whose exchanges end with the context. It is
// for one transaction: after a failed one the library may leave answers unread.
func dial(ctx context.Context) (*nftables.Conn, error) {
	return nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetDeadline(deadline(ctx)) }))
}

// outdated says whether a transaction failed because the table was no longer as it was read, or because the kernel
// asks to try again.
func outdated(err error) bool {
	for _, errno := range []error{unix.ENOENT, unix.EEXIST, unix.EBUSY, unix.EAGAIN, unix.EINTR, unix.ERESTART, unix.ENOBUFS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// read returns what the kernel has under the names.
func read(ctx context.Context, n names) (found, error) {
	conn, err := dial(ctx)
	if err != nil {
		return found{}, err
	}
	defer func() { _ = conn.CloseLasting() }()
	f := found{sets: map[string]foundSet{}, chains: map[string]foundChain{}}
	table, err := conn.ListTableOfFamily(Table, tableOf(n.family).Family)
	if errors.Is(err, unix.ENOENT) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	// The library gives the flags in the wrong byte order (v0.3.0, tableFromMsg).
	flags := table.Flags | bits.ReverseBytes32(table.Flags)
	f.table, f.dormant = true, flags&unix.NFT_TABLE_F_DORMANT != 0
	for _, name := range []string{n.containers, n.include, n.keep} {
		if err := f.readSet(conn, table, name); err != nil {
			return f, fmt.Errorf("set %s: %w", name, err)
		}
	}
	for _, name := range []string{n.mark, n.snat} {
		if err := f.readChain(conn, table, name); err != nil {
			return f, fmt.Errorf("chain %s: %w", name, err)
		}
	}
	return f, nil
}

func (f *found) readSet(conn *nftables.Conn, table *nftables.Table, name string) error {
	set, err := conn.GetSetByName(table, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	elements, err := conn.GetSetElements(set)
	if err != nil {
		return err
	}
	f.sets[name] = foundSet{key: set.KeyType, interval: set.Interval && !set.IsMap, spans: spansOf(elements)}
	return nil
}

func (f *found) readChain(conn *nftables.Conn, table *nftables.Table, name string) error {
	base, err := conn.ListChain(table, name)
	if err != nil {
		// The library does not say which error it was. One that is no absence comes back when the chain is written.
		return nil //nolint:nilerr // see above
	}
	rules, err := conn.GetRules(table, base)
	if err != nil {
		return err
	}
	c := foundChain{base: *base}
	for _, r := range rules {
		comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
		c.rules = append(c.rules, foundRule{comment: comment, code: r.Exprs})
	}
	f.chains[name] = c
	return nil
}
