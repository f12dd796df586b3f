package supply

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/enichain/enichain/core/store"
)

// lastTakeTimeout bounds the last look of a call whose own time may be over.
const lastTakeTimeout = time.Second

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
	// Abandoned says that nobody waits for the answer any more, so that nobody would release what is given; nil is never.
	Abandoned func() bool
}

// ErrAbandoned says that who asked for an address is gone.
var ErrAbandoned = errors.New("who asked for an address is gone")

// Allocate gives the owner an address: a free one of the pool, which grows while there is none, until ctx ends.
func (s *Supply) Allocate(ctx context.Context, r Request) (Grant, error) {
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
	g, lastErr := s.take(last, r, func(tx *store.Tx) error { return tx.EndWait(r.Owner) })
	switch {
	case lastErr == nil:
		s.log.Warn("growth failed, and an address came free", "error", err)
		return g, nil
	case missing(lastErr):
		return Grant{}, err
	}
	return Grant{}, errors.Join(err, lastErr)
}

// allocateGrowing is Allocate where the pool as it is has nothing to give. One process at a time grows it.
func (s *Supply) allocateGrowing(ctx context.Context, r Request) (Grant, error) {
	release, err := s.store.LockGrowth(ctx)
	if err != nil {
		return Grant{}, err
	}
	defer release()
	for {
		// Whoever had the lock before may have grown the pool for all who waited; and who comes without having waited may
		// take what this call has grown.
		g, err := s.take(ctx, r, s.wait(ctx, r))
		if !missing(err) {
			return g, err
		}
		if ctx.Err() != nil {
			return Grant{}, errors.Join(err, context.Cause(ctx))
		}
		if r.IP.IsValid() {
			err = s.lookFor(ctx)
		} else {
			err = s.growForWaiting(ctx, r.Owner.Network)
		}
		if err != nil {
			return Grant{}, err
		}
	}
}

// missing says whether the pool could have what it does not have yet.
func missing(err error) bool {
	return errors.Is(err, store.ErrExhausted) || errors.Is(err, store.ErrUnknownAddress)
}

// lookFor looks whether the cloud has more than the pool knows, once it may be asked. Once is enough: its error is that the
// address which is wanted is not known, unless it is now.
func (s *Supply) lookFor(ctx context.Context) error {
	k, err := s.know(ctx)
	if err == nil && !s.offline() {
		err = s.sleepOut(ctx, k.rests[restAPI])
	}
	if err == nil {
		err = s.heed(ctx, restAPI, s.relearn(ctx))
	}
	if err != nil {
		return err
	}
	return store.ErrUnknownAddress
}

// take tries the pool as it is. Where it has nothing to give, otherwise says what becomes of the owner's waiting.
func (s *Supply) take(ctx context.Context, r Request, otherwise func(*store.Tx) error) (g Grant, err error) {
	var none error
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if r.Abandoned != nil && r.Abandoned() {
			none = ErrAbandoned
			return tx.EndWait(r.Owner)
		}
		if r.IP.IsValid() {
			g.Address, err = s.takeThis(tx, r)
		} else {
			g.Address, err = tx.Take(r.Owner, r.Sandbox, s.usable)
		}
		if missing(err) {
			none = err
			return otherwise(tx)
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
	if err == nil {
		err = none
	}
	return g, err
}

// takeThis gives the owner the address that it asks for, unless that is of an ENI whose addresses are given to nobody new.
func (s *Supply) takeThis(tx *store.Tx, r Request) (store.Address, error) {
	held, err := tx.AddressesOf(r.Owner)
	if err != nil {
		return store.Address{}, err
	}
	a, known, err := tx.Address(r.IP)
	if err != nil {
		return store.Address{}, err
	}
	if known && len(held) == 0 {
		e, _, err := tx.ENI(a.ENI)
		if err != nil {
			return store.Address{}, err
		}
		switch {
		case e.Lost:
			return store.Address{}, fmt.Errorf("%w: %s, which had it, is gone", store.ErrUnknownAddress, e.ID)
		case e.Draining:
			return store.Address{}, fmt.Errorf("%w: %s is draining", store.ErrNotFree, e.ID)
		case e.DeviceIndex < s.conf.FirstDeviceIndex:
			return store.Address{}, fmt.Errorf(`%w: %s, which has it, is device %d, and "firstDeviceIndex" is %d`,
				store.ErrNotFree, e.ID, e.DeviceIndex, s.conf.FirstDeviceIndex)
		}
	}
	return tx.TakeThis(r.IP, r.Owner, r.Sandbox)
}

// wait counts the owner among those for whom the pool grows, until ctx ends. Another address than the one that is wanted
// would be no use.
func (s *Supply) wait(ctx context.Context, r Request) func(*store.Tx) error {
	if r.IP.IsValid() {
		return func(*store.Tx) error { return nil }
	}
	until := s.began + time.Duration(s.conf.Timeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = s.store.Now() + time.Until(deadline)
	}
	return func(tx *store.Tx) error { return tx.Wait(r.Owner, until) }
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
		if _, err := tx.Release(owner, time.Duration(*s.conf.Cooldown)); err != nil {
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
