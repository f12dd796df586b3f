package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
)

func (t *tool) drain(args []string) error {
	flags := flag.NewFlagSet("drain", flag.ContinueOnError)
	undo := flags.Bool("undo", false, "put the ENI back to use")
	r, done, err := t.begin(flags, args, 1, 1)
	if err != nil {
		return err
	}
	defer done()
	pool, eni := t.supply(r.net), r.rest[0]
	if *undo {
		if err := pool.EndDrain(r.ctx, eni); err != nil {
			return err
		}
		return t.printf("%s is in use again\n", eni)
	}
	t.doing("drain %s", eni)
	d, err := pool.Drain(r.ctx, eni)
	if errors.Is(err, supply.ErrUnknownENI) {
		return t.printf("%s is not on this node, or not any more: there is nothing to drain\n", eni)
	}
	if err != nil {
		return fmt.Errorf("drain %s: %w", eni, err)
	}
	if d.Deleted {
		if err := forgetENI(d.ENI); err != nil {
			return fmt.Errorf("%s is deleted, but its rules are not: %w", eni, err)
		}
		return t.printf("%s is deleted\n", eni)
	}
	return t.reportDrained(d)
}

// reportDrained says what keeps the ENI. That it is in use still is status 1, so that a script may wait for it.
func (t *tool) reportDrained(d supply.Drained) error {
	id := d.ENI.ID
	if len(d.InUse) == 0 {
		return t.printf("%s is empty, and no container gets an address of it; it stays, because enichain did not make it\n", id)
	}
	if err := t.printf("%s gives no address any more; %d are still in use:\n", id, len(d.InUse)); err != nil {
		return err
	}
	for _, a := range d.InUse {
		still := ""
		if left := a.Until - store.SinceBoot(); a.State == store.Cooling {
			still = " for " + seconds(left.Seconds())
		}
		if err := t.printf("  %s\t%s%s\t%s\n", a.IP, a.State, still, ownerOf(a)); err != nil {
			return err
		}
	}
	return errors.Join(t.printf("repeat the command when they are gone\n"), errFindings)
}

// forgetENI removes the rules of an ENI that is deleted; its routes went with its link. Another store's ENI may have its number.
func forgetENI(eni store.ENI) error {
	h, err := netstate.Here()
	if err != nil {
		return err
	}
	defer h.Close()
	_, err = h.RemoveRules(layout.ENI(eni, layout.Device{}, netconf.PerPod).Rules...)
	for _, r := range layout.NumberRules(eni) {
		err = errors.Join(err, h.RemoveRule(r))
	}
	return err
}
