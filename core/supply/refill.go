package supply

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// errStale says that the pool changed since it was decided what goes back.
var errStale = errors.New("the pool has changed")

// Lacking says whether a pool with so many free addresses is to be filled, and Spare whether it is to give back.
func (s *Supply) Lacking(free int) bool { return free < s.conf.Warm.Min && !s.offline() }

// Spare says whether a pool with so many free addresses is to give some back.
func (s *Supply) Spare(free int) bool {
	return s.conf.Warm.Max > 0 && free > s.conf.Warm.Max && s.conf.Mode == netconf.Normal
}

// Refill brings the free addresses to between "min" and "max". It does nothing while another process grows the pool.
func (s *Supply) Refill(ctx context.Context) error {
	release, held, err := s.store.TryLockGrowth()
	if err != nil || held {
		return err
	}
	defer release()
	k, err := s.know(ctx)
	if err != nil {
		return err
	}
	if _, rests := k.rests[restAPI]; rests || s.offline() {
		return nil
	}
	st := s.state(k)
	if pool.Want(s.policy(), st) > 0 {
		return s.grow(ctx, k)
	}
	if s.conf.Mode != netconf.Normal {
		return nil
	}
	out := pool.Shrink(s.policy(), st)
	if len(out.Delete)+len(out.Release) == 0 {
		return nil
	}
	driver, err := s.driver()
	if err != nil {
		return err
	}
	return s.heed(ctx, restAPI, s.shrink(ctx, driver, k, out))
}

// shrink gives back what is too many. Intents that are open are settled before.
func (s *Supply) shrink(ctx context.Context, driver cloud.Driver, k *knowledge, out pool.Shrinkage) error {
	if len(k.intents) > 0 {
		if err := s.learn(ctx, driver); err != nil {
			return err
		}
	}
	for _, eni := range out.Delete {
		if err := s.DeleteENI(ctx, driver, eni); err != nil && !errors.Is(err, errStale) {
			return err
		}
	}
	for _, step := range out.Release {
		if err := s.release(ctx, driver, step); err != nil {
			return err
		}
	}
	return nil
}

// release gives free addresses of an ENI back: first they are marked, so that no container gets them, then the cloud takes
// them, then the store forgets them.
func (s *Supply) release(ctx context.Context, driver cloud.Driver, step pool.Step) error {
	intent, err := s.mark(ctx, store.OpUnassign, step.ENI, step.Count)
	if err != nil || len(intent.Addresses) == 0 {
		return err
	}
	return s.completeUnassign(ctx, driver, intent, intent.Addresses)
}

// DeleteENI deletes an ENI of ours, none of whose addresses is in use: they are marked before, as in a release.
func (s *Supply) DeleteENI(ctx context.Context, driver cloud.Driver, eni string) error {
	intent, err := s.mark(ctx, store.OpDeleteENI, eni, -1)
	if err != nil {
		return err
	}
	k, err := s.know(ctx)
	if err != nil {
		return err
	}
	return s.completeDeletion(ctx, driver, k.node.InstanceID, intent)
}

// mark marks free addresses of the ENI as releasing, and journals what for. A count of -1 is all that the ENI has, of which
// none may be in use.
func (s *Supply) mark(ctx context.Context, op, eni string, count int) (intent store.Intent, err error) {
	var chosen []netip.Addr
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Counts(eni)
		if err != nil {
			return err
		}
		if count < 0 && n.Total() != n.Free {
			return fmt.Errorf("%s has addresses in use: %w", eni, errStale)
		}
		if count < 0 {
			count = n.Free
		}
		chosen, err = tx.MarkReleasing(eni, count)
		if err != nil || op == store.OpUnassign && len(chosen) == 0 { // containers have them by now
			return err
		}
		intent = s.stamp(store.Intent{Op: op, ENI: eni, Addresses: chosen})
		intent.Number, err = tx.Begin(intent)
		return err
	})
	return intent, err
}
