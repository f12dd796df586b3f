package supply

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// createENI makes an ENI with addresses or prefixes, in the subnet that has most free of those that do not rest.
func (s *Supply) createENI(ctx context.Context, driver cloud.Driver, k *knowledge, step step) error {
	subnets, err := driver.Subnets(ctx, cloud.SubnetQuery{
		InstanceID: k.node.InstanceID, IDs: s.conf.Subnets, Tags: s.conf.SubnetTags,
	})
	if err != nil {
		return s.heed(ctx, restENIs, fmt.Errorf("find a subnet for another ENI of %s: %w", k.node.InstanceID, err))
	}
	if step.family == family.IPv6 && !slices.ContainsFunc(subnets, func(n cloud.Subnet) bool { return n.CIDR6.IsValid() }) {
		return s.heed(ctx, restOfENIs(step.family), &cloud.Error{Class: cloud.Unsupported, Message: "no subnet for another ENI has a range of IPv6"})
	}
	slices.SortFunc(subnets, func(a, b cloud.Subnet) int { return cmp.Compare(b.Free, a.Free) })
	what, rest, restOf := "address", restOfENIs(step.family), restOfSubnet
	if step.Prefixes {
		what, rest, restOf = "prefix", restOfPrefixes(step.family, ""), restOfPrefixes
	}
	var full []string
	for _, subnet := range subnets {
		part := step
		part.Count = step.fitting(subnet)
		if r, rests := k.rest(restOfSubnet(step.family, subnet.ID), restOf(step.family, subnet.ID)); rests {
			full = append(full, fmt.Sprintf("%s (%s)", subnet.ID, r.Reason))
			continue
		}
		if part.Count < 1 {
			full = append(full, subnet.ID)
			continue
		}
		err := s.createSome(ctx, driver, k, subnet, part)
		switch class := cloud.ClassOf(err); {
		case class == cloud.SubnetFull, step.Prefixes && noPrefixes(class):
		case class == cloud.Unsupported:
			return s.heed(ctx, restOfENIs(step.family), err)
		default:
			return s.heed(ctx, restENIs, err)
		}
		_ = s.heed(ctx, restOf(step.family, subnet.ID), err) // the next subnet may have some
		full = append(full, fmt.Sprintf("%s (%v)", subnet.ID, err))
	}
	err = &cloud.Error{Class: cloud.SubnetFull, Message: fmt.Sprintf("no %s for another ENI is left in %s", what, strings.Join(full, ", "))}
	return s.heed(ctx, rest, err)
}

// fitting is how much of the step a subnet has room for, beside the ENI's own address.
func (st step) fitting(subnet cloud.Subnet) int {
	switch {
	case st.family == family.IPv6 && (!subnet.CIDR6.IsValid() || subnet.Free < 1):
		return 0
	case st.family == family.IPv6:
		return st.Count
	case st.Prefixes:
		return min(st.Count, (subnet.Free-1)/pool.PrefixSize)
	}
	return min(st.Count, subnet.Free-1)
}

// createSome makes an ENI with as many prefixes as are planned, or else half of them, and so on: the subnet does not say how
// many it has.
func (s *Supply) createSome(ctx context.Context, driver cloud.Driver, k *knowledge, subnet cloud.Subnet, step step) error {
	for {
		err := s.createIn(ctx, driver, k, subnet, step)
		if !step.Prefixes || step.Count == 1 || cloud.ClassOf(err) != cloud.SubnetFull {
			return err
		}
		step.Count /= 2
	}
}

// createIn makes an ENI in the subnet: with IPv6 too, where containers get both, so that they get them of one ENI. That is no
// reason to make none.
func (s *Supply) createIn(ctx context.Context, driver cloud.Driver, k *knowledge, subnet cloud.Subnet, step step) error {
	alone := intended(store.Intent{Op: store.OpCreateENI, Subnet: subnet.ID}, step)
	both := s.withIPv6(k, subnet, alone)
	err := s.createBy(ctx, driver, k, both)
	class := cloud.ClassOf(err)
	if both.Count6+both.CountPrefixes6 > alone.Count6+alone.CountPrefixes6 && (noRoom(class) || class == cloud.Unsupported || class == cloud.Invalid) {
		s.log.Warn("another ENI with IPv6 is refused", "subnet", subnet.ID, "error", err)
		err = s.createBy(ctx, driver, k, alone)
	}
	return err
}

// withIPv6 adds to an ENI that is to be made for IPv4 what containers need of IPv6, where they get it and the subnet has it.
func (s *Supply) withIPv6(k *knowledge, subnet cloud.Subnet, i store.Intent) store.Intent {
	const six = family.IPv6
	if !s.gives(six) || i.Count+i.CountPrefixes == 0 || !subnet.CIDR6.IsValid() || k.node.NoIPv6 {
		return i
	}
	if _, rests := k.rest(restOfPrefixes(six, ""), restOfPrefixes(six, subnet.ID)); !rests && !k.node.NoPrefixes {
		i.CountPrefixes6 = 1
		return i
	}
	i.Count6 = i.Count + i.CountPrefixes*pool.PrefixSize
	if k.node.IPv6PerENI > 0 {
		i.Count6 = min(i.Count6, k.node.IPv6PerENI)
	}
	return i
}

// createBy makes the ENI of an intent. An answer that does not come is asked for once more, by the same token.
func (s *Supply) createBy(ctx context.Context, driver cloud.Driver, k *knowledge, i store.Intent) error {
	i.Token = "enichain-" + strings.ToLower(rand.Text())
	intent, err := s.begin(ctx, i)
	if err != nil {
		return err
	}
	err = s.completeENI(ctx, driver, k.node.InstanceID, intent)
	if cloud.ClassOf(err).Ambiguous() && ctx.Err() == nil {
		err = s.completeENI(ctx, driver, k.node.InstanceID, intent)
	}
	return err
}
