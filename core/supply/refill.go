package supply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// errStale says that the pool changed since it was decided what goes back.
var errStale = errors.New("the pool has changed")

// spare says whether the pool has something to give back, what has cooled down included. Many free addresses alone do not tell:
// they may be of prefixes that are in use.
func (s *Supply) spare(tx *store.Tx) (bool, error) {
	if !s.pool().Bounded() {
		return false, nil
	}
	if err := tx.ThawSome(); err != nil {
		return false, err
	}
	k := &knowledge{}
	var err error
	if k.enis, err = tx.ENIs(); err == nil {
		k.counts, err = tx.AllCounts(k.enis)
	}
	if err != nil {
		return false, err
	}
	return !s.shrinkage(k).empty(), nil
}

// shrinkage is what the pool has too much of: ENIs, and addresses of each family.
type shrinkage struct {
	delete  []string
	release []step
}

func (s shrinkage) empty() bool { return len(s.delete)+len(s.release) == 0 }

// shrinkage says what goes back. An ENI goes where every family can do without it.
func (s *Supply) shrinkage(k *knowledge) shrinkage {
	out, states := shrinkage{}, make([]pool.State, len(s.conf.Families))
	for i, f := range s.conf.Families {
		states[i] = s.state(k, f)
		spare := pool.Shrink(s.policy(f), states[i]).Delete
		if i > 0 {
			spare = common(out.delete, spare)
		}
		out.delete = spare
	}
	for i, f := range s.conf.Families {
		st := states[i]
		for n, e := range st.ENIs {
			st.ENIs[n].Needed = !slices.Contains(out.delete, e.ID)
		}
		for _, part := range pool.Shrink(s.policy(f), st).Release {
			out.release = append(out.release, step{part, f})
		}
	}
	return out
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
	for _, f := range s.conf.Families {
		if pool.Want(s.policy(f), s.state(k, f)) > 0 {
			return true, s.grow(ctx, k)
		}
	}
	if s.conf.Mode != netconf.Normal {
		return false, nil
	}
	out := s.shrinkage(k)
	if out.empty() {
		return false, nil
	}
	driver, err := s.driver()
	if err != nil {
		return false, err
	}
	return true, s.heed(ctx, restAPI, s.shrink(ctx, driver, k, out))
}

// shrink gives back what is too many. Intents that are open are settled before.
func (s *Supply) shrink(ctx context.Context, driver cloud.Driver, k *knowledge, out shrinkage) error {
	if len(k.intents) > 0 {
		if err := s.learn(ctx, driver); err != nil {
			return err
		}
	}
	for _, eni := range out.delete {
		if err := s.DeleteENI(ctx, driver, eni); err != nil && !errors.Is(err, errStale) {
			return err
		}
	}
	for _, st := range out.release {
		if err := s.release(ctx, driver, st); err != nil {
			return err
		}
	}
	return nil
}

// release gives free addresses of an ENI back: first they are marked, so that no container gets them, then the cloud takes
// them, then the store forgets them.
func (s *Supply) release(ctx context.Context, driver cloud.Driver, st step) error {
	intent := s.stamp(store.Intent{Op: store.OpUnassign, ENI: st.ENI})
	var marked share
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if st.Prefixes {
			marked.prefixes, err = tx.MarkReleasingPrefixes(st.ENI, st.family, st.Count)
		} else {
			marked.addresses, err = tx.MarkReleasing(st.ENI, st.family, st.Count)
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
		n, err := countsOf(tx, eni)
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
