package vpcsim

import (
	"encoding/xml"
	"net/netip"
	"slices"
)

type ipv6Item struct {
	Address string `xml:"ipv6Address"`
	Primary bool   `xml:"isPrimaryIpv6"`
}

type ipv6Prefix struct {
	Prefix string `xml:"ipv6Prefix"`
}

type cidr6 struct {
	Association string `xml:"associationId"`
	Block       string `xml:"ipv6CidrBlock"`
	State       string `xml:"ipv6CidrBlockState>state"`
}

// ipv6Items lists an ENI's addresses, its own first. That of a primary ENI is one like the others, but the first; on other
// ENIs an address is the ENI's own only where EnablePrimaryIpv6 made it.
func ipv6Items(e ENI) []ipv6Item {
	var items []ipv6Item
	for _, ip := range e.held6().addresses {
		items = append(items, ipv6Item{ip.String(), ip == e.PrimaryIP6 && e.DeviceIndex != 0})
	}
	return items
}

func prefix6Items(prefixes []netip.Prefix) []ipv6Prefix {
	var items []ipv6Prefix
	for _, p := range prefixes {
		items = append(items, ipv6Prefix{p.String()})
	}
	return items
}

// cidr6Items lists a subnet's ranges: one that was taken away beside the one that is there.
func cidr6Items(p netip.Prefix) []cidr6 {
	if !p.IsValid() {
		return nil
	}
	return []cidr6{
		{"subnet-cidr-assoc-0f", "2001:db8:ffff::/64", "disassociated"},
		{"subnet-cidr-assoc-0a", p.String(), "associated"},
	}
}

type assign6Answer struct {
	XMLName xml.Name `xml:"AssignIpv6AddressesResponse"`
	answerHead
	ENI       string       `xml:"networkInterfaceId"`
	Addresses []netip.Addr `xml:"assignedIpv6Addresses>item"`
	Prefixes  []string     `xml:"assignedIpv6PrefixSet>item"`
}

type unassign6Answer struct {
	XMLName xml.Name `xml:"UnassignIpv6AddressesResponse"`
	answerHead
	ENI       string       `xml:"networkInterfaceId"`
	Addresses []netip.Addr `xml:"unassignedIpv6Addresses>item"`
	Prefixes  []string     `xml:"unassignedIpv6PrefixSet>item"`
}

// assignIPv6Addresses gives addresses or prefixes by their number alone; EC2 knows also lists.
func (v *VPC) assignIPv6Addresses(p *params) (any, error) {
	id, r := p.required("NetworkInterfaceId"), p.request6()
	if r.slots() == 0 {
		p.fail(errorf("MissingParameter", "Either 'ipv6AddressCount' or 'ipv6PrefixCount' must be specified."))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	g, err := v.assign6(id, r, false)
	if err != nil {
		return nil, err
	}
	return &assign6Answer{ENI: id, Addresses: g.addresses, Prefixes: texts(g.prefixes)}, nil
}

func (v *VPC) unassignIPv6Addresses(p *params) (any, error) {
	id := p.required("NetworkInterfaceId")
	g := grant{p.addresses6("Ipv6Addresses"), p.prefixes6("Ipv6Prefix")}
	if len(g.addresses)+len(g.prefixes) == 0 {
		p.fail(errorf("MissingParameter", "The request must contain the parameter ipv6Addresses"))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	if err := v.unassign6(id, g); err != nil {
		return nil, err
	}
	return &unassign6Answer{ENI: id, Addresses: g.addresses, Prefixes: texts(g.prefixes)}, nil
}

func texts(prefixes []netip.Prefix) []string {
	var all []string
	for _, p := range prefixes {
		all = append(all, p.String())
	}
	return all
}

// request6 returns what of IPv6 is asked for: addresses or prefixes.
func (p *params) request6() request {
	r := request{count: p.number("Ipv6AddressCount", 1, 1000, 0), prefixes: p.number("Ipv6PrefixCount", 1, 1000, 0)}
	if r.count > 0 && r.prefixes > 0 {
		p.fail(errorf("InvalidParameterCombination", "Numbers of addresses and prefixes cannot be used together."))
	}
	return r
}

func (p *params) addresses6(name string) []netip.Addr {
	var addresses []netip.Addr
	for _, s := range p.list(name) {
		ip, err := netip.ParseAddr(s)
		if err != nil || !ip.Is6() || slices.Contains(addresses, ip) {
			p.fail(errorf("InvalidParameterValue", "Value ( %s ) for parameter ipv6Addresses is invalid.", s))
			continue
		}
		addresses = append(addresses, ip)
	}
	return addresses
}

func (p *params) prefixes6(name string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, s := range p.list(name) {
		cidr, err := netip.ParsePrefix(s)
		if err != nil || !cidr.Addr().Is6() || cidr.Bits() != prefix6Bits || cidr != cidr.Masked() || slices.Contains(prefixes, cidr) {
			p.fail(errorf("InvalidParameterValue", "Value ( %s ) for parameter ipv6Prefix is invalid.", s))
			continue
		}
		prefixes = append(prefixes, cidr)
	}
	return prefixes
}
