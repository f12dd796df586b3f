package layout

import (
	"net"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

// Loopback is the lo of a network namespace, the first of its devices (LOOPBACK_IFINDEX, include/net/flow.h; Linux 3.7).
func Loopback() Device { return Device{Index: 1, Name: "lo"} }

// Attachment is a container's attachment, as far as the kernel's state depends on it.
type Attachment struct {
	Veth      Device           // the host's end of the veth pair
	VethMAC   net.HardwareAddr // its MAC, the next hop of all that the container sends
	Interface Device           // the container's end
	Addresses []Address
	Routing   netconf.Routing // of the host's rules; the zero Routing is PerPod
	// Beside has the gateway of each family in which another interface has the container's default route: by this one
	// leaves what has its address, or is bound to it, and what is for Destinations.
	Beside []netip.Addr
	// Destinations are reached by this interface whatever has the default route, but from other interfaces' addresses.
	Destinations []netip.Prefix
}

// Address is one address of a container.
type Address struct {
	IP netip.Addr
	// Table is that of the ENI which owns the address: TableMain for the primary ENI and where no ENI is known.
	Table int
	// Number is that of the ENI; 0 for the primary ENI and where no ENI is known.
	Number int
	// Src is the source address of what the host sends to the container; the zero Addr leaves the choice to the kernel.
	Src netip.Addr
}

// AddressOn returns a container's address on an ENI.
func AddressOn(eni store.ENI, ip netip.Addr) Address {
	return Address{IP: ip, Table: TableOf(eni), Number: eni.Number}
}

// OnHost returns what the host holds for a container (recipes 3.2 and 4.2). The veth has no address: it would be the
// source of all that the host sends to the container. It answers ARP for the gateway instead, because the container's
// permanent neighbour is lost when a chained plugin changes its MAC; without delay, which is up to 0.8 s otherwise.
//
// For IPv6 the veth holds the gateway's address, and no other that the kernel would make: one of its own would be tentative
// for a second, in which the host could ask nobody for the container's MAC (RFC 4862, section 5.4).
func OnHost(c Attachment) State {
	s := State{
		Sysctls: []Sysctl{
			Forwards(c.Veth),
			{Key: "net/ipv4/conf/" + c.Veth.Name + "/proxy_arp", Value: "1"},
			{Key: "net/ipv4/neigh/" + c.Veth.Name + "/proxy_delay", Value: "0"},
		},
		Links: []Link{{Device: c.Veth}},
	}
	if c.has6() {
		conf := "net/ipv6/conf/" + c.Veth.Name
		s.Sysctls = append(s.Sysctls,
			Sysctl{Key: conf + "/disable_ipv6", Value: "0"},
			Sysctl{Key: conf + "/accept_ra", Value: "0"},
			Sysctl{Key: conf + "/addr_gen_mode", Value: "1"}, // none
		)
		s.Addrs = []Addr{{Dev: c.Veth, Prefix: netip.PrefixFrom(Gateway6(), 64)}}
	}
	for _, a := range c.Addresses {
		s.Routes = append(s.Routes, Route{Dst: Host(a.IP), Dev: c.Veth, Table: c.tableOnHost(), Src: a.Src})
		if c.Routing != netconf.PerENI {
			s.Rules = append(s.Rules, AddressRules(a)...)
		}
	}
	if c.Routing == netconf.PerENI {
		for _, gw := range c.gateways() {
			s.Rules = append(s.Rules, PodsRule(gw.Is6()))
		}
	}
	return s
}

// tableOnHost returns the table that has the routes to the container.
func (c Attachment) tableOnHost() int {
	if c.Routing == netconf.PerENI {
		return TablePods
	}
	return TableMain
}

// In returns the attachment in a layout, be it another than its own.
func (c Attachment) In(routing netconf.Routing) Attachment {
	c.Routing = routing
	return c
}

// Other returns the layout that a routing is not.
func Other(routing netconf.Routing) netconf.Routing {
	if routing == netconf.PerENI {
		return netconf.PerPod
	}
	return netconf.PerENI
}

// OwnOnHost returns the routes and rules of OnHost that are the container's alone.
func OwnOnHost(c Attachment) State {
	s := State{Routes: OnHost(c).Routes}
	if c.Routing != netconf.PerENI {
		s.Rules = OnHost(c).Rules
	}
	return s
}

// PodsRule returns the rule of a family by which all containers are reached, where the rules are per ENI.
func PodsRule(ipv6 bool) Rule { return Rule{Pref: PrefToContainer, Table: TablePods, IPv6: ipv6} }

// AddressRules returns a container's rules for one address: to it by main, from it by its ENI's table.
func AddressRules(a Address) []Rule {
	rules := []Rule{{Pref: PrefToContainer, To: Host(a.IP), Table: TableMain}}
	if a.Table != TableMain {
		rules = append(rules, Rule{Pref: PrefFromContainer, From: Host(a.IP), Table: a.Table})
	}
	return rules
}

// Inside returns what the container's own namespace holds, but for the routes to Destinations: every packet, be it to the
// same subnet, goes to the host. Beside another interface the routes are in a table of their own, because main can hold one
// default route, and one to the gateway that all interfaces have in common.
func Inside(c Attachment) State {
	s := State{Links: []Link{{Device: Loopback()}, {Device: c.Interface}}}
	for _, a := range c.Addresses {
		s.Addrs = append(s.Addrs, Addr{Dev: c.Interface, Prefix: Host(a.IP)})
	}
	for _, gw := range c.gateways() {
		s.Neighs = append(s.Neighs, Neigh{Dev: c.Interface, IP: gw, MAC: c.VethMAC})
		s.Routes = append(s.Routes,
			Route{Dst: Host(gw), Dev: c.Interface, Table: c.tableInside(gw)},
			Route{Dst: Default(gw), Via: gw, Dev: c.Interface, Table: c.tableInside(gw)})
	}
	s.Rules = RulesInside(c)
	return s
}

// SysctlsInside returns what the container's own settings must be before Inside: runtimes switch IPv6 off in a namespace,
// and a container asks no router, because the host is the only one.
func SysctlsInside(c Attachment) []Sysctl {
	if !c.has6() {
		return nil
	}
	conf := "net/ipv6/conf/" + c.Interface.Name
	return []Sysctl{{Key: conf + "/disable_ipv6", Value: "0"}, {Key: conf + "/accept_ra", Value: "0"}}
}

// Gateways returns the next hop of each family that is among a container's addresses, in their order.
func Gateways(ips []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		if gw := GatewayOf(ip); !slices.Contains(out, gw) {
			out = append(out, gw)
		}
	}
	return out
}

// gateways is Gateways of the attachment's addresses.
func (c Attachment) gateways() []netip.Addr {
	ips := make([]netip.Addr, 0, len(c.Addresses))
	for _, a := range c.Addresses {
		ips = append(ips, a.IP)
	}
	return Gateways(ips)
}

func (c Attachment) has6() bool { return slices.Contains(c.gateways(), Gateway6()) }

// tableInside returns the table of the container that has the routes by its interface, in the gateway's family. The
// interface's index lives as long as the attachment.
func (c Attachment) tableInside(gw netip.Addr) int {
	if slices.Contains(c.Beside, gw) {
		return TableInside + c.Interface.Index
	}
	return TableMain
}

// RulesInside returns the container's rules of an attachment beside another: for packets from its addresses, answers above
// all, and for sockets that are bound to the interface, whose packets have no source yet.
func RulesInside(c Attachment) []Rule {
	var rules []Rule
	for _, a := range c.Addresses {
		if gw := GatewayOf(a.IP); slices.Contains(c.Beside, gw) {
			rules = append(rules, Rule{Pref: PrefFromContainer, From: Host(a.IP), Table: c.tableInside(gw)})
		}
	}
	for _, gw := range c.gateways() {
		if slices.Contains(c.Beside, gw) {
			rules = append(rules, Rule{Pref: PrefFromContainer, Out: c.Interface.Name, Table: c.tableInside(gw), IPv6: gw.Is6()})
		}
	}
	return rules
}

// ToDestinations returns the container's routes to Destinations. They come after Inside: the kernel asks how it gets to
// the next hop by the interface, which Inside's rules answer.
func ToDestinations(c Attachment) State {
	var s State
	for _, dst := range c.Destinations {
		s.Routes = append(s.Routes, Route{Dst: dst, Via: GatewayOf(dst.Addr()), Dev: c.Interface, Table: TableMain})
	}
	return s
}

// Reach returns the questions that show that Inside's routes work for packets from ip, in whatever table they are:
// chained sbr moves them out of main. Those of a table of their own it leaves there, and puts a default route alone before
// them.
func Reach(c Attachment, ip netip.Addr) []Lookup {
	gw := GatewayOf(ip)
	out := Lookup{From: ip, To: Elsewhere(ip), Want: Route{Dst: Default(gw), Via: gw, Dev: c.Interface}}
	if slices.Contains(c.Beside, gw) {
		return []Lookup{out}
	}
	return []Lookup{{From: ip, To: gw, Want: Route{Dst: Host(gw), Dev: c.Interface}}, out}
}
