// Package family is the two families of IP addresses.
package family

import "net/netip"

// Family is IPv4 or IPv6, as a configuration names it.
type Family string

// The families.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// All returns both.
func All() []Family { return []Family{IPv4, IPv6} }

// Of returns the family of an address.
func Of(ip netip.Addr) Family {
	if ip.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Known says whether it is one of the two.
func (f Family) Known() bool { return f == IPv4 || f == IPv6 }

// NFProto returns what netfilter calls the family: NFPROTO_IPV4 or NFPROTO_IPV6 (include/uapi/linux/netfilter.h).
func (f Family) NFProto() uint8 {
	if f == IPv6 {
		return 10
	}
	return 2
}

// String names the family for people.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return string(f)
}
