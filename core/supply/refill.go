package supply

import (
	"context"
	"errors"
	"fmt"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// errStale says that the pool changed since it was decided what goes back.
var errStale = errors.New("the pool has changed")

// Lacking says whether a pool with so many free addresses is to be filled.
func (s *Supply) Lacking(free int) bool { return free < s.conf.Warm.Min && !s.offline() }

// spare says whether the pool has something to give back. Many free addresses alone do not tell: they may be of prefixes
// that are in use.
func (s *Supply) spare(tx *store.Tx) (bool, error) {
	if s.conf.Warm.Max == 0 || s.conf.Mode != netconf.Normal {
		return false, nil
	}
	k := &knowledge{counts: map[string]store.Counts{}}
	var err error
	if k.enis, err = tx.ENIs(); err == nil {
		err = k.count(tx)
	}
	out := pool.Shrink(s.policy(), s.state(k))
	return len(out.Delete)+len(out.Release) > 0, err
}

// Refill brings the free addresses to between "min" and "max". It does nothing while another process grows the pool, which is
// why it looks again at the end: another refill may have come to nothing meanwhile, for a change that this one did not see.
func (s *Supply) Refill(ctx context.Context) error {
	for {
		if again, err := s.refill(ctx); err != nil || !again {
			return err
		}
	}
}

// refill is one round of Refill, and says whether there was something to do.
func (s *Supply) refill(ctx context.Context) (did bool, err error) {
	release, held, err := s.store.TryLockGrowth()
	if err != nil || held {
		return false, err
	}
	defer release()
	k, err := s.know(ctx)
	if err != nil {
		return false, err
	}
	if _, rests := k.rests[restAPI]; rests || s.offline() {
		return false, nil
	}
	st := s.state(k)
	if pool.Want(s.policy(), st) > 0 {
		return true, s.grow(ctx, k)
	}
	if s.conf.Mode != netconf.Normal {
		return false, nil
	}
	out := pool.Shrink(s.policy(), st)
	if len(out.Delete)+len(out.Release) == 0 {
		return false, nil
	}
	driver, err := s.driver()
	if err != nil {
		return false, err
	}
	return true, s.heed(ctx, restAPI, s.shrink(ctx, driver, k, out))
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
	intent := s.stamp(store.Intent{Op: store.OpUnassign, ENI: step.ENI})
	var marked share
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if step.Prefixes {
			marked.prefixes, err = tx.MarkReleasingPrefixes(step.ENI, step.Count)
		} else {
			marked.addresses, err = tx.MarkReleasing(step.ENI, step.Count)
		}
		if err != nil || marked.empty() { // containers have them by now
			return err
		}
		intent.Addresses, intent.Prefixes = marked.addresses, marked.prefixes
		intent.Number, err = tx.Begin(intent)
		return err
	})
	if err != nil || marked.empty() {
		return err
	}
	return s.completeUnassign(ctx, driver, intent, marked)
}

// DeleteENI deletes an ENI of ours, none of whose addresses is in use: they are marked before, as in a release.
func (s *Supply) DeleteENI(ctx context.Context, driver cloud.Driver, eni string) error {
	intent := s.stamp(store.Intent{Op: store.OpDeleteENI, ENI: eni})
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Counts(eni)
		if err == nil && n.Total() != n.Free {
			err = fmt.Errorf("%s has addresses in use: %w", eni, errStale)
		}
		if err == nil {
			err = tx.MarkReleasingAll(eni)
		}
		if err == nil {
			intent.Number, err = tx.Begin(intent)
		}
		return err
	})
	if err != nil {
		return err
	}
	k, err := s.know(ctx)
	if err != nil {
		return err
	}
	return s.completeDeletion(ctx, driver, k.node.InstanceID, intent)
}
