package main

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

// grant is an address that the owner now has, and the ENI that it belongs to.
type grant struct {
	address store.Address
	eni     store.ENI
}

// allocate gives the owner the address that is wanted, or, where that is zero, any: a free one of the pool, which grows
// while there is none.
func (c *call) allocate(want netip.Addr) (grant, error) {
	g, err := c.take(want)
	if !missing(err) {
		return g, err
	}
	g, err = c.allocateGrowing(want)
	if err != nil {
		err = errors.Join(err, c.endWait())
	}
	return g, err
}

// allocateGrowing is allocate where the pool as it is has nothing to give. One process at a time grows it.
func (c *call) allocateGrowing(want netip.Addr) (grant, error) {
	release, err := c.store.LockGrowth(c.ctx)
	if err != nil {
		return grant{}, err
	}
	defer release()
	// Whoever had the lock before may have grown the pool for all who waited.
	g, err := c.take(want)
	if !missing(err) {
		return g, err
	}
	if want.IsValid() {
		err = c.relearn()
	} else {
		err = c.grow()
	}
	if err != nil {
		return grant{}, err
	}
	return c.take(want)
}

// missing says whether the pool could have what it does not have yet.
func missing(err error) bool {
	return errors.Is(err, store.ErrExhausted) || errors.Is(err, store.ErrUnknownAddress)
}

// relearn looks whether the cloud has more than the pool knows.
func (c *call) relearn() error {
	driver, err := c.driver()
	if err != nil {
		return err
	}
	return c.learn(driver, nil)
}

// take tries the pool as it is. Where it is empty the owner is counted among those who wait.
func (c *call) take(want netip.Addr) (g grant, err error) {
	exhausted := false
	err = c.store.Update(c.ctx, func(tx *store.Tx) error {
		if want.IsValid() {
			g.address, err = tx.TakeThis(want, c.owner, c.sandbox)
		} else {
			g.address, err = tx.Take(c.owner, c.sandbox, c.usable)
		}
		if exhausted = errors.Is(err, store.ErrExhausted); exhausted {
			return tx.Wait(c.owner, c.began+c.timeout())
		}
		if err != nil {
			return err
		}
		var known bool
		if g.eni, known, err = tx.ENI(g.address.ENI); err == nil && !known {
			err = fmt.Errorf("%w: %s is of %s, which is not in the store", store.ErrCorrupt, g.address.IP, g.address.ENI)
		}
		return err
	})
	if err == nil && exhausted {
		err = store.ErrExhausted
	}
	return g, err
}

// endWait drops the owner from those who wait. It has a second of its own: the call's time may be over.
func (c *call) endWait() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), endWaitTimeout)
	defer cancel()
	return c.store.Update(ctx, func(tx *store.Tx) error { return tx.EndWait(c.owner) })
}
