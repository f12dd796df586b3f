package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
)

func (t *tool) repair(args []string) error {
	flags := flag.NewFlagSet("repair", flag.ContinueOnError)
	dry := flags.Bool("dry-run", false, "only say what would be done")
	r, done, err := t.begin(flags, args, 0, 0)
	if err != nil {
		return err
	}
	defer done()
	host, err := netstate.Here()
	if err != nil {
		return err
	}
	defer host.Close()
	if !*dry {
		if err := upgrade(r.ctx, r.net); err != nil {
			return err
		}
	}
	s, err := look(r.ctx, store.At(r.net.ipam.DataDir))
	if err != nil {
		return err
	}
	t.doing("compare %d ENIs and %d containers with the kernel", len(s.enis), len(s.assigned()))
	k := &healer{net: r.net, host: host, say: t.say, dry: *dry}
	if err := k.heal(r.ctx, s); err != nil {
		return err
	}
	return t.sum(k)
}

// upgrade brings a store of an older enichain, in which ENIs have no numbers, to this one's format.
func upgrade(ctx context.Context, net *network) error {
	err := store.At(net.ipam.DataDir).UpdateExisting(ctx, func(*store.Tx) error { return nil })
	if errors.Is(err, store.ErrNoStore) {
		return nil
	}
	return err
}

// say prints a line; that it cannot be printed shows with the last one.
func (t *tool) say(format string, args ...any) { _ = t.printf(format+"\n", args...) }

// sum prints what became of the kernel.
func (t *tool) sum(k *healer) error {
	line := "the kernel is as the store says\n"
	switch {
	case k.changed > 0 && k.dry:
		line = fmt.Sprintf("%d things differ from the store\n", k.changed)
	case k.changed > 0:
		line = fmt.Sprintf("the kernel is as the store says: %d things were put right\n", k.changed)
	}
	if k.broken {
		return errFindings
	}
	err := t.printf("%s", line)
	if k.dry && k.changed > 0 {
		err = errors.Join(err, errFindings)
	}
	return err
}
