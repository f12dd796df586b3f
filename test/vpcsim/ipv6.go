package vpcsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// prefix6Bits is the length of a prefix of IPv6 that an ENI may hold (EC2 User Guide, "Prefix delegation").
const prefix6Bits = 80

// subnet6 hands out a subnet's IPv6, and nothing twice: single addresses of its first /80, from ::10 on, and the /80s behind
// it.
type subnet6 struct {
	cidr      netip.Prefix // zero where the subnet has no IPv6
	addresses uint64       // how many were handed out
	prefixes  uint16
}

// part returns the address of a subnet's /80 of a number.
func (s *subnet6) part(prefix uint16, address uint64) netip.Addr {
	b := s.cidr.Addr().As16()
	binary.BigEndian.PutUint16(b[8:], prefix)
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])|address)
	return netip.AddrFrom16(b)
}

// give hands out addresses and prefixes. An ENI holds them until it gives them back; the subnet never runs out.
func (s *subnet6) give(addresses, prefixes int) grant {
	var g grant
	for range addresses {
		s.addresses++
		g.addresses = append(g.addresses, s.part(0, 0xf+s.addresses))
	}
	for range prefixes {
		s.prefixes++
		g.prefixes = append(g.prefixes, netip.PrefixFrom(s.part(s.prefixes, 0), prefix6Bits))
	}
	return g
}

// held6 is all that an ENI holds of IPv6.
func (e ENI) held6() grant {
	g := grant{e.IPv6, e.Prefixes6}
	if e.PrimaryIP6.IsValid() {
		g.addresses = append([]netip.Addr{e.PrimaryIP6}, g.addresses...)
	}
	return g
}

// has6 says whether the address is one of the ENI's.
func (e ENI) has6(ip netip.Addr) bool {
	g := e.held6()
	return slices.Contains(g.addresses, ip) || slices.ContainsFunc(g.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// steps6 is what the fabric does for what an ENI gets of IPv6.
func steps6(e ENI, g grant) []step {
	steps := assignSteps(e, g.addresses)
	for _, p := range g.prefixes {
		steps = append(steps, step{
			func(f Fabric) error { return f.AssignPrefix(e, p) },
			func(f Fabric) error { return f.UnassignPrefix(e, p) },
		})
	}
	return steps
}

// grant6 gives an ENI addresses and prefixes of IPv6 in the model, as its own where that is said; it takes mu.
func (v *VPC) grant6(id string, r request, own bool) (ENI, grant, error) {
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
	if err := v.checkRoom6(e, r); err != nil {
		return ENI{}, grant{}, err
	}
	g, err := s.choose6(r)
	if err != nil {
		return ENI{}, grant{}, err
	}
	e.add6(g, own)
	v.changed()
	return e.clone(), g, nil
}

// choose6 is choose for IPv6.
func (s *subnet) choose6(r request) (grant, error) {
	if r.slots() > 0 && !s.six.cidr.IsValid() {
		return grant{}, errorf("InvalidParameterValue", "The subnet '%s' has no IPv6 CIDR block.", s.ID)
	}
	g := s.six.give(r.count, r.prefixes)
	return grant{append(g.addresses, r.listed...), append(g.prefixes, r.listedPrefixes...)}, nil
}

func (e *ENI) add6(g grant, own bool) {
	if own && len(g.addresses) > 0 {
		e.PrimaryIP6, g.addresses = g.addresses[0], g.addresses[1:]
	}
	e.IPv6 = append(e.IPv6, g.addresses...)
	e.Prefixes6 = append(e.Prefixes6, g.prefixes...)
}

// checkRoom6 is checkRoom for IPv6. EC2's own code for too many is not documented.
func (v *VPC) checkRoom6(e *ENI, r request) error {
	if e.InstanceID == "" {
		return nil
	}
	i, err := v.instanceByID(e.InstanceID)
	if err != nil {
		return err
	}
	held := e.held6()
	switch {
	case r.slots() > 0 && i.limits.addresses6() == 0:
		return errorf("UnsupportedOperation", "The instance type %s does not support IPv6.", i.Type)
	case i.limits.xen && r.prefixes > 0:
		return errorf("InvalidParameterCombination", "The instance type %s does not support prefix delegation.", i.Type)
	case len(held.addresses)+len(held.prefixes)+r.slots() > i.limits.addresses6():
		return errorf("PrivateIpAddressLimitExceeded", "Number of IPv6 addresses will exceed limit.")
	}
	return nil
}

// addresses6 is how many addresses of IPv6 an ENI of a type may hold: as many as of IPv4.
func (l typeLimits) addresses6() int {
	if l.four {
		return 0
	}
	return l.addresses
}

// revoke6 is revoke for IPv6.
func (v *VPC) revoke6(id string, g grant) (ENI, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.apiENI(id)
	if err != nil {
		return ENI{}, err
	}
	if err := e.held6().lacks(g, id); err != nil {
		return ENI{}, err
	}
	if slices.Contains(g.addresses, e.PrimaryIP6) {
		e.PrimaryIP6 = netip.Addr{}
	}
	e.IPv6 = slices.DeleteFunc(e.IPv6, func(ip netip.Addr) bool { return slices.Contains(g.addresses, ip) })
	e.Prefixes6 = slices.DeleteFunc(e.Prefixes6, func(p netip.Prefix) bool { return slices.Contains(g.prefixes, p) })
	v.changed()
	return e.clone(), nil
}

// assign6 is assign for IPv6.
func (v *VPC) assign6(id string, r request, own bool) (grant, error) {
	v.change.Lock()
	defer v.change.Unlock()
	e, g, err := v.grant6(id, r, own)
	if err != nil || !e.wired() {
		return g, err
	}
	if err := v.fabric.do(steps6(e, g)...); err != nil {
		_, _ = v.revoke6(id, g) // it has just been granted
		return grant{}, err
	}
	return g, nil
}

// unassign6 is unassign for IPv6. What the fabric could not take back is gone from the model all the same.
func (v *VPC) unassign6(id string, g grant) error {
	v.change.Lock()
	defer v.change.Unlock()
	e, err := v.revoke6(id, g)
	if err != nil || !e.wired() {
		return err
	}
	var steps []step
	for _, s := range steps6(e, g) {
		steps = append(steps, step{s.undo, s.do})
	}
	return v.fabric.do(steps...)
}

// AddOwnIPv6 gives an ENI an address of IPv6 of its own, as an instance gets one when it is launched.
func (v *VPC) AddOwnIPv6(eni string) (netip.Addr, error) {
	g, err := v.assign6(eni, request{count: 1}, true)
	if err != nil {
		return netip.Addr{}, err
	}
	return g.addresses[0], nil
}

// AddIPv6 gives an ENI addresses of IPv6, and prefixes.
func (v *VPC) AddIPv6(eni string, addresses, prefixes int) ([]netip.Addr, []netip.Prefix, error) {
	g, err := v.assign6(eni, request{count: addresses, prefixes: prefixes}, false)
	return g.addresses, g.prefixes, err
}

// RemoveIPv6 takes addresses of IPv6 from an ENI.
func (v *VPC) RemoveIPv6(eni string, ips ...netip.Addr) error {
	return v.unassign6(eni, grant{addresses: ips})
}

// RemoveIPv6Prefix takes a prefix of IPv6 from an ENI.
func (v *VPC) RemoveIPv6Prefix(eni string, p netip.Prefix) error {
	return v.unassign6(eni, grant{prefixes: []netip.Prefix{p}})
}

// MoveIPv6 takes addresses and prefixes of IPv6 from an ENI, and gives them to another of the same subnet, if that has room.
func (v *VPC) MoveIPv6(from, to string, addresses []netip.Addr, prefixes []netip.Prefix) error {
	if err := v.unassign6(from, grant{addresses, prefixes}); err != nil {
		return err
	}
	_, err := v.assign6(to, request{listed: addresses, listedPrefixes: prefixes}, false)
	return err
}

// check6 panics where a configuration's ranges of IPv6 make no sense.
func (c Config) check6() {
	if c.IPv6.IsValid() && (!c.IPv6.Addr().Is6() || c.IPv6 != c.IPv6.Masked()) {
		panic(fmt.Sprintf("vpcsim: %s is no range of IPv6", c.IPv6))
	}
	for _, s := range c.Subnets {
		if s.IPv6.IsValid() && (s.IPv6.Bits() != 64 || s.IPv6 != s.IPv6.Masked() || !c.IPv6.IsValid() || !c.IPv6.Contains(s.IPv6.Addr())) {
			panic(fmt.Sprintf("vpcsim: %s of subnet %s is no /64 of the VPC's %s", s.IPv6, s.ID, c.IPv6))
		}
	}
}
