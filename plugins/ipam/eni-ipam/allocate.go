package main

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

// grant is an address that the owner now has, and the ENI that it belongs to.
type grant struct {
	address store.Address
	eni     store.ENI
}

// allocate gives the owner the address that is wanted, or, where that is zero, any: a free one of the pool, which grows
// while there is none.
func (c *call) allocate(want netip.Addr) (grant, error) {
	g, err := c.take(c.ctx, want, c.wait)
	if !missing(err) {
		return g, err
	}
	if g, err = c.allocateGrowing(want); err == nil {
		return g, nil
	}
	// An address may have come free meanwhile: whatever went wrong, an ADD that the pool can serve is not refused.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), lastTakeTimeout)
	defer cancel()
	g, lastErr := c.take(ctx, want, func(tx *store.Tx) error { return tx.EndWait(c.owner) })
	switch {
	case lastErr == nil:
		c.log.Warn("growth failed, and an address came free", "error", err)
		return g, nil
	case missing(lastErr):
		return grant{}, err
	}
	return grant{}, errors.Join(err, lastErr)
}

// allocateGrowing is allocate where the pool as it is has nothing to give. One process at a time grows it.
func (c *call) allocateGrowing(want netip.Addr) (grant, error) {
	release, err := c.store.LockGrowth(c.ctx)
	if err != nil {
		return grant{}, err
	}
	defer release()
	grow := c.grow
	if want.IsValid() {
		grow = c.relearn
	}
	for {
		// Whoever had the lock before may have grown the pool for all who waited; and who comes without having waited may
		// take what this call has grown.
		g, err := c.take(c.ctx, want, c.wait)
		if !missing(err) {
			return g, err
		}
		if c.ctx.Err() != nil {
			return grant{}, errors.Join(err, context.Cause(c.ctx))
		}
		if err := grow(); err != nil {
			return grant{}, err
		}
	}
}

// missing says whether the pool could have what it does not have yet.
func missing(err error) bool {
	return errors.Is(err, store.ErrExhausted) || errors.Is(err, store.ErrUnknownAddress)
}

// relearn looks whether the cloud has more than the pool knows. Once is enough: its error is that the address which is
// wanted is not known, unless it is now.
func (c *call) relearn() error {
	driver, err := c.driver()
	if err != nil {
		return err
	}
	if err := c.learn(driver, nil); err != nil {
		return err
	}
	return store.ErrUnknownAddress
}

// take tries the pool as it is. Where it has nothing to give, otherwise says what becomes of the owner's waiting.
func (c *call) take(ctx context.Context, want netip.Addr, otherwise func(*store.Tx) error) (g grant, err error) {
	var none error
	err = c.store.Update(ctx, func(tx *store.Tx) error {
		if want.IsValid() {
			g.address, err = tx.TakeThis(want, c.owner, c.sandbox)
		} else {
			g.address, err = tx.Take(c.owner, c.sandbox, c.usable)
		}
		if missing(err) {
			none = err
			return otherwise(tx)
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
	if err == nil {
		err = none
	}
	return g, err
}

// wait counts the owner among those for whom the pool grows.
func (c *call) wait(tx *store.Tx) error { return tx.Wait(c.owner, c.began+c.timeout()) }
