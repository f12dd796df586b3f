package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// grow adds addresses to the pool for all who wait; the caller holds the lock of growth. It first learns what is there
// where nothing is known yet, where a call was never settled, and where no ENI has room: addresses may have been added
// by hand.
func (c *call) grow() error {
	k, err := c.knowledge()
	if err != nil {
		return err
	}
	// Another's failure since this call began is this one's too: 50 ADDs on a node without credentials make one call.
	if k.failure.At > c.began {
		return &cloud.Error{Class: cloud.Class(k.failure.Class), Message: k.failure.Message}
	}
	driver, err := c.driver()
	if err != nil {
		return err
	}
	err = c.growFrom(k, driver)
	if err == nil || c.ctx.Err() != nil {
		return err
	}
	recorded := c.store.Update(c.ctx, func(tx *store.Tx) error { return tx.Fail(string(classOf(err)), err.Error()) })
	return errors.Join(err, recorded)
}

// growFrom is grow with what is known and whom to ask.
func (c *call) growFrom(k *knowledge, driver cloud.Driver) (err error) {
	if !k.known || len(k.intents) > 0 || len(c.plan(k, nil)) == 0 {
		if err := c.learn(driver, k.intents); err != nil {
			return err
		}
		if k, err = c.knowledge(); err != nil || k.free >= k.waiting {
			return err
		}
	}
	refused := map[string]error{}
	for {
		steps := c.plan(k, refused)
		if len(steps) == 0 {
			return c.full(k, refused)
		}
		added := false
		for _, step := range steps {
			err := c.assign(driver, step)
			switch class := classOf(err); {
			case err == nil:
				added = true
			case class == cloud.Quota || class == cloud.SubnetFull:
				refused[step.ENI] = err
			case !added:
				return err
			}
		}
		if added {
			return nil
		}
	}
}

// plan asks the arithmetic which ENIs get how many addresses; those that refused get none.
func (c *call) plan(k *knowledge, refused map[string]error) []pool.Step {
	var enis []pool.ENI
	for _, e := range k.enis {
		if refused[e.ID] == nil && c.usable(e) {
			enis = append(enis, pool.ENI{ID: e.ID, DeviceIndex: e.DeviceIndex, Holds: 1 + k.holds[e.ID], Limit: e.Limit})
		}
	}
	return pool.Plan(k.waiting-k.free, c.request.IPAM.Batch, enis)
}

// assign adds addresses to one ENI and to the store. Its intent is written before the call, and dropped with the outcome
// in the store: what a killed process leaves open, the next to grow finds and settles.
func (c *call) assign(driver cloud.Driver, step pool.Step) error {
	intent := store.Intent{Op: "assign", ENI: step.ENI, Count: step.Count, PID: os.Getpid(), Started: time.Now().UTC()}
	err := c.store.Update(c.ctx, func(tx *store.Tx) (err error) {
		intent.Number, err = tx.Begin(intent)
		return err
	})
	if err != nil {
		return fmt.Errorf("journal the assignment to %s: %w", step.ENI, err)
	}
	ips, err := driver.Assign(c.ctx, step.ENI, step.Count)
	c.log.Info("assign", "eni", step.ENI, "count", step.Count, "addresses", ips, "error", err)
	if err != nil {
		err = fmt.Errorf("assign %d addresses to %s: %w", step.Count, step.ENI, err)
	}
	if classOf(err).Ambiguous() {
		// Never repeated blindly: the call may have done its work, and has no token that would keep it from doing so twice.
		return c.settle(driver, intent, err)
	}
	stored := c.store.Update(c.ctx, func(tx *store.Tx) error {
		return errors.Join(tx.AddAddresses(step.ENI, ips), tx.Settle(intent.Number))
	})
	return errors.Join(err, stored)
}

// settle finds out what an assignment did that failed with callErr and may have done its work all the same. It is no
// failure where the addresses are there.
func (c *call) settle(driver cloud.Driver, intent store.Intent, callErr error) error {
	before, err := c.knowledge()
	if err != nil {
		return errors.Join(callErr, err)
	}
	if err := c.learn(driver, []store.Intent{intent}); err != nil {
		return errors.Join(callErr, err)
	}
	after, err := c.knowledge()
	if err != nil || after.holds[intent.ENI] <= before.holds[intent.ENI] {
		return errors.Join(callErr, err)
	}
	return nil
}

// full says why no ENI takes more addresses: the cloud's refusals, and how full the others are.
func (c *call) full(k *knowledge, refused map[string]error) error {
	e := &cloud.Error{Class: cloud.Quota}
	var reasons []string
	for _, eni := range k.enis {
		switch {
		case !c.usable(eni):
		case refused[eni.ID] != nil:
			reasons = append(reasons, refused[eni.ID].Error())
			e.Class = classOf(refused[eni.ID])
		default:
			reasons = append(reasons, fmt.Sprintf("%s is full with %d", eni.ID, k.holds[eni.ID]))
		}
	}
	e.Message = fmt.Sprintf("no ENI of %s takes more addresses: %s", k.node, strings.Join(reasons, "; "))
	if k.cooling > 0 {
		e.Message += fmt.Sprintf("; %d are cooling down", k.cooling)
	}
	return e
}

// classOf is the class of the cloud's error in err; none where there is none.
func classOf(err error) cloud.Class {
	var e *cloud.Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}
