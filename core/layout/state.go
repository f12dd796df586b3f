package layout

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/enichain/enichain/core/family"
)

// Routing tables of the kernel, as in iproute2's rt_tables.
const (
	TableMain  = 254
	TableLocal = 255
)

// Device is a link of the namespace that a State is about. The kernel is addressed by Index, people by Name.
type Device struct {
	Index int
	Name  string
}

// State is what some links, tables and rules of one network namespace are to hold, and says nothing of the others. Its
// String puts it into the words of ip(8) and sysctl(8).
type State struct {
	Sysctls []Sysctl
	Links   []Link
	Addrs   []Addr
	Neighs  []Neigh
	Routes  []Route
	// Absent are routes that may not be there, whoever made them: matched by destination, device and table.
	Absent []Route
	Rules  []Rule
}

// Sysctl is a value under /proc/sys; the key has slashes, because an interface's name may have dots.
type Sysctl struct {
	Key   string
	Value string
	// Over, where it is not empty, is the only value that is replaced; any other is somebody's choice, and will do.
	Over string
}

// Lacks says whether what the kernel has is to be replaced.
func (s Sysctl) Lacks(has string) bool { return has != s.Value && (s.Over == "" || has == s.Over) }

// Link is a link that is up. An MTU of 0 leaves the link's own.
type Link struct {
	Device
	MTU int
}

// Addr is an address of a device.
type Addr struct {
	Dev    Device
	Prefix netip.Prefix
	// Sole says that the device may have no other address of this family.
	Sole bool
}

// Neigh is a permanent neighbour.
type Neigh struct {
	Dev Device
	IP  netip.Addr
	MAC net.HardwareAddr
}

// Route is a unicast route of scope link, or of scope global where it goes Via a gateway.
type Route struct {
	Dst   netip.Prefix
	Via   netip.Addr
	Dev   Device
	Table int
	// Src is the source address that the host's own packets get; the zero Addr leaves the choice to the kernel.
	Src netip.Addr
}

// Rule is a policy rule. The zero Prefix is "all"; a Mark is compared under Mask, of which 0 is the mark's own bits. Out is the name of the
// device that a socket is bound to. A rule with a Goto, the preference of a later one, goes on there, and has no Table.
type Rule struct {
	Pref  int
	From  netip.Prefix
	To    netip.Prefix
	Mark  uint32
	Mask  uint32
	Out   string
	Table int
	// IPv6 is the family of a rule with neither From nor To, which tell it otherwise.
	IPv6 bool
	Goto int
}

// Family returns that of a rule.
func (r Rule) Family() family.Family {
	if r.IPv6 || r.From.Addr().Is6() || r.To.Addr().Is6() {
		return family.IPv6
	}
	return family.IPv4
}

// MarkMask returns the bits under which the mark is compared.
func (r Rule) MarkMask() uint32 {
	if r.Mask == 0 {
		return r.Mark
	}
	return r.Mask
}

// Lookup is a question to the kernel's routing, "which route takes a packet from From to To", and the answer wanted. A
// Want.Table of 0 accepts any table. From may be the zero Addr, and Mark 0.
type Lookup struct {
	From netip.Addr
	To   netip.Addr
	Mark uint32
	Want Route
}

// Host returns the prefix that holds ip alone.
func Host(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }

// Default returns the default destination of ip's family.
func Default(ip netip.Addr) netip.Prefix {
	if ip.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// String returns the lines of the state, in the order in which it is applied.
func (s State) String() string {
	var b strings.Builder
	line := func(kind string, what fmt.Stringer) { fmt.Fprintf(&b, "%s %s\n", kind, what) }
	for _, v := range s.Sysctls {
		line("sysctl", v)
	}
	for _, v := range s.Links {
		line("link", v)
	}
	for _, v := range s.Addrs {
		line("addr", v)
	}
	for _, v := range s.Neighs {
		line("neigh", v)
	}
	for _, v := range s.Routes {
		line("route", v)
	}
	for _, v := range s.Absent {
		line("no route", v)
	}
	for _, v := range s.Rules {
		line("rule", v)
	}
	return b.String()
}

func (s Sysctl) String() string { return s.Key + "=" + s.Value }

func (l Link) String() string {
	if l.MTU == 0 {
		return l.Name + " up"
	}
	return fmt.Sprintf("%s up mtu %d", l.Name, l.MTU)
}

func (a Addr) String() string {
	s := fmt.Sprintf("%s dev %s", a.Prefix, a.Dev.Name)
	if a.Sole {
		s += " alone"
	}
	return s
}

func (n Neigh) String() string {
	return fmt.Sprintf("%s dev %s lladdr %s PERMANENT", n.IP, n.Dev.Name, n.MAC)
}

// String returns the route as `ip route show table all` does.
func (r Route) String() string {
	var b strings.Builder
	b.WriteString(destination(r.Dst, "default"))
	if r.Via.IsValid() {
		fmt.Fprintf(&b, " via %s", r.Via)
	}
	fmt.Fprintf(&b, " dev %s", r.Dev.Name)
	if r.Table != TableMain && r.Table != 0 {
		fmt.Fprintf(&b, " table %d", r.Table)
	}
	if !r.Via.IsValid() && r.Dst.Addr().Is4() { // IPv6 has no scopes
		b.WriteString(" scope link")
	}
	if r.Src.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Src)
	}
	return b.String()
}

// String returns the rule as `ip rule` does.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: from %s", r.Pref, destination(r.From, "all"))
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %s", destination(r.To, "all"))
	}
	if r.Mark != 0 {
		fmt.Fprintf(&b, " fwmark %#x/%#x", r.Mark, r.MarkMask())
	}
	if r.Out != "" {
		fmt.Fprintf(&b, " oif %s", r.Out)
	}
	if r.Goto != 0 {
		fmt.Fprintf(&b, " goto %d", r.Goto)
		return b.String()
	}
	fmt.Fprintf(&b, " lookup %s", tableName(r.Table))
	return b.String()
}

// String returns the question as one would type it.
func (l Lookup) String() string {
	s := "ip route get " + l.To.String()
	if l.From.IsValid() {
		s += " from " + l.From.String()
	}
	if l.Mark != 0 {
		s += fmt.Sprintf(" mark %#x", l.Mark)
	}
	return s
}

func destination(p netip.Prefix, all string) string {
	switch {
	case !p.IsValid() || p.Bits() == 0:
		return all
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

func tableName(table int) string {
	switch table {
	case TableMain:
		return "main"
	case TableLocal:
		return "local"
	}
	return fmt.Sprint(table)
}
