package supply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// hurry is how much time a call has to have left for its failure to say something to others: a driver gives up a little
// before its caller's deadline.
const hurry = 500 * time.Millisecond

// growForWaiting grows the pool for all who wait; the caller holds the lock of growth. Where the cloud throttles, it
// waits and tries again for as long as ctx allows.
func (s *Supply) growForWaiting(ctx context.Context, network string) error {
	var throttled error
	for {
		k, err := s.know(ctx)
		if err != nil {
			return err
		}
		// Another's failure since this call began is this one's too: 50 ADDs on a node without credentials make one call.
		if k.failure.At > s.began && k.failure.Network == network {
			return &cloud.Error{Class: cloud.Class(k.failure.Class), Message: k.failure.Message}
		}
		if err := s.sleepOut(ctx, k.rests[restAPI]); err != nil {
			return err
		}
		err = s.grow(ctx, k)
		switch {
		case err == nil:
			return nil
		case hurried(ctx):
			return errors.Join(throttled, err) // what took the time comes first
		case cloud.ClassOf(err) == cloud.Throttled:
			throttled = err
			continue
		}
		f := store.Failure{Network: network, Class: string(cloud.ClassOf(err)), Message: err.Error()}
		return s.join(ctx, err, func(tx *store.Tx) error { return tx.Fail(f) })
	}
}

// hurried says whether so little time is left that whatever fails may fail for that reason.
func hurried(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && time.Until(end) < hurry
}

// grow brings the pool to what the arithmetic wants of it.
func (s *Supply) grow(ctx context.Context, k *knowledge) error {
	if s.offline() {
		f, _ := s.scarcest(k)
		return s.full(k, f, map[string]error{"": errors.New(`the "mode" is "offline"`)})
	}
	driver, err := s.driver()
	if err != nil {
		return err
	}
	var full error
	for i, f := range s.conf.Families {
		if i > 0 { // what was made for one may have what another lacks
			if k, err = s.know(ctx); err != nil {
				return err
			}
		}
		if err := s.growBy(ctx, driver, k, f); err != nil {
			if class := cloud.ClassOf(err); !noRoom(class) && class != cloud.Unsupported || s.inVain(ctx, f) {
				return s.heed(ctx, restAPI, errors.Join(err, full))
			}
			full = errors.Join(full, err)
		}
	}
	return s.heed(ctx, restAPI, full)
}

// inVain says whether nobody who waits for the family can be served, so that more of another one would be no use.
func (s *Supply) inVain(ctx context.Context, f family.Family) bool {
	k, err := s.know(ctx)
	return err != nil || k.waiting[f] > 0 && s.state(k, f).Free() == 0
}

// growBy is grow of a family with whom to ask. It learns what is there where nothing is known of the family, where an intent
// is open, and where no ENI has room, or one refused that seemed to have: addresses may have been added by hand.
func (s *Supply) growBy(ctx context.Context, driver cloud.Driver, k *knowledge, f family.Family) error {
	refused, learnt := map[string]error{}, false
	for {
		st := s.state(k, f)
		steps, enough := pool.Grow(s.policy(f), st), pool.Enough(s.policy(f), st)
		switch {
		case !learnt && (!slices.Contains(k.node.Learnt, f) && !enough || len(k.intents) > 0 || len(steps) == 0 && !enough || len(refused) > 0):
			learnt = true
			if err := s.learn(ctx, driver); err != nil {
				if len(refused) > 0 {
					err = errors.Join(s.full(k, f, refused), err)
				}
				return err
			}
		case enough:
			return nil
		case len(steps) == 0:
			return s.full(k, f, refused)
		default:
			if grown, err := s.carryOut(ctx, driver, k, f, steps, refused); err != nil || grown {
				return err
			}
		}
		var err error
		if k, err = s.know(ctx); err != nil {
			return err
		}
		k.refused = refused
	}
}

// carryOut does the steps, and says whether one brought addresses. One that the cloud refuses is noted in refused: an ENI
// that is gone, too, is no reason not to try the next. Another failure is one only where nothing was added before.
func (s *Supply) carryOut(ctx context.Context, driver cloud.Driver, k *knowledge, f family.Family, steps []pool.Step, refused map[string]error) (grown bool, err error) {
	for _, planned := range steps {
		step := step{planned, f}
		if step.ENI == "" {
			err = s.createENI(ctx, driver, k, step)
		} else {
			err = s.assignSome(ctx, driver, k, step)
		}
		switch class := cloud.ClassOf(err); {
		case err == nil:
			grown = true
		case step.Prefixes && noPrefixes(class): // which rest, so that the next plan has addresses in their place
			s.log.Warn("there are no prefixes", "eni", step.ENI, "error", err)
		case noRoom(class) || class == cloud.NotFound || class == cloud.Unsupported:
			refused[step.ENI] = err
		case !grown:
			return false, err
		default:
			s.log.Warn("the pool grew by a part only", "error", err)
			return true, nil
		}
	}
	return grown, nil
}

// noRoom says whether a class of errors means that there is no place, or no address, for what was asked.
func noRoom(class cloud.Class) bool { return class == cloud.Quota || class == cloud.SubnetFull }

// noPrefixes says whether a class of errors of prefixes means that addresses may be had all the same: free ones are too
// scattered in the subnet, or the instance or the cloud has no prefixes.
func noPrefixes(class cloud.Class) bool {
	return class == cloud.SubnetFull || class == cloud.Unsupported
}

// assignSome assigns as many addresses or prefixes as are planned, or else half of them, and so on: the cloud refuses a
// whole call for the one that is too many. What takes not even one rests.
func (s *Supply) assignSome(ctx context.Context, driver cloud.Driver, k *knowledge, step step) error {
	for {
		at := slices.IndexFunc(k.enis, func(e store.ENI) bool { return e.ID == step.ENI })
		err := s.assign(ctx, driver, k.enis[at], step)
		if noRoom(cloud.ClassOf(err)) && step.Count > 1 {
			step.Count /= 2
			continue
		}
		what := restOfENI(step.family, step.ENI)
		switch class := cloud.ClassOf(err); {
		case step.Prefixes && noPrefixes(class):
			what = prefixesOf(step.family, k.enis[at])
		case class == cloud.SubnetFull && k.enis[at].SubnetID != "":
			what = restOfSubnet(step.family, k.enis[at].SubnetID)
		}
		return s.heed(ctx, what, err)
	}
}

// assign adds addresses or prefixes to one ENI and to the store. Its intent is written before the call, and dropped with the
// outcome in the store: what a killed process leaves open, the next to grow finds and settles.
func (s *Supply) assign(ctx context.Context, driver cloud.Driver, eni store.ENI, step step) error {
	intent, err := s.begin(ctx, intended(store.Intent{Op: store.OpAssign, ENI: step.ENI}, step))
	if err != nil {
		return err
	}
	added, err := step.ask(ctx, driver)
	s.log.Info("assign", "eni", step.ENI, "count", step.Count, "addresses", added.addresses, "prefixes", added.prefixes, "error", err)
	if err != nil {
		err = fmt.Errorf("assign %s to %s in %s: %w", AmountOf(intent), eni.ID, cmp.Or(eni.SubnetID, eni.Subnet.String()), err)
	}
	if cloud.ClassOf(err).Ambiguous() {
		// Never repeated blindly: the call may have done its work, and on AWS has no token that would keep it from doing so
		// twice.
		return s.lookAfter(ctx, driver, step, err)
	}
	stored := s.store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(added.add(tx, step.ENI), tx.Settle(intent.Number))
	})
	return errors.Join(err, stored)
}

// ask has the cloud assign what the step says.
func (st step) ask(ctx context.Context, driver cloud.Driver) (added share, err error) {
	switch six := st.family == family.IPv6; {
	case six && st.Prefixes:
		added.prefixes, err = driver.AssignIPv6Prefixes(ctx, st.ENI, st.Count)
	case six:
		added.addresses, err = driver.AssignIPv6(ctx, st.ENI, st.Count)
	case st.Prefixes:
		added.prefixes, err = driver.AssignPrefixes(ctx, st.ENI, st.Count)
	default:
		added.addresses, err = driver.Assign(ctx, st.ENI, st.Count)
	}
	return added, err
}

// lookAfter finds out what an assignment did that failed with callErr and may have done its work all the same. It is no
// failure where addresses were added.
func (s *Supply) lookAfter(ctx context.Context, driver cloud.Driver, step step, callErr error) error {
	before, err := s.know(ctx)
	if err != nil {
		return errors.Join(callErr, err)
	}
	if err := s.learn(ctx, driver); err != nil {
		return errors.Join(callErr, err)
	}
	after, err := s.know(ctx)
	if err != nil || after.counts[step.family][step.ENI].Total() <= before.counts[step.family][step.ENI].Total() {
		return errors.Join(callErr, err)
	}
	return nil
}

// begin journals an intent.
func (s *Supply) begin(ctx context.Context, i store.Intent) (store.Intent, error) {
	i = s.stamp(i)
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		i.Number, err = tx.Begin(i)
		return err
	})
	if err != nil {
		return i, fmt.Errorf("journal the intent to %s: %w", i.Op, err)
	}
	return i, nil
}

// stamp says whose the intent is.
func (s *Supply) stamp(i store.Intent) store.Intent {
	i.PID, i.Started = os.Getpid(), time.Now().UTC().Truncate(time.Second)
	return i
}

// full says why no ENI takes more addresses of a family: the cloud's refusals, and how full the others are.
func (s *Supply) full(k *knowledge, f family.Family, refused map[string]error) error {
	e := &cloud.Error{Class: cloud.Quota}
	var reasons []string
	cooling := 0
	for _, eni := range k.enis {
		if !s.pool().Usable(eni) {
			continue
		}
		n := k.counts[f][eni.ID]
		cooling += n.Cooling
		switch rest, rests := k.rest(restOfENI(f, eni.ID), restOfSubnet(f, eni.SubnetID)); {
		case refused[eni.ID] != nil:
			reasons = append(reasons, refused[eni.ID].Error())
			e.Class = cloud.ClassOf(refused[eni.ID])
		case rests:
			reasons = append(reasons, rest.Reason)
			e.Class = cloud.Class(rest.Class)
		case f == family.IPv6 && !eni.Gateway6.IsValid():
			reasons = append(reasons, fmt.Sprintf("%s has no IPv6: %s has no range of it", eni.ID, cmp.Or(eni.SubnetID, eni.Subnet.String())))
			e.Class = cloud.Unsupported
		default:
			reasons = append(reasons, fmt.Sprintf("%s is full with %d", eni.ID, n.Places()))
		}
	}
	reason, class := s.whyNoMore(k, f, refused[""])
	reasons, e.Class = append(reasons, reason), cmp.Or(class, e.Class)
	e.Message = fmt.Sprintf("no ENI of %s takes more %s: %s", k.node, addressesOf(f), strings.Join(slices.DeleteFunc(reasons, isEmpty), "; "))
	if cooling > 0 {
		e.Message += fmt.Sprintf("; %d are cooling down", cooling)
	}
	return e
}

func isEmpty(s string) bool { return s == "" }

// addressesOf names addresses of a family: IPv4's go without saying.
func addressesOf(f family.Family) string {
	if f == family.IPv6 {
		return "addresses of IPv6"
	}
	return "addresses"
}

// whyNoMore says why no further ENI is made, and of which class that is where the cloud refused one.
func (s *Supply) whyNoMore(k *knowledge, f family.Family, refused error) (string, cloud.Class) {
	st := s.state(k, f)
	n := len(st.ENIs) + st.Others
	rest, rests := k.rest(restENIs, restOfENIs(f))
	switch {
	case refused != nil:
		return refused.Error(), cloud.ClassOf(refused)
	case s.conf.Cloud == netconf.StaticCloud:
		return "", ""
	case rests:
		return rest.Reason, cloud.Class(rest.Class)
	case f == family.IPv6 && k.node.NoIPv6:
		return fmt.Sprintf("%s has no IPv6", cmp.Or(k.node.InstanceType, "the instance")), cloud.Unsupported
	case f == family.IPv4 && s.conf.MaxIPs > 0 && pool.Want(s.policy(f), st) == 0:
		return fmt.Sprintf(`"maxIPs" is %d`, s.conf.MaxIPs), ""
	case s.conf.MaxENIs > 0 && n >= s.conf.MaxENIs:
		return fmt.Sprintf(`"maxENIs" is %d`, s.conf.MaxENIs), ""
	case st.ENILimit > 0 && n >= st.ENILimit:
		return fmt.Sprintf("%s takes %d ENIs", cmp.Or(k.node.InstanceType, "the instance"), st.ENILimit), ""
	}
	return "", ""
}
