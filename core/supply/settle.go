package supply

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
)

// settle finds out what became of the intents that processes left open which died, or had no answer. listed is what the
// API said after they were written.
func (s *Supply) settle(ctx context.Context, driver cloud.Driver, instance string, intents []store.Intent, listed []cloud.ENI) error {
	for _, i := range intents {
		var err error
		switch i.Op {
		case store.OpAssign: // learn added what is there
			err = s.store.Update(ctx, func(tx *store.Tx) error { return tx.Settle(i.Number) })
		case store.OpUnassign:
			err = s.settleUnassign(ctx, i, listed)
		case store.OpCreateENI:
			err = s.completeENI(ctx, driver, instance, i)
		case store.OpDeleteENI:
			err = s.completeDeletion(ctx, driver, instance, i)
		}
		if err != nil {
			return fmt.Errorf("settle what process %d began (%s): %w", i.PID, i.Op, err)
		}
	}
	return nil
}

// settleUnassign puts those addresses back to use that the cloud still has, and forgets the others.
func (s *Supply) settleUnassign(ctx context.Context, i store.Intent, listed []cloud.ENI) error {
	at := slices.IndexFunc(listed, func(e cloud.ENI) bool { return e.ID == i.ENI })
	var still, gone []netip.Addr
	for _, ip := range i.Addresses {
		if at >= 0 && slices.Contains(listed[at].Addresses, ip) {
			still = append(still, ip)
		} else {
			gone = append(gone, ip)
		}
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Unrelease(still); err != nil {
			return err
		}
		if err := tx.Remove(gone); err != nil {
			return err
		}
		return tx.Settle(i.Number)
	})
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
		Addresses: i.Count, Tags: tags,
	})
	s.log.Info("create ENI", "subnet", i.Subnet, "addresses", i.Count, "eni", eni, "error", err)
	if err != nil {
		err = fmt.Errorf("create an ENI with %d addresses in %s: %w", i.Count, i.Subnet, err)
		if ClassOf(err).Ambiguous() || ClassOf(err) == cloud.Throttled {
			return err
		}
		return s.join(ctx, err, func(tx *store.Tx) error { return tx.Settle(i.Number) })
	}
	k, err := s.know(ctx)
	if err != nil {
		return err
	}
	record := s.eniRecord(*eni, instance, cloud.Limits{AddressesPerENI: k.node.AddressesPerENI})
	record.Ours = true
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PutENI(record); err != nil {
			return err
		}
		if err := tx.AddAddresses(eni.ID, eni.Addresses); err != nil {
			return err
		}
		return tx.Settle(i.Number)
	})
}

// completeDeletion deletes the ENI of an intent, none of whose addresses is in use, and forgets it.
func (s *Supply) completeDeletion(ctx context.Context, driver cloud.Driver, instance string, i store.Intent) error {
	err := driver.DeleteENI(ctx, instance, i.ENI)
	s.log.Info("delete ENI", "eni", i.ENI, "error", err)
	if err != nil {
		err = fmt.Errorf("delete %s: %w", i.ENI, err)
		if ClassOf(err).Ambiguous() || ClassOf(err) == cloud.Throttled {
			return err
		}
		return s.join(ctx, err, func(tx *store.Tx) error {
			if err := tx.Unrelease(i.Addresses); err != nil {
				return err
			}
			return tx.Settle(i.Number)
		})
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.RemoveENI(i.ENI); err != nil {
			return err
		}
		return tx.Settle(i.Number)
	})
}
