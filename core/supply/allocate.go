package supply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
)

// lastTakeTimeout bounds the last look of a call whose own time may be over.
const lastTakeTimeout = time.Second

// Grant is what the owner now has: an address of each family that the network gives.
type Grant struct {
	Addresses []Granted
	Free      int // addresses that are left for others, of the family that has the fewest
}

// Granted is an address, and the ENI that it belongs to.
type Granted struct {
	store.Address
	Of store.ENI
}

// Request is who wants addresses.
type Request struct {
	Owner   store.Owner
	Sandbox store.Sandbox
	IPs     []netip.Addr // those that are wanted, one of a family at the most; of the other families, any
	// Abandoned says that nobody waits for the answer any more, so that nobody would release what is given; nil is never.
	Abandoned func() bool
}

// ErrAbandoned says that who asked for an address is gone.
var ErrAbandoned = errors.New("who asked for an address is gone")

// wants returns the address of the family that is wanted; the zero Addr is any.
func (r Request) wants(f family.Family) netip.Addr {
	for _, ip := range r.IPs {
		if family.Of(ip) == f {
			return ip
		}
	}
	return netip.Addr{}
}

// Allocate gives the owner an address of each family: free ones of the pool, which grows while there are none, until ctx ends.
// Where one cannot be had, the owner gets none.
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
	g, lastErr := s.take(last, r, endWait(r))
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
	for looked := false; ; {
		// Whoever had the lock before may have grown the pool for all who waited; and who comes without having waited may
		// take what this call has grown.
		g, err := s.take(ctx, r, s.wait(ctx, r))
		if !missing(err) {
			return g, err
		}
		if ctx.Err() != nil {
			return Grant{}, errors.Join(err, context.Cause(ctx))
		}
		switch unknown := errors.Is(err, store.ErrUnknownAddress); {
		case unknown && looked:
			return Grant{}, err
		case unknown:
			looked, err = true, s.lookAgain(ctx)
		default:
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
func (s *Supply) take(ctx context.Context, r Request, otherwise func(*store.Tx) error) (g Grant, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if r.Abandoned != nil && r.Abandoned() {
			return ErrAbandoned
		}
		g = Grant{}
		for _, f := range s.conf.Families {
			if err := s.takeOne(tx, r, f); err != nil {
				return err
			}
		}
		return s.fillIn(tx, r.Owner, &g)
	})
	switch {
	case errors.Is(err, ErrAbandoned):
		return Grant{}, s.join(ctx, err, endWait(r))
	case missing(err): // what was taken of another family is free again: it is undone
		return Grant{}, s.join(ctx, err, otherwise)
	}
	return g, err
}

func endWait(r Request) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.EndWait(r.Owner) }
}

// takeOne gives the owner an address of the family.
func (s *Supply) takeOne(tx *store.Tx, r Request, f family.Family) error {
	if ip := r.wants(f); ip.IsValid() {
		return s.takeThis(tx, r, ip)
	}
	_, err := tx.Take(r.Owner, r.Sandbox, f, s.usable)
	return err
}

// fillIn says what the owner has: those of the network's families in their order, and before a change of the network's maybe
// of another one.
func (s *Supply) fillIn(tx *store.Tx, owner store.Owner, g *Grant) error {
	held, err := tx.AddressesOf(owner)
	if err != nil {
		return err
	}
	slices.SortStableFunc(held, func(a, b store.Address) int {
		order := func(a store.Address) int { return slices.Index(s.conf.Families, family.Of(a.IP)) }
		return cmp.Compare(uint(order(a)), uint(order(b))) // -1 is last
	})
	for _, a := range held {
		eni, known, err := tx.ENI(a.ENI)
		if err == nil && !known {
			err = fmt.Errorf("%w: %s is of %s, which is not in the store", store.ErrCorrupt, a.IP, a.ENI)
		}
		if err != nil {
			return err
		}
		g.Addresses = append(g.Addresses, Granted{a, eni})
	}
	g.Free, err = s.free(tx)
	return err
}

// takeThis gives the owner the address that it asks for, unless that is of an ENI whose addresses are given to nobody new.
func (s *Supply) takeThis(tx *store.Tx, r Request, ip netip.Addr) error {
	held, err := tx.AddressesOf(r.Owner)
	if err != nil {
		return err
	}
	a, known, err := tx.Address(ip)
	if err != nil {
		return err
	}
	if known && !slices.ContainsFunc(held, func(a store.Address) bool { return a.IP == ip }) {
		e, _, err := tx.ENI(a.ENI)
		if err != nil {
			return err
		}
		switch {
		case e.Lost:
			return fmt.Errorf("%w: %s, which had it, is gone", store.ErrUnknownAddress, e.ID)
		case e.Draining:
			return fmt.Errorf("%w: %s is draining", store.ErrNotFree, e.ID)
		case e.DeviceIndex < s.conf.FirstDeviceIndex:
			return fmt.Errorf(`%w: %s, which has it, is device %d, and "firstDeviceIndex" is %d`,
				store.ErrNotFree, e.ID, e.DeviceIndex, s.conf.FirstDeviceIndex)
		}
	}
	_, err = tx.TakeThis(ip, r.Owner, r.Sandbox)
	return err
}

// wait counts the owner among those for whom the pool grows, until ctx ends: by what it does not have. Another address than the
// one that is wanted would be no use.
func (s *Supply) wait(ctx context.Context, r Request) func(*store.Tx) error {
	until := s.began + time.Duration(s.conf.Timeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = s.store.Now() + time.Until(deadline)
	}
	return func(tx *store.Tx) error {
		held, err := tx.AddressesOf(r.Owner)
		lacking := slices.DeleteFunc(slices.Clone(s.conf.Families), func(f family.Family) bool {
			return r.wants(f).IsValid() || slices.ContainsFunc(held, func(a store.Address) bool { return family.Of(a.IP) == f })
		})
		if err != nil || len(lacking) == 0 {
			return err
		}
		return tx.Wait(r.Owner, lacking, until)
	}
}

// free counts the addresses that a container could have now, of the family that has the fewest.
func (s *Supply) free(tx *store.Tx) (int, error) {
	enis, err := tx.ENIs()
	if err != nil {
		return 0, err
	}
	least := math.MaxInt
	for _, f := range s.conf.Families {
		free := 0
		for _, e := range enis {
			if !s.usable(e) {
				continue
			}
			n, err := tx.Counts(e.ID, f)
			if err != nil {
				return 0, err
			}
			free += n.Free
		}
		least = min(least, free)
	}
	return least, nil
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
