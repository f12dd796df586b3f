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
