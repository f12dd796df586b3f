package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// hurry is how much time a call has to have left for its failure to say something to others: a driver gives up a little
// before its caller's deadline.
const hurry = 500 * time.Millisecond

// grow adds addresses to the pool for all who wait; the caller holds the lock of growth. It first learns what is there
// where nothing is known yet, where a call was never settled, and where no ENI has room: addresses may have been added
// by hand.
func (c *call) grow() error {
	k, err := c.knowledge()
	if err != nil {
		return err
	}
	// Another's failure since this call began is this one's too: 50 ADDs on a node without credentials make one call.
	if k.failure.At > c.began && k.failure.Network == c.owner.Network {
		return &cloud.Error{Class: cloud.Class(k.failure.Class), Message: k.failure.Message}
	}
	driver, err := c.driver()
	if err != nil {
		return err
	}
	err = c.growFrom(k, driver)
	if err == nil || c.hurried() {
		return err
	}
	f := store.Failure{Network: c.owner.Network, Class: string(classOf(err)), Message: err.Error()}
	return errors.Join(err, c.store.Update(c.ctx, func(tx *store.Tx) error { return tx.Fail(f) }))
}

// hurried says whether the call has so little time left that whatever fails may fail for that reason.
func (c *call) hurried() bool {
	end, _ := c.ctx.Deadline()
	return time.Until(end) < hurry
}

// growFrom is grow with what is known and whom to ask.
func (c *call) growFrom(k *knowledge, driver cloud.Driver) error {
	refused, learnt := map[string]error{}, false
	for {
		steps := c.plan(k, refused)
		if !learnt && (!k.known || len(k.intents) > 0 || len(steps) == 0) {
			learnt = true
			err := c.learn(driver, k.intents)
			if err != nil && len(refused) > 0 {
				return errors.Join(c.full(k, refused), err)
			}
			if err != nil {
				return err
			}
			if k, err = c.knowledge(); err != nil || k.free >= k.waiting {
				return err
			}
			continue
		}
		if len(steps) == 0 {
			return c.full(k, refused)
		}
		if added, err := c.carryOut(driver, steps, refused); added || err != nil {
			return err
		}
	}
}

// carryOut makes the calls that were planned, and says whether one brought addresses. ENIs that take none are put into
// refused: one that is gone, too, is no reason not to try the next.
func (c *call) carryOut(driver cloud.Driver, steps []pool.Step, refused map[string]error) (added bool, err error) {
	for _, step := range steps {
		err := c.assignSome(driver, step)
		switch class := classOf(err); {
		case err == nil:
			added = true
		case noRoom(class) || class == cloud.NotFound:
			refused[step.ENI] = err
		case !added:
			return false, err
		}
	}
	return added, nil
}

// assignSome assigns as many addresses as are planned, or else half of them, and so on: the cloud refuses a whole call
// for the one address that is too many.
func (c *call) assignSome(driver cloud.Driver, step pool.Step) error {
	for {
		err := c.assign(driver, step)
		if !noRoom(classOf(err)) || step.Count == 1 {
			return err
		}
		step.Count /= 2
	}
}

// noRoom says whether an ENI or its subnet takes no more, or not so many, addresses.
func noRoom(class cloud.Class) bool { return class == cloud.Quota || class == cloud.SubnetFull }

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
	if !slices.ContainsFunc(k.enis, c.usable) {
		reasons = append(reasons, fmt.Sprintf("none has device index %d (firstDeviceIndex) or more", c.request.IPAM.FirstDeviceIndex))
	}
	for _, eni := range k.enis {
		switch {
		case !c.usable(eni):
		case refused[eni.ID] != nil:
			reasons = append(reasons, refused[eni.ID].Error())
			if class := classOf(refused[eni.ID]); noRoom(class) {
				e.Class = class
			}
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
