package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// StaticCloud is the cloud that is none.
const StaticCloud = "static"

// maxStaticAddresses bounds what one interface may hold: a typing error is not to fill the store.
const maxStaticAddresses = 4096

// Static is a pool without a cloud: the addresses are routed to this node by other means.
type Static struct {
	// VPCCIDRs are reached with the container's own address; what is beyond them, from the node's.
	VPCCIDRs []netip.Prefix `json:"vpcCIDRs"`
	ENIs     []StaticENI    `json:"enis"`
}

// StaticENI is one interface of a Static pool, found by MAC or else by name.
type StaticENI struct {
	Name string `json:"name,omitempty"`
	MAC  string `json:"mac,omitempty"`
	// Primary marks the host's own interface, whose routes and addresses are never changed; one is.
	Primary   bool         `json:"primary,omitempty"`
	Subnet    netip.Prefix `json:"subnet"`
	Gateway   netip.Addr   `json:"gateway"`
	PrimaryIP netip.Addr   `json:"primaryIP"`
	// Subnet6, Gateway6, which may be link-local, and PrimaryIP6, which may be missing, are those of IPv6.
	Subnet6    netip.Prefix `json:"subnet6,omitzero"`
	Gateway6   netip.Addr   `json:"gateway6,omitzero"`
	PrimaryIP6 netip.Addr   `json:"primaryIP6,omitzero"`
	// Addresses are ranges of either family: "10.0.1.16-10.0.1.31", or "10.0.1.40" for one; or prefixes of IPv6:
	// "2001:db8:0:1:5::/80".
	Addresses []string `json:"addresses"`
}

// check says what is wrong with the pool, if anything.
func (s *Static) check() error {
	primaries, seen := 0, map[string]string{}
	for _, e := range s.ENIs {
		seen[e.Gateway.String()], seen[e.Gateway6.String()] = "a gateway", "a gateway"
	}
	for i, e := range s.ENIs {
		if e.Primary {
			primaries++
		}
		if err := e.check(seen); err != nil {
			return fmt.Errorf("static.enis[%d]: %w", i, err)
		}
		if err := s.checkOverlaps(i); err != nil {
			return fmt.Errorf("static.enis[%d]: %w", i, err)
		}
	}
	if primaries != 1 {
		return fmt.Errorf(`static: %d of the "enis" are "primary", exactly one must be`, primaries)
	}
	return nil
}

// checkOverlaps says whether a prefix of an interface holds what is listed elsewhere.
func (s *Static) checkOverlaps(at int) error {
	own, err := s.ENIs[at].Prefixes()
	if err != nil || len(own) == 0 {
		return err
	}
	for i, e := range s.ENIs {
		others, err := e.Prefixes()
		if err != nil {
			return err
		}
		ips, err := e.Expand()
		if err != nil {
			return err
		}
		for n, p := range own {
			if slices.ContainsFunc(append(ips, e.PrimaryIP6, e.Gateway6), p.Contains) {
				return fmt.Errorf("prefix %s holds an address that is listed, or a gateway", p)
			}
			for m, other := range others {
				if (i != at || n != m) && p.Overlaps(other) {
					return fmt.Errorf("prefix %s overlaps %s", p, other)
				}
			}
		}
	}
	return nil
}

// check says what is wrong with the interface; seen are the names, MACs and addresses that are another's, and whose.
func (e StaticENI) check(seen map[string]string) error {
	switch {
	case e.Name == "" && e.MAC == "":
		return errors.New(`"name" or "mac" is missing`)
	case !e.Subnet.IsValid(), !e.PrimaryIP.IsValid(), !e.Gateway.IsValid():
		return errors.New(`"subnet", "gateway" or "primaryIP" is missing`)
	case !e.Subnet.Addr().Is4():
		return fmt.Errorf(`"subnet" %s is of IPv6: an interface has IPv4 too, and "subnet6"`, e.Subnet)
	case !e.Subnet.Contains(e.PrimaryIP), !e.Subnet.Contains(e.Gateway):
		return fmt.Errorf(`"primaryIP" %s and "gateway" %s must be in "subnet" %s`, e.PrimaryIP, e.Gateway, e.Subnet)
	}
	if err := e.check6(); err != nil {
		return err
	}
	var own []string
	if e.Name != "" {
		own = append(own, e.Name)
	}
	if e.MAC != "" {
		mac, err := net.ParseMAC(e.MAC)
		if err != nil {
			return err
		}
		own = append(own, mac.String())
	}
	ips, err := e.Expand()
	if err != nil {
		return err
	}
	for _, ip := range append(ips, e.PrimaryIP, e.PrimaryIP6) {
		if !ip.IsValid() {
			continue
		}
		if e.reserved(ip) {
			return fmt.Errorf("%s is the first or the last address of the subnet %s, which no host can have", ip, e.subnetOf(ip))
		}
		own = append(own, ip.String())
	}
	for _, name := range own {
		if seen[name] != "" {
			return fmt.Errorf("%s is listed twice: it is %s", name, seen[name])
		}
		seen[name] = "of an interface"
	}
	return nil
}

// check6 says what is wrong with the interface's IPv6.
func (e StaticENI) check6() error {
	switch {
	case e.Subnet6.IsValid() != e.Gateway6.IsValid():
		return errors.New(`"subnet6" and "gateway6" go together`)
	case e.PrimaryIP6.IsValid() && (!e.Subnet6.IsValid() || !e.Subnet6.Contains(e.PrimaryIP6)):
		return fmt.Errorf(`"primaryIP6" %s must be in "subnet6" %s`, e.PrimaryIP6, e.Subnet6)
	case !e.Subnet6.IsValid():
		return nil
	case !e.Subnet6.Addr().Is6(), e.Subnet6.Addr().Is4In6():
		return fmt.Errorf(`"subnet6" %s is not of IPv6`, e.Subnet6)
	case !e.Gateway6.Is6() || e.Gateway6.Zone() != "" || !e.Gateway6.IsLinkLocalUnicast() && !e.Subnet6.Contains(e.Gateway6):
		return fmt.Errorf(`"gateway6" %s must be link-local, or in "subnet6" %s`, e.Gateway6, e.Subnet6)
	}
	return nil
}

// reserved says whether an address is its subnet's own, which of IPv6 is that of all its routers, or the subnet's broadcast
// address: RFC 1122, section 3.2.1.3, and RFC 4291, section 2.6.1; RFC 3021 and RFC 6164 for two addresses or one.
func (e StaticENI) reserved(ip netip.Addr) bool {
	subnet := e.subnetOf(ip)
	if ip.BitLen()-subnet.Bits() < 2 {
		return false
	}
	return ip == subnet.Masked().Addr() || ip.Is4() && !subnet.Contains(ip.Next())
}

// Prefixes returns the interface's prefixes of IPv6.
func (e StaticENI) Prefixes() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, r := range e.Addresses {
		if !strings.Contains(r, "/") {
			continue
		}
		p, err := netip.ParsePrefix(r)
		switch {
		case err != nil:
			return nil, fmt.Errorf("address range %q: %w", r, err)
		case p != p.Masked() || p.Addr().Is4() || !e.Subnet6.IsValid() || !e.Subnet6.Contains(p.Addr()) || p.Bits() <= e.Subnet6.Bits():
			return nil, fmt.Errorf(`address range %q is no prefix within "subnet6" %s; of IPv4, "FROM-TO" is wanted`, r, e.Subnet6)
		}
		all = append(all, p)
	}
	return all, nil
}

// subnetOf returns the subnet of an address' family.
func (e StaticENI) subnetOf(ip netip.Addr) netip.Prefix {
	if ip.Is4() {
		return e.Subnet
	}
	return e.Subnet6
}

// Expand returns the interface's addresses, one by one, but those of its prefixes.
func (e StaticENI) Expand() ([]netip.Addr, error) {
	var all []netip.Addr
	for _, r := range e.Addresses {
		if strings.Contains(r, "/") {
			continue
		}
		from, to, err := parseRange(r)
		if err != nil {
			return nil, err
		}
		subnet := e.subnetOf(from)
		for ip := from; ; ip = ip.Next() {
			if !subnet.IsValid() || !subnet.Contains(ip) {
				return nil, fmt.Errorf("address range %q leaves the subnet %s", r, subnet)
			}
			if len(all) == maxStaticAddresses {
				return nil, fmt.Errorf("address range %q: more than %d addresses", r, maxStaticAddresses)
			}
			all = append(all, ip)
			if ip == to {
				break
			}
		}
	}
	return all, nil
}

// parseRange reads "FROM-TO", or one address.
func parseRange(s string) (from, to netip.Addr, err error) {
	first, last, isRange := strings.Cut(s, "-")
	if from, err = netip.ParseAddr(strings.TrimSpace(first)); err != nil {
		return from, to, fmt.Errorf("address range %q: %w", s, err)
	}
	if !isRange {
		return from, from, nil
	}
	if to, err = netip.ParseAddr(strings.TrimSpace(last)); err != nil {
		return from, to, fmt.Errorf("address range %q: %w", s, err)
	}
	if to.Less(from) || to.BitLen() != from.BitLen() {
		return from, to, fmt.Errorf("address range %q ends before it begins", s)
	}
	return from, to, nil
}
