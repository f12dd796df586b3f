package vpcsim

import (
	"net/netip"
	"slices"
)

// request is what addresses an ENI is to get: as many as Count or Prefixes say, or those that are listed.
type request struct {
	count, prefixes int
	listed          []netip.Addr
	listedPrefixes  []netip.Prefix
}

// slots is how many of an ENI's places for addresses the request takes: a prefix takes one.
func (r request) slots() int {
	return max(r.count, len(r.listed)) + max(r.prefixes, len(r.listedPrefixes))
}

// grant is what a request was given.
type grant struct {
	addresses []netip.Addr
	prefixes  []netip.Prefix
}

// all lists every address of the grant.
func (g grant) all() []netip.Addr {
	all := slices.Clone(g.addresses)
	for _, p := range g.prefixes {
		all = append(all, addressesOf(p)...)
	}
	return all
}

// lacks says that some of another grant is not in this one, which an ENI holds.
func (g grant) lacks(other grant, id string) error {
	for _, ip := range other.addresses {
		if !slices.Contains(g.addresses, ip) {
			return errorf("InvalidParameterValue", "Some of %v are not assigned to interface %s", other.addresses, id)
		}
	}
	for _, p := range other.prefixes {
		if !slices.Contains(g.prefixes, p) {
			return errorf("InvalidParameterValue", "Some of %v are not assigned to interface %s", other.prefixes, id)
		}
	}
	return nil
}

// held is all that an ENI holds beside its primary address.
func (e ENI) held() grant { return grant{e.Secondary, e.Prefixes} }

// choose finds what the subnet has for a request, without taking it.
func (s *subnet) choose(r request) (grant, error) {
	g := grant{r.listed, r.listedPrefixes}
	for _, ip := range g.all() {
		if err := s.check(ip); err != nil {
			return grant{}, err
		}
	}
	var err error
	if r.count > 0 {
		if g.addresses, err = s.pick(r.count); err != nil {
			return grant{}, err
		}
	}
	if r.prefixes > 0 {
		if g.prefixes, err = s.pickPrefixes(r.prefixes); err != nil {
			return grant{}, err
		}
	}
	return g, nil
}

// grant gives an ENI addresses in the model; it takes mu.
func (v *VPC) grant(id string, r request) (ENI, grant, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.apiENI(id)
	if err != nil {
		return ENI{}, grant{}, err
	}
	s, err := v.subnetByID(e.SubnetID)
	if err != nil {
		return ENI{}, grant{}, err
	}
	if err := v.checkRoom(e, r); err != nil {
		return ENI{}, grant{}, err
	}
	g, err := s.choose(r)
	if err != nil {
		return ENI{}, grant{}, err
	}
	s.give(e, g)
	v.changed()
	return e.clone(), g, nil
}

func (s *subnet) give(e *ENI, g grant) {
	for _, ip := range g.all() {
		s.take(ip, e.ID)
	}
	e.Secondary = append(e.Secondary, g.addresses...)
	e.Prefixes = append(e.Prefixes, g.prefixes...)
}

// checkRoom says why an attached ENI may not hold so much more. One that is attached to nothing is held to no limit until
// it is attached.
func (v *VPC) checkRoom(e *ENI, r request) error {
	if e.InstanceID == "" {
		return nil
	}
	i, err := v.instanceByID(e.InstanceID)
	if err != nil {
		return err
	}
	if i.limits.xen && r.prefixes+len(r.listedPrefixes) > 0 {
		return errorf("InvalidParameterCombination", "The instance type %s does not support prefix delegation.", i.Type)
	}
	if 1+len(e.Secondary)+len(e.Prefixes)+r.slots() > i.limits.addresses {
		return errorf("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	return nil
}

// revoke takes secondary addresses and prefixes from an ENI in the model, all or none; it takes mu.
func (v *VPC) revoke(id string, g grant) (ENI, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.apiENI(id)
	if err != nil {
		return ENI{}, err
	}
	s, err := v.subnetByID(e.SubnetID)
	if err != nil {
		return ENI{}, err
	}
	if err := e.held().lacks(g, id); err != nil {
		return ENI{}, err
	}
	for _, ip := range g.all() {
		s.release(ip)
	}
	e.Secondary = slices.DeleteFunc(e.Secondary, func(ip netip.Addr) bool { return slices.Contains(g.addresses, ip) })
	e.Prefixes = slices.DeleteFunc(e.Prefixes, func(p netip.Prefix) bool { return slices.Contains(g.prefixes, p) })
	v.changed()
	return e.clone(), nil
}

// assign grants addresses and has the fabric deliver them.
func (v *VPC) assign(id string, r request) (grant, error) {
	v.change.Lock()
	defer v.change.Unlock()
	e, g, err := v.grant(id, r)
	if err != nil || !e.wired() {
		return g, err
	}
	if err := v.fabric.do(assignSteps(e, g.all())...); err != nil {
		_, _ = v.revoke(id, g) // it has just been granted
		return grant{}, err
	}
	return g, nil
}

// unassign undoes assign.
func (v *VPC) unassign(id string, g grant) error {
	v.change.Lock()
	defer v.change.Unlock()
	e, err := v.revoke(id, g)
	if err != nil || !e.wired() {
		return err
	}
	steps := assignSteps(e, g.all())
	for n := range steps {
		steps[n].do, steps[n].undo = steps[n].undo, steps[n].do
	}
	if err := v.fabric.do(steps...); err != nil {
		_, _, _ = v.grant(id, request{listed: g.addresses, listedPrefixes: g.prefixes}) // they have just been free
		return err
	}
	return nil
}

func assignSteps(e ENI, addresses []netip.Addr) []step {
	var steps []step
	for _, ip := range addresses {
		steps = append(steps, step{
			func(f Fabric) error { return f.Assign(e, ip) },
			func(f Fabric) error { return f.Unassign(e, ip) },
		})
	}
	return steps
}
