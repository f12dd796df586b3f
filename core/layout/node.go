package layout

import (
	"net/netip"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

// Forwarding returns what any node with containers needs.
func Forwarding() State {
	return State{Sysctls: []Sysctl{{Key: "net/ipv4/ip_forward", Value: "1"}}}
}

// Forwarding6 returns what a node needs for containers with IPv6 addresses. A host that forwards forgets the default route
// that a router advertised to it, unless it is told to listen all the same (accept_ra 2, Documentation/networking/
// ip-sysctl.rst): uplinks are those that may have learnt theirs so.
func Forwarding6(uplinks ...Device) State {
	var s State
	for _, dev := range uplinks {
		s.Sysctls = append(s.Sysctls, Sysctl{Key: "net/ipv6/conf/" + dev.Name + "/accept_ra", Value: "2", Over: "1"})
	}
	s.Sysctls = append(s.Sysctls, Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"})
	return s
}

// Forwards returns the setting by which the host passes on what comes in at a device. Setting ip_forward sets it for all
// of them, but not for certain: of two processes that do so at once one puts the old value back for an instant, when it
// has to wait for the RTNL, and then neither sees a change that it would have to carry out (net/ipv4/devinet.c,
// devinet_sysctl_forward). ip_forward is 1 then, and nothing is forwarded.
func Forwards(dev Device) Sysctl {
	return Sysctl{Key: "net/ipv4/conf/" + dev.Name + "/forwarding", Value: "1"}
}

// Node returns what a node needs once: forwarding, and loose reverse path filtering on the primary interface, by which
// the internet's replies to containers of other ENIs come in.
func Node(primary Device) State {
	s := Forwarding()
	s.Sysctls = append(s.Sysctls, Forwards(primary), looseReversePath(primary))
	return s
}

// ENI returns what the ENI needs on the host, where dev is its link (recipes 3.1 and 4.1). The primary ENI is the
// host's own: nothing of it is changed but forwarding and the reverse path filter.
//
// The rule from its primary address comes last, and that for its number before it, so that lookups which find them prove
// that the rest is there (Ready).
func ENI(eni store.ENI, dev Device, routing netconf.Routing) State {
	if eni.Primary {
		return State{Sysctls: []Sysctl{Forwards(dev), looseReversePath(dev)}}
	}
	self := Host(eni.PrimaryIP)
	s := State{
		Sysctls: []Sysctl{Forwards(dev), looseReversePath(dev)},
		Links:   []Link{{Device: dev, MTU: eni.MTU}},
		Addrs:   []Addr{{Dev: dev, Prefix: self, Sole: true}},
		Routes: []Route{
			{Dst: self, Dev: dev, Table: TableMain},
			{Dst: Host(eni.Gateway), Dev: dev, Table: eni.Table},
			defaultOf(eni, dev),
		},
		// The kernel adds the subnet's route with an address that has the subnet's mask, a DHCP client with a lease. It
		// would take the host's own traffic to the subnet, with the primary ENI's address, out of this ENI.
		Absent: []Route{{Dst: eni.Subnet.Masked(), Dev: dev, Table: TableMain}},
		Rules:  []Rule{{Pref: PrefToContainer, To: self, Table: TableMain}},
	}
	if eni.Gateway6.IsValid() {
		s.add6(eni, dev)
	}
	if routing == netconf.PerENI {
		s.Rules = append(s.Rules, NumberRules(eni)...)
	}
	s.Rules = append(s.Rules, Rule{Pref: PrefFromContainer, From: self, Table: eni.Table})
	return s
}

// TableOf returns the table by which an ENI's containers leave; main is the primary one's.
func TableOf(eni store.ENI) int {
	if eni.Primary {
		return TableMain
	}
	return eni.Table
}

// NumberRules returns the rules by which packets that carry the ENI's number leave by it, one of each of its families; none where
// it has no number.
func NumberRules(eni store.ENI) []Rule {
	if eni.Number == 0 {
		return nil
	}
	r := Rule{Pref: PrefFromContainer, Mark: uint32(eni.Number), Mask: MaskENI, Table: eni.Table}
	rules := []Rule{r}
	if eni.Gateway6.IsValid() {
		r.IPv6 = true
		rules = append(rules, r)
	}
	return rules
}

// add6 adds what the ENI needs for IPv6. It is no uplink of the host's: what a router advertises there is not listened to.
func (s *State) add6(eni store.ENI, dev Device) {
	conf := "net/ipv6/conf/" + dev.Name
	s.Sysctls = append(s.Sysctls, Sysctl{Key: conf + "/disable_ipv6", Value: "0"}, Sysctl{Key: conf + "/accept_ra", Value: "0"})
	s.Routes = append(s.Routes, defaultOf6(eni, dev))
	if eni.Subnet6.IsValid() {
		s.Absent = append(s.Absent, Route{Dst: eni.Subnet6.Masked(), Dev: dev, Table: TableMain})
	}
	if !eni.PrimaryIP6.IsValid() {
		return
	}
	self := Host(eni.PrimaryIP6)
	s.Addrs = append(s.Addrs, Addr{Dev: dev, Prefix: self, Sole: true})
	s.Rules = append([]Rule{
		{Pref: PrefToContainer, To: self, Table: TableMain},
		{Pref: PrefFromContainer, From: self, Table: eni.Table},
	}, s.Rules...)
}

// Ready returns the questions whose answers show that ENI was applied and has not been damaged since.
func Ready(eni store.ENI, dev Device, routing netconf.Routing) []Lookup {
	ready := []Lookup{{From: eni.PrimaryIP, To: Elsewhere(eni.PrimaryIP), Want: defaultOf(eni, dev)}}
	if routing != netconf.PerENI {
		return ready
	}
	number := uint32(eni.Number)
	ready = append(ready, Lookup{Mark: number, To: Elsewhere(eni.PrimaryIP), Want: defaultOf(eni, dev)})
	if eni.Gateway6.IsValid() {
		ready = append(ready, Lookup{Mark: number, To: Elsewhere(eni.Gateway6), Want: defaultOf6(eni, dev)})
	}
	return ready
}

// MarkRule returns the rule by which a family's traffic that carries our mark leaves by the primary ENI.
func MarkRule(f family.Family) Rule {
	return Rule{Pref: PrefMark, Mark: Mark, Table: TableMain, IPv6: f == family.IPv6}
}

// NewRules returns the rules by which the new connections that carry MarkNew are routed: those to a prefix of stays by the
// ENI that owns their source address, others to a prefix of leaves by the primary ENI. A prefix of no bits is any
// destination. The rules judge the address that a packet goes to in the end: routing comes after DNAT.
func NewRules(stays, leaves []netip.Prefix) []Rule {
	var rules []Rule
	for _, p := range stays {
		rules = append(rules, newRule(Rule{Pref: PrefNewStays, Goto: PrefFromContainer}, p))
	}
	for _, p := range leaves {
		rules = append(rules, newRule(Rule{Pref: PrefNewLeaves, Table: TableMain}, p))
	}
	return rules
}

// newRule completes a rule for a destination. That for any destination has the next preference: the kernel takes it for
// the same as one of its preference with a destination, when it is added and when it is removed (fib4_rule_compare,
// net/ipv4/fib_rules.c, compares only what the request has).
func newRule(r Rule, to netip.Prefix) Rule {
	r.Mark = MarkNew
	if to.Bits() == 0 {
		r.Pref++
		return r
	}
	r.To = to.Masked()
	return r
}

// Elsewhere returns an address of ip's family that only a default route reaches: of RFC 5737's TEST-NET-1, or of
// RFC 3849's documentation prefix.
func Elsewhere(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 1})
}

// Ready6 returns the route of the ENI's table that shows the same for IPv6, of which an ENI need not have an address that
// could be asked for; it is zero where the ENI has no IPv6.
func Ready6(eni store.ENI, dev Device) Route {
	if !eni.Gateway6.IsValid() {
		return Route{}
	}
	return defaultOf6(eni, dev)
}

func defaultOf6(eni store.ENI, dev Device) Route {
	return Route{Dst: Default(eni.Gateway6), Via: eni.Gateway6, Dev: dev, Table: eni.Table}
}

func defaultOf(eni store.ENI, dev Device) Route {
	return Route{Dst: Default(eni.Gateway), Via: eni.Gateway, Dev: dev, Table: eni.Table}
}

// looseReversePath returns rp_filter 2. The kernel uses the greater of this and conf/all (Documentation/networking/
// ip-sysctl.rst), so that 2 here is 2 whatever "all" says.
func looseReversePath(dev Device) Sysctl {
	return Sysctl{Key: "net/ipv4/conf/" + dev.Name + "/rp_filter", Value: "2"}
}
