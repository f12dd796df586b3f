package supply

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
)

// lastTakeTimeout bounds the last look of a call whose own time may be over.
const lastTakeTimeout = time.Second

// Allocate gives the owner an address of each family: free ones of the pool, which grows while there are none, until ctx ends.
// Where one cannot be had, the owner gets none.
func (s *Supply) Allocate(ctx context.Context, r warm.Request) (warm.Grant, error) {
	g, err := s.take(ctx, r, s.wait(ctx, r))
	if !missing(err) {
		return g, err
	}
	if g, err = s.allocateGrowing(ctx, r); err == nil {
		return g, nil
	}
	// An address may have come free meanwhile: whatever went wrong, an ADD that the pool can serve is not refused.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTakeTimeout)
	defer cancel()
	g, lastErr := s.take(last, r, endWait(r))
	switch {
	case lastErr == nil:
		s.log.Warn("growth failed, and an address came free", "error", err)
		return g, nil
	case missing(lastErr):
		return warm.Grant{}, err
	}
	return warm.Grant{}, errors.Join(err, lastErr)
}

// allocateGrowing is Allocate where the pool as it is has nothing to give. One process at a time grows it.
func (s *Supply) allocateGrowing(ctx context.Context, r warm.Request) (warm.Grant, error) {
	release, err := s.store.LockGrowth(ctx)
	if err != nil {
		return warm.Grant{}, err
	}
	defer release()
	for looked := false; ; {
		// Whoever had the lock before may have grown the pool for all who waited; and who comes without having waited may
		// take what this call has grown.
		g, err := s.take(ctx, r, s.wait(ctx, r))
		if !missing(err) {
			return g, err
		}
		if ctx.Err() != nil {
			return warm.Grant{}, errors.Join(err, context.Cause(ctx))
		}
		switch unknown := errors.Is(err, store.ErrUnknownAddress); {
		case unknown && looked:
			return warm.Grant{}, err
		case unknown:
			looked, err = true, s.lookAgain(ctx)
		default:
			err = s.growForWaiting(ctx, r.Owner.Network)
		}
		if err != nil {
			return warm.Grant{}, err
		}
	}
}

// missing says whether the pool could have what it does not have yet.
func missing(err error) bool {
	return errors.Is(err, store.ErrExhausted) || errors.Is(err, store.ErrUnknownAddress)
}

// lookAgain learns whether the cloud has more than the pool knows, once it may be asked.
func (s *Supply) lookAgain(ctx context.Context) error {
	k, err := s.know(ctx)
	if err == nil && !s.offline() {
		err = s.sleepOut(ctx, k.rests[restAPI])
	}
	if err == nil {
		err = s.heed(ctx, restAPI, s.relearn(ctx))
	}
	return err
}

// take tries the pool as it is. Where it has nothing to give, otherwise says what becomes of the owner's waiting.
func (s *Supply) take(ctx context.Context, r warm.Request, otherwise func(*store.Tx) error) (g warm.Grant, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		g, err = s.pool().Give(tx, r)
		return err
	})
	switch {
	case errors.Is(err, warm.ErrAbandoned):
		return warm.Grant{}, s.join(ctx, err, endWait(r))
	case missing(err): // what was taken of another family is free again: it is undone
		return warm.Grant{}, s.join(ctx, err, otherwise)
	}
	return g, err
}

func endWait(r warm.Request) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.EndWait(r.Owner) }
}

// wait counts the owner among those for whom the pool grows, until ctx ends: by what it does not have. Another address than the
// one that is wanted would be no use.
func (s *Supply) wait(ctx context.Context, r warm.Request) func(*store.Tx) error {
	until := s.began + time.Duration(s.conf.Timeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = s.store.Now() + time.Until(deadline)
	}
	return func(tx *store.Tx) error {
		held, err := tx.AddressesOf(r.Owner)
		lacking := slices.DeleteFunc(slices.Clone(s.conf.Families), func(f family.Family) bool {
			return r.Wants(f).IsValid() || slices.ContainsFunc(held, func(a store.Address) bool { return family.Of(a.IP) == f })
		})
		if err != nil || len(lacking) == 0 {
			return err
		}
		return tx.Wait(r.Owner, lacking, until)
	}
}

// relearn asks the cloud what there is, where it may be asked.
func (s *Supply) relearn(ctx context.Context) error {
	if s.offline() {
		return nil
	}
	driver, err := s.driver()
	if err != nil {
		return err
	}
	return s.learn(ctx, driver)
}

// Release ends the owner's hold, and says whether the pool has something to give back then.
func (s *Supply) Release(ctx context.Context, owner store.Owner) (spare bool, err error) {
	err = s.store.UpdateExisting(ctx, func(tx *store.Tx) error {
		if err := s.pool().Release(tx, owner); err != nil {
			return err
		}
		spare, err = s.spare(tx)
		return err
	})
	if errors.Is(err, store.ErrNoStore) {
		return false, nil
	}
	return spare, err
}
