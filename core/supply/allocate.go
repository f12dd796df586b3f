package supply

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/enichain/enichain/core/store"
)

// endWaitTimeout bounds the clean-up of a call whose own time is over.
const endWaitTimeout = time.Second

// Grant is an address that the owner now has, and the ENI that it belongs to.
type Grant struct {
	Address store.Address
	ENI     store.ENI
	Free    int // addresses that are left for others
}

// Request is who wants an address.
type Request struct {
	Owner   store.Owner
	Sandbox store.Sandbox
	IP      netip.Addr // the one that is wanted; zero is any
}

// Allocate gives the owner an address: a free one of the pool, which grows while there is none, until ctx ends.
func (s *Supply) Allocate(ctx context.Context, r Request) (Grant, error) {
	g, err := s.take(ctx, r)
	if !missing(err) {
		return g, err
	}
	g, err = s.allocateGrowing(ctx, r)
	if err != nil {
		err = errors.Join(err, s.endWait(ctx, r.Owner))
	}
	return g, err
}

// allocateGrowing is Allocate where the pool as it is has nothing to give. One process at a time grows it.
func (s *Supply) allocateGrowing(ctx context.Context, r Request) (Grant, error) {
	release, err := s.store.LockGrowth(ctx)
	if err != nil {
		return Grant{}, err
	}
	defer release()
	// Whoever had the lock before may have grown the pool for all who waited.
	g, err := s.take(ctx, r)
	if !missing(err) {
		return g, err
	}
	if r.IP.IsValid() {
		err = s.relearn(ctx)
	} else {
		err = s.growForWaiting(ctx)
	}
	if err != nil {
		return Grant{}, err
	}
	return s.take(ctx, r)
}

// missing says whether the pool could have what it does not have yet.
func missing(err error) bool {
	return errors.Is(err, store.ErrExhausted) || errors.Is(err, store.ErrUnknownAddress)
}

// take tries the pool as it is. Where it is empty the owner is counted among those who wait.
func (s *Supply) take(ctx context.Context, r Request) (g Grant, err error) {
	exhausted := false
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if r.IP.IsValid() {
			g.Address, err = tx.TakeThis(r.IP, r.Owner, r.Sandbox)
		} else {
			g.Address, err = tx.Take(r.Owner, r.Sandbox, s.usable)
		}
		if exhausted = errors.Is(err, store.ErrExhausted); exhausted {
			return tx.Wait(r.Owner, s.waitsUntil(ctx))
		}
		if err != nil {
			return err
		}
		var known bool
		if g.ENI, known, err = tx.ENI(g.Address.ENI); err == nil && !known {
			err = fmt.Errorf("%w: %s is of %s, which is not in the store", store.ErrCorrupt, g.Address.IP, g.Address.ENI)
		}
		if err == nil {
			g.Free, err = s.free(tx)
		}
		return err
	})
	if err == nil && exhausted {
		err = store.ErrExhausted
	}
	return g, err
}

// waitsUntil is when a container that waits gives up, since boot.
func (s *Supply) waitsUntil(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return store.SinceBoot() + time.Duration(s.conf.Timeout)
	}
	return store.SinceBoot() + time.Until(deadline)
}

// free counts the addresses that a container could have now.
func (s *Supply) free(tx *store.Tx) (int, error) {
	enis, err := tx.ENIs()
	if err != nil {
		return 0, err
	}
	free := 0
	for _, e := range enis {
		if !s.usable(e) {
			continue
		}
		n, err := tx.Counts(e.ID)
		if err != nil {
			return 0, err
		}
		free += n.Free
	}
	return free, nil
}

// endWait drops the owner from those who wait. It has a time of its own: the call's may be over.
func (s *Supply) endWait(ctx context.Context, owner store.Owner) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWaitTimeout)
	defer cancel()
	return s.store.Update(ctx, func(tx *store.Tx) error { return tx.EndWait(owner) })
}

// relearn looks whether the cloud has more than the pool knows.
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

// Release ends the owner's hold, and says how many addresses are free then.
func (s *Supply) Release(ctx context.Context, owner store.Owner) (free int, err error) {
	err = s.store.UpdateExisting(ctx, func(tx *store.Tx) error {
		if _, err := tx.Release(owner, time.Duration(*s.conf.Cooldown)); err != nil {
			return err
		}
		free, err = s.free(tx)
		return err
	})
	if errors.Is(err, store.ErrNoStore) {
		return 0, nil
	}
	return free, err
}
