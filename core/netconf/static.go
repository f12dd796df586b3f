package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	// Addresses are ranges: "10.0.1.16-10.0.1.31", or "10.0.1.40" for one.
	Addresses []string `json:"addresses"`
}

// check says what is wrong with the pool, if anything.
func (s *Static) check() error {
	primaries, seen := 0, map[string]string{}
	for _, e := range s.ENIs {
		seen[e.Gateway.String()] = "a gateway"
	}
	for i, e := range s.ENIs {
		if e.Primary {
			primaries++
		}
		if err := e.check(seen); err != nil {
			return fmt.Errorf("static.enis[%d]: %w", i, err)
		}
	}
	if primaries != 1 {
		return fmt.Errorf(`static: %d of the "enis" are "primary", exactly one must be`, primaries)
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
		return fmt.Errorf(`"subnet" %s is of IPv6, and a pool gives addresses of IPv4 so far`, e.Subnet)
	case !e.Subnet.Contains(e.PrimaryIP), !e.Subnet.Contains(e.Gateway):
		return fmt.Errorf(`"primaryIP" %s and "gateway" %s must be in "subnet" %s`, e.PrimaryIP, e.Gateway, e.Subnet)
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
	for _, ip := range append(ips, e.PrimaryIP) {
		if e.reserved(ip) {
			return fmt.Errorf("%s is the first or the last address of the subnet %s, which no host can have", ip, e.Subnet)
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

// reserved says whether an address is its subnet's own, or the subnet's broadcast address: RFC 1122, section 3.2.1.3, and
// RFC 3021 for two addresses or one.
func (e StaticENI) reserved(ip netip.Addr) bool {
	return ip.Is4() && e.Subnet.Bits() < 31 && (ip == e.Subnet.Masked().Addr() || !e.Subnet.Contains(ip.Next()))
}

// Expand returns the interface's addresses, one by one.
func (e StaticENI) Expand() ([]netip.Addr, error) {
	var all []netip.Addr
	for _, r := range e.Addresses {
		from, to, err := parseRange(r)
		if err != nil {
			return nil, err
		}
		for ip := from; ; ip = ip.Next() {
			if !e.Subnet.Contains(ip) {
				return nil, fmt.Errorf("address range %q leaves the subnet %s", r, e.Subnet)
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
