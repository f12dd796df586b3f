package vpcsim

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// subnet hands out addresses: those never used first, then the one that was freed the longest ago.
type subnet struct {
	Subnet
	first netip.Addr // the lowest that may be handed out
	next  netip.Addr // the lowest address never handed out by number
	last  netip.Addr // the highest that may be
	taken map[netip.Addr]string
	freed []netip.Addr
	six   subnet6
}

func newSubnet(s Subnet, reserved int) *subnet {
	s.CIDR = s.CIDR.Masked()
	n := &subnet{Subnet: s, next: s.CIDR.Addr(), taken: map[netip.Addr]string{}, six: subnet6{cidr: s.IPv6}}
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

// prefixBits is the length of a prefix that an ENI may hold in the place of an address (EC2 User Guide, "Prefix delegation").
const prefixBits = 28

// free is how many addresses nobody has.
func (s *subnet) free() int { return s.total() - len(s.taken) }

// pickPrefixes returns n aligned blocks of which nobody has any address, without taking them.
func (s *subnet) pickPrefixes(n int) ([]netip.Prefix, error) {
	var picked []netip.Prefix
	for start := s.CIDR.Addr(); len(picked) < n && s.CIDR.Contains(start); start = after(start, 1<<(32-prefixBits)) {
		p := netip.PrefixFrom(start, prefixBits)
		if !slices.ContainsFunc(addressesOf(p), func(ip netip.Addr) bool { return !s.usable(ip) || s.taken[ip] != "" }) {
			picked = append(picked, p)
		}
	}
	if len(picked) < n {
		return nil, errorf("InsufficientCidrBlocks", "There are not enough free cidr blocks in the specified subnet to satisfy the request.")
	}
	return picked, nil
}

// after returns the address n further on.
func after(ip netip.Addr, n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(ip.AsSlice())+n)))
}

// addressesOf lists a prefix.
func addressesOf(p netip.Prefix) []netip.Addr {
	var all []netip.Addr
	for ip := p.Addr(); p.Contains(ip); ip = ip.Next() {
		all = append(all, ip)
	}
	return all
}
