package vpcsim

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// typeLimits is what an instance type may hold.
type typeLimits struct {
	enis      int
	addresses int // IPv4 addresses an ENI, the primary counted
}

// limitsOf is what an instance of the type may hold in this cloud.
func (v *VPC) limitsOf(instanceType string) (typeLimits, bool) {
	if v.cloud == TencentCloud {
		return tencentLimits(instanceType)
	}
	return limitsOf(instanceType)
}

// limitsOf knows a handful of EC2's types, with the numbers of the EC2 User Guide, "Maximum IP addresses per network interface".
func limitsOf(instanceType string) (typeLimits, bool) {
	l, ok := map[string]typeLimits{
		"t3.micro":   {2, 2},
		"t3.medium":  {3, 6},
		"m5.large":   {3, 10},
		"m5.xlarge":  {4, 15},
		"c5.4xlarge": {8, 30},
	}[instanceType]
	return l, ok
}

// subnet hands out addresses: those never used first, then the one that was freed the longest ago.
type subnet struct {
	Subnet
	first netip.Addr // the lowest that may be handed out
	next  netip.Addr // the lowest address never handed out by number
	last  netip.Addr // the highest that may be
	taken map[netip.Addr]string
	freed []netip.Addr
}

func newSubnet(s Subnet, reserved int) *subnet {
	s.CIDR = s.CIDR.Masked()
	n := &subnet{Subnet: s, next: s.CIDR.Addr(), taken: map[netip.Addr]string{}}
	for range reserved {
		n.next = n.next.Next()
	}
	n.first = n.next
	bits := binary.BigEndian.Uint32(s.CIDR.Addr().AsSlice()) + 1<<(32-s.CIDR.Bits()) - 2
	n.last = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, bits)))
	return n
}

// usable says whether the address is one of the subnet's that the cloud does not keep for itself.
func (s *subnet) usable(ip netip.Addr) bool {
	return ip.Is4() && s.first.Compare(ip) <= 0 && ip.Compare(s.last) <= 0
}

// total is how many addresses are usable.
func (s *subnet) total() int {
	number := func(ip netip.Addr) int { return int(binary.BigEndian.Uint32(ip.AsSlice())) }
	return number(s.last) - number(s.first) + 1
}

// pick returns n addresses that nobody has, without taking them.
func (s *subnet) pick(n int) ([]netip.Addr, error) {
	var picked []netip.Addr
	for ip := s.next; len(picked) < n && ip.Compare(s.last) <= 0; ip = ip.Next() {
		if _, taken := s.taken[ip]; !taken {
			picked = append(picked, ip)
		}
	}
	for _, ip := range s.freed {
		if len(picked) < n && !slices.Contains(picked, ip) {
			picked = append(picked, ip)
		}
	}
	if len(picked) < n {
		return nil, errorf("InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request.")
	}
	return picked, nil
}

// check says why the address may not be taken.
func (s *subnet) check(ip netip.Addr) error {
	if !s.usable(ip) {
		return errorf("InvalidParameterValue", "Address %s does not fall within the subnet's address range", ip)
	}
	if _, taken := s.taken[ip]; taken {
		return errorf("InvalidIPAddress.InUse", "Address %s is in use.", ip)
	}
	return nil
}

func (s *subnet) take(ip netip.Addr, eni string) {
	s.taken[ip] = eni
	s.freed = slices.DeleteFunc(s.freed, func(f netip.Addr) bool { return f == ip })
	for s.next.Compare(s.last) <= 0 && s.taken[s.next] != "" {
		s.next = s.next.Next()
	}
}

func (s *subnet) release(ip netip.Addr) {
	delete(s.taken, ip)
	if ip.Less(s.next) { // otherwise the counter meets it again by itself
		s.freed = append(s.freed, ip)
	}
}

// The methods below expect mu to be held, except where they take it.

func (v *VPC) id(kind string) string {
	v.serial++
	if v.cloud == TencentCloud {
		return fmt.Sprintf("%s-%08x", kind, v.serial)
	}
	return fmt.Sprintf("%s-0%016x", kind, v.serial)
}

func (v *VPC) subnetByID(id string) (*subnet, error) {
	for _, s := range v.subnets {
		if s.ID == id {
			return s, nil
		}
	}
	return nil, errorf("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
}

func (v *VPC) instanceByID(id string) (*instance, error) {
	for _, i := range v.instances {
		if i.ID == id {
			return i, nil
		}
	}
	return nil, errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

func (v *VPC) eniByID(id string) (*ENI, error) {
	for _, e := range v.enis {
		if e.ID == id {
			return e, nil
		}
	}
	return nil, errorf("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
}

func (v *VPC) enisOf(instanceID string) []ENI {
	var found []ENI
	for _, e := range v.enis {
		if e.InstanceID == instanceID {
			found = append(found, e.clone())
		}
	}
	slices.SortFunc(found, func(a, b ENI) int { return cmp.Compare(a.DeviceIndex, b.DeviceIndex) })
	return found
}

// attach adds an ENI to the model; it takes mu.
func (v *VPC) attach(instanceID, subnetID string, deviceIndex int, primary netip.Addr) (ENI, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, err := v.instanceByID(instanceID)
	if err != nil {
		return ENI{}, err
	}
	s, err := v.subnetByID(subnetID)
	if err != nil {
		return ENI{}, err
	}
	if err := v.checkAttach(i, deviceIndex); err != nil {
		return ENI{}, err
	}
	if primary.IsValid() {
		err = s.check(primary)
	} else if picked, e := s.pick(1); e != nil {
		err = e
	} else {
		primary = picked[0]
	}
	if err != nil {
		return ENI{}, err
	}
	e := &ENI{
		ID: v.id("eni"), AttachmentID: v.id("eni-attach"), InstanceID: instanceID, DeviceIndex: deviceIndex,
		SubnetID: s.ID, Subnet: s.CIDR, PrimaryIP: primary, AttachedAt: time.Now().UTC(),
	}
	vendor := []byte{0x0a, 0xff}
	if v.cloud == TencentCloud {
		vendor = []byte{0x52, 0x54}
	}
	e.MAC = binary.BigEndian.AppendUint32(vendor, uint32(v.serial))
	s.take(primary, e.ID)
	v.enis = append(v.enis, e)
	return e.clone(), nil
}

func (v *VPC) checkAttach(i *instance, deviceIndex int) error {
	attached := v.enisOf(i.ID)
	if len(attached) >= i.limits.enis {
		return errorf("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", len(attached)+1, i.Type)
	}
	if deviceIndex < 0 || slices.ContainsFunc(attached, func(e ENI) bool { return e.DeviceIndex == deviceIndex }) {
		return errorf("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", i.ID, deviceIndex)
	}
	return nil
}

// remove takes an ENI and its addresses out of the model; it takes mu.
func (v *VPC) remove(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.eniByID(id)
	if err != nil {
		return
	}
	if s, err := v.subnetByID(e.SubnetID); err == nil {
		for _, ip := range append([]netip.Addr{e.PrimaryIP}, e.Secondary...) {
			s.release(ip)
		}
	}
	v.enis = slices.DeleteFunc(v.enis, func(other *ENI) bool { return other.ID == id })
}

// grant gives an ENI the addresses listed, or else count free ones; it takes mu.
func (v *VPC) grant(id string, count int, listed []netip.Addr) (ENI, []netip.Addr, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.eniByID(id)
	if err != nil {
		return ENI{}, nil, err
	}
	s, err := v.subnetByID(e.SubnetID)
	if err != nil {
		return ENI{}, nil, err
	}
	i, err := v.instanceByID(e.InstanceID)
	if err != nil {
		return ENI{}, nil, err
	}
	if 1+len(e.Secondary)+max(count, len(listed)) > i.limits.addresses {
		return ENI{}, nil, errorf("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	for _, ip := range listed {
		if err := s.check(ip); err != nil {
			return ENI{}, nil, err
		}
	}
	granted := listed
	if len(listed) == 0 {
		if granted, err = s.pick(count); err != nil {
			return ENI{}, nil, err
		}
	}
	for _, ip := range granted {
		s.take(ip, e.ID)
	}
	e.Secondary = append(e.Secondary, granted...)
	return e.clone(), granted, nil
}

// revoke takes secondary addresses from an ENI, all or none; it takes mu.
func (v *VPC) revoke(id string, listed []netip.Addr) (ENI, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.free(id, listed)
}

// free is revoke with mu held.
func (v *VPC) free(id string, listed []netip.Addr) (ENI, error) {
	e, err := v.eniByID(id)
	if err != nil {
		return ENI{}, err
	}
	s, err := v.subnetByID(e.SubnetID)
	if err != nil {
		return ENI{}, err
	}
	for _, ip := range listed {
		if !slices.Contains(e.Secondary, ip) {
			return ENI{}, errorf("InvalidParameterValue", "Some of %v are not assigned to interface %s", listed, id)
		}
	}
	for _, ip := range listed {
		s.release(ip)
	}
	e.Secondary = slices.DeleteFunc(e.Secondary, func(ip netip.Addr) bool { return slices.Contains(listed, ip) })
	return e.clone(), nil
}
