package supply

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// ErrUnknownENI says that this node has no such ENI, by the store and by the cloud.
var ErrUnknownENI = errors.New("this node has no such ENI")

// Drained is how far the draining of an ENI has come.
type Drained struct {
	ENI     store.ENI
	InUse   []store.Address // which keep it: assigned, or cooling down
	Left    int             // free addresses that it still has
	Deleted bool
}

// Drain takes an ENI out of use: from now on no container gets an address of it. What is free goes back to the cloud, and
// the ENI itself once nothing of it is in use, if it is one that we made. It may be repeated, and is to be until nothing is
// in use. It returns ErrUnknownENI where there is none, which is also what a repetition finds after the deletion.
func (s *Supply) Drain(ctx context.Context, eni string) (Drained, error) {
	release, err := s.store.LockGrowth(ctx)
	if err != nil {
		return Drained{}, err
	}
	defer release()
	if err := s.settleBefore(ctx, eni); err != nil {
		return Drained{}, err
	}
	d, err := s.close(ctx, eni)
	if err != nil || s.offline() || s.conf.Cloud == netconf.StaticCloud {
		return d, err
	}
	driver, err := s.driver()
	if err != nil {
		return d, err
	}
	if len(d.InUse) == 0 && d.ENI.Ours && !d.ENI.Primary {
		if err := s.DeleteENI(ctx, driver, eni); err != nil {
			return d, err
		}
		d.Deleted, d.Left = true, 0
		return d, nil
	}
	for _, f := range family.All() {
		for _, prefixes := range []bool{false, true} {
			all := pool.Step{ENI: eni, Count: math.MaxInt, Prefixes: prefixes}
			if err := s.release(ctx, driver, step{all, f}); err != nil {
				return d, err
			}
		}
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := countsOf(tx, eni)
		d.Left = n.Free // of prefixes that are in use
		return err
	})
	return d, err
}

// EndDrain puts an ENI that was being drained back to use.
func (s *Supply) EndDrain(ctx context.Context, eni string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		known, err := tx.Drain(eni, false)
		if err == nil && !known {
			err = fmt.Errorf("%s: %w", eni, ErrUnknownENI)
		}
		return err
	})
}

// settleBefore asks the cloud where the store does not know the ENI, an intent is open, which may be about it, or addresses of it
// are kept back though none is: those of a range that is lost.
func (s *Supply) settleBefore(ctx context.Context, eni string) error {
	k, err := s.know(ctx)
	if err != nil {
		return err
	}
	for _, e := range k.enis {
		if e.ID == eni && len(k.intents) == 0 && k.counts[family.IPv6][eni].Releasing == 0 {
			return nil
		}
	}
	return s.relearn(ctx)
}

// close marks the ENI, and says what of it is in use.
func (s *Supply) close(ctx context.Context, eni string) (d Drained, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		known, err := tx.Drain(eni, true)
		if err == nil && !known {
			err = fmt.Errorf("%s: %w", eni, ErrUnknownENI)
		}
		if err != nil {
			return err
		}
		if d.ENI, _, err = tx.ENI(eni); err != nil {
			return err
		}
		if err := tx.Thaw(); err != nil {
			return err
		}
		n, err := countsOf(tx, eni)
		if err != nil {
			return err
		}
		d.Left = n.Free
		all, err := tx.Addresses()
		for _, a := range all {
			if a.ENI == eni && a.State != store.Free {
				d.InUse = append(d.InUse, a)
			}
		}
		return err
	})
	return d, err
}
