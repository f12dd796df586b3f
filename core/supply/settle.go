package supply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
)

// settle finds out what became of the intents that processes left open which died, or had no answer. listed is what the
// API said after they were written. What the cloud refuses for good is settled too, and no failure of whoever comes later.
func (s *Supply) settle(ctx context.Context, driver cloud.Driver, instance string, intents []store.Intent, listed []cloud.ENI) error {
	for _, i := range intents {
		err := s.settleOne(ctx, driver, instance, i, listed)
		if err == nil {
			continue
		}
		err = fmt.Errorf("settle what process %d began (%s): %w", i.PID, i.Op, err)
		if open, openErr := s.open(ctx, i.Number); open || openErr != nil {
			return errors.Join(err, openErr)
		}
		s.log.Warn("an earlier change was refused", "error", err)
	}
	return nil
}

func (s *Supply) settleOne(ctx context.Context, driver cloud.Driver, instance string, i store.Intent, listed []cloud.ENI) error {
	switch i.Op {
	case store.OpAssign:
		return s.settleAssign(ctx, i, listed)
	case store.OpUnassign:
		return s.settleUnassign(ctx, driver, i, listed)
	case store.OpCreateENI:
		return s.completeENI(ctx, driver, instance, i)
	case store.OpDeleteENI:
		return s.settleDeletion(ctx, driver, instance, i)
	}
	return fmt.Errorf("%w: an intent to %s", store.ErrCorrupt, i.Op)
}

// settleAssign adds what the ENI has of the family that was asked for, which this network need not give: whoever gave it and
// died is of another network, or of before a change of "families".
func (s *Supply) settleAssign(ctx context.Context, i store.Intent, listed []cloud.ENI) error {
	f := family.IPv4
	if i.Count6+i.CountPrefixes6 > 0 {
		f = family.IPv6
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		for _, e := range listed {
			if e.ID != i.ENI {
				continue
			}
			if err := shareOf(e, f).addSeen(tx, e.ID, settled); err != nil {
				return err
			}
		}
		return tx.Settle(i.Number)
	})
}

// open says whether an intent is.
func (s *Supply) open(ctx context.Context, number uint64) (open bool, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		intents, err := tx.Intents()
		open = slices.ContainsFunc(intents, func(i store.Intent) bool { return i.Number == number })
		return err
	})
	return open, err
}

// settleUnassign has the cloud take those addresses that it still has. They are never put back to use on the word of a
// list: the call that had no answer may yet be carried out.
func (s *Supply) settleUnassign(ctx context.Context, driver cloud.Driver, i store.Intent, listed []cloud.ENI) error {
	still := share{}
	if at := slices.IndexFunc(listed, func(e cloud.ENI) bool { return e.ID == i.ENI }); at >= 0 {
		still.addresses = common(i.Addresses, slices.Concat(listed[at].Addresses, listed[at].IPv6))
		still.prefixes = common(i.Prefixes, listed[at].Prefixes)
	}
	if still.empty() {
		return s.unassigned(ctx, i, still, nil)
	}
	return s.completeUnassign(ctx, driver, i, still)
}

// completeUnassign has the cloud take addresses or prefixes of an intent, which may be all of them.
func (s *Supply) completeUnassign(ctx context.Context, driver cloud.Driver, i store.Intent, some share) error {
	var err error
	if len(some.prefixes) > 0 {
		err = driver.UnassignPrefixes(ctx, i.ENI, some.prefixes)
	} else {
		err = driver.Unassign(ctx, i.ENI, some.addresses)
	}
	s.log.Info("unassign", "eni", i.ENI, "addresses", some.addresses, "prefixes", some.prefixes, "error", err)
	if err != nil {
		err = fmt.Errorf("unassign %s from %s: %w", some, i.ENI, err)
	}
	if cloud.ClassOf(err).Ambiguous() {
		return err // the intent stays open: whoever asks the cloud next settles it
	}
	return s.unassigned(ctx, i, some, err)
}

// unassigned forgets what an intent was to give back, but puts some to use again where the cloud refused to take that with
// err.
func (s *Supply) unassigned(ctx context.Context, i store.Intent, some share, err error) error {
	return s.join(ctx, err, func(tx *store.Tx) error {
		gone := share{i.Addresses, i.Prefixes}
		if err != nil {
			if err := errors.Join(tx.Unrelease(some.addresses), tx.UnreleasePrefixes(some.prefixes)); err != nil {
				return err
			}
			gone = share{without(gone.addresses, some.addresses), without(gone.prefixes, some.prefixes)}
		}
		here, unread := gone.on(tx, i.ENI)
		if unread != nil {
			return unread
		}
		return errors.Join(tx.Remove(here.addresses), tx.RemovePrefixes(here.prefixes), tx.Settle(i.Number))
	})
}

// settleDeletion completes a deletion, unless a container has an address of the ENI: others may have given it more, which
// were learnt since.
func (s *Supply) settleDeletion(ctx context.Context, driver cloud.Driver, instance string, i store.Intent) error {
	inUse := false
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := countsOf(tx, i.ENI)
		if err != nil {
			return err
		}
		if inUse = n.Assigned+n.Cooling > 0; inUse {
			return errors.Join(tx.UnreleaseAll(i.ENI), tx.Settle(i.Number))
		}
		return tx.MarkReleasingAll(i.ENI)
	})
	if err != nil || inUse {
		return err
	}
	return s.completeDeletion(ctx, driver, instance, i)
}

// countsOf counts all addresses of an ENI.
func countsOf(tx *store.Tx, eni string) (store.Counts, error) {
	four, err := tx.Counts(eni, family.IPv4)
	if err != nil {
		return four, err
	}
	six, err := tx.Counts(eni, family.IPv6)
	return store.Counts{
		Free: four.Free + six.Free, Assigned: four.Assigned + six.Assigned, Cooling: four.Cooling + six.Cooling,
		Releasing: four.Releasing + six.Releasing, Changed: max(four.Changed, six.Changed),
	}, err
}

// completeENI makes the ENI of an intent, or completes what an earlier call made of it: the token tells the cloud that it
// is the same.
func (s *Supply) completeENI(ctx context.Context, driver cloud.Driver, instance string, i store.Intent) error {
	tags := map[string]string{
		TagOwner: s.conf.Owner, TagInstance: instance, cloud.TagCreated: i.Started.Format("2006-01-02T15:04:05Z"),
	}
	for k, v := range s.conf.Tags {
		tags[k] = v
	}
	eni, err := driver.CreateENI(ctx, cloud.CreateENIRequest{
		InstanceID: instance, SubnetID: i.Subnet, Token: i.Token, SecurityGroups: s.conf.SecurityGroups,
		Addresses: i.Count, Prefixes: i.CountPrefixes, IPv6: i.Count6, IPv6Prefixes: i.CountPrefixes6, Tags: tags,
	})
	s.log.Info("create ENI", "subnet", i.Subnet, "with", AmountOf(i), "eni", eni, "error", err)
	if err != nil {
		err = fmt.Errorf("create an ENI with %s in %s for %s: %w", AmountOf(i), i.Subnet, instance, err)
		if cloud.ClassOf(err).Ambiguous() || cloud.ClassOf(err) == cloud.Throttled {
			return err
		}
		return s.join(ctx, err, func(tx *store.Tx) error { return tx.Settle(i.Number) })
	}
	k, err := s.know(ctx)
	if err != nil {
		return err
	}
	record := s.eniRecord(*eni, instance, cloud.Limits{AddressesPerENI: k.node.AddressesPerENI, IPv6PerENI: k.node.IPv6PerENI})
	record.Ours = true
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PutENI(record); err != nil {
			return err
		}
		return errors.Join(shareOf(*eni, s.conf.Families...).add(tx, eni.ID), tx.Settle(i.Number))
	})
}

// completeDeletion deletes the ENI of an intent, none of whose addresses is in use, and forgets it.
func (s *Supply) completeDeletion(ctx context.Context, driver cloud.Driver, instance string, i store.Intent) error {
	err := driver.DeleteENI(ctx, instance, i.ENI)
	s.log.Info("delete ENI", "eni", i.ENI, "error", err)
	if err != nil {
		err = fmt.Errorf("delete %s: %w", i.ENI, err)
		if cloud.ClassOf(err).Ambiguous() || cloud.ClassOf(err) == cloud.Throttled {
			return err
		}
		return s.join(ctx, err, func(tx *store.Tx) error {
			return errors.Join(tx.UnreleaseAll(i.ENI), tx.Settle(i.Number))
		})
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.RemoveENI(i.ENI); err != nil {
			return err
		}
		return tx.Settle(i.Number)
	})
}
