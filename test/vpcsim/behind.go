package vpcsim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// What happens behind the back of those who use the API: other people's work, and the cloud's own. None of it counts as
// a call, and none of it takes time.

// RemoveAddress takes a secondary address, of either family, from its ENI, whichever that is.
func (v *VPC) RemoveAddress(ip netip.Addr) error {
	v.mu.Lock()
	n := slices.IndexFunc(v.enis, func(e *ENI) bool { return slices.Contains(e.Secondary, ip) || slices.Contains(e.IPv6, ip) })
	if n < 0 {
		v.mu.Unlock()
		return fmt.Errorf("%s is no secondary address of an ENI", ip)
	}
	id := v.enis[n].ID
	v.mu.Unlock()
	if ip.Is6() {
		return v.RemoveIPv6(id, ip)
	}
	return v.unassign(id, grant{addresses: []netip.Addr{ip}})
}

// AddAddresses gives an ENI secondary addresses.
func (v *VPC) AddAddresses(eni string, count int) ([]netip.Addr, error) {
	g, err := v.assign(eni, request{count: count})
	return g.addresses, err
}

// AddPrefixes gives an ENI prefixes.
func (v *VPC) AddPrefixes(eni string, count int) ([]netip.Prefix, error) {
	g, err := v.assign(eni, request{prefixes: count})
	return g.prefixes, err
}

// RemovePrefix takes a prefix from an ENI.
func (v *VPC) RemovePrefix(eni string, p netip.Prefix) error {
	return v.unassign(eni, grant{prefixes: []netip.Prefix{p}})
}

// Tag adds tags to an ENI.
func (v *VPC) Tag(id string, tags map[string]string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := slices.IndexFunc(v.enis, func(e *ENI) bool { return e.ID == id })
	if n < 0 {
		return fmt.Errorf("there is no %s", id)
	}
	all := maps.Clone(v.enis[n].Tags)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, tags)
	v.enis[n].Tags = all
	return nil
}

// DetachENI detaches an ENI, which then goes on existing.
func (v *VPC) DetachENI(id string) error {
	v.change.Lock()
	defer v.change.Unlock()
	v.mu.Lock()
	e, err := v.beginDetach(id)
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return v.finishDetach(e.ID, e.AttachmentID)
}

// DeleteENI detaches an ENI, where it is attached, and deletes it.
func (v *VPC) DeleteENI(id string) error {
	v.mu.Lock()
	e, err := v.eniByID(id)
	attached := err == nil && e.InstanceID != ""
	v.mu.Unlock()
	if attached {
		if err := v.DetachENI(id); err != nil {
			return err
		}
	}
	return v.deleteENI(id)
}

// Terminate ends an instance. Its ENIs with DeleteOnTermination are deleted, and the others attached to nothing.
func (v *VPC) Terminate(instanceID string) error {
	v.change.Lock()
	defer v.change.Unlock()
	v.mu.Lock()
	if _, err := v.instanceByID(instanceID); err != nil {
		v.mu.Unlock()
		return err
	}
	v.instances = slices.DeleteFunc(v.instances, func(i *instance) bool { return i.ID == instanceID })
	var pulled []step
	for _, e := range v.enisOf(instanceID) {
		if e.wired() {
			pulled = append(pulled, step{func(f Fabric) error { return f.Detach(e) }, nil})
		}
		if e.DeleteOnTermination {
			v.forget(e.ID)
		} else if left, err := v.eniByID(e.ID); err == nil {
			left.release()
		}
	}
	v.mu.Unlock()
	return v.fabric.do(pulled...)
}

// elsewhere holds the addresses that FillSubnet and FragmentSubnet took.
const elsewhere = "elsewhere"

// FillSubnet takes addresses of a subnet until so many are left, as other users of the account would.
func (v *VPC) FillSubnet(id string, left int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, err := v.subnetByID(id)
	if err != nil {
		return err
	}
	picked, err := s.pick(max(0, s.free()-left))
	if err != nil {
		return err
	}
	for _, ip := range picked {
		s.take(ip, elsewhere)
	}
	return nil
}

// FragmentSubnet takes one address of each block of the subnet that could still be a prefix.
func (v *VPC) FragmentSubnet(id string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, err := v.subnetByID(id)
	if err != nil {
		return err
	}
	for {
		p, err := s.pickPrefixes(1)
		if err != nil { // none is left
			return nil
		}
		s.take(after(p[0].Addr(), 7), elsewhere)
	}
}

// EmptySubnets gives back what FillSubnet and FragmentSubnet took.
func (v *VPC) EmptySubnets() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.subnets {
		for ip, who := range s.taken {
			if who == elsewhere {
				s.release(ip)
			}
		}
	}
}

// SetENIQuota bounds the ENIs of the account; 0 is no bound.
func (v *VPC) SetENIQuota(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.eniQuota = n
}

// AllENIs returns every ENI of the account in the order of their creation, attached or not: a snapshot.
func (v *VPC) AllENIs() []ENI {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []ENI
	for _, e := range v.enis {
		all = append(all, e.clone())
	}
	return all
}
