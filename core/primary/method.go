// Package primary finds the host's primary interface where nobody names it, by the methods of Calico's IP autodetection
// (projectcalico/calico, node/pkg/lifecycle/startup/autodetection), made stricter where a guess could be wrong.
package primary

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// kind is how a Method looks.
type kind int

const (
	byName   kind = iota // names that match
	notNamed             // all but those that match
	byCIDR               // addresses in a range
	byRoute              // that by which an address is reached
	first                // the first that could be it
)

// Method is a way to find the primary interface. The zero Method is none.
type Method struct {
	text     string
	kind     kind
	names    []*regexp.Regexp
	prefixes []netip.Prefix
	target   netip.Addr
}

// Parse reads a method. It is false for what is none, such as the name of an interface.
//
//	interface=R1,R2        names that match one of the expressions; one without special characters is the whole name
//	skip-interface=R1,R2   all others, less those that hosts make for containers and tunnels
//	cidr=C1,C2             the interface with an address in one of the ranges
//	can-reach=IP           the interface by which the host sends to the address
//	first-found            the one with the lowest index that no container or tunnel has
func Parse(s string) (m Method, ok bool, err error) {
	name, list, valued := strings.Cut(s, "=")
	m = Method{text: s}
	switch {
	case s == "first-found":
		m.kind = first
		return m, true, nil
	case !valued:
		return Method{}, false, nil
	case name == "interface":
		m.kind = byName
	case name == "skip-interface":
		m.kind = notNamed
	case name == "cidr":
		m.kind = byCIDR
	case name == "can-reach":
		m.kind = byRoute
	default:
		return Method{}, false, nil
	}
	if err := m.read(list); err != nil {
		return Method{}, true, fmt.Errorf("%q: %w", s, err)
	}
	return m, true, nil
}

// ByRouteTo returns the method can-reach=IP.
func ByRouteTo(ip netip.Addr) Method {
	return Method{text: "can-reach=" + ip.String(), kind: byRoute, target: ip}
}

// read fills in what the method looks for.
func (m *Method) read(list string) error {
	if m.kind == byRoute {
		ip, err := netip.ParseAddr(strings.TrimSpace(list))
		if err != nil {
			return fmt.Errorf("an IP address is wanted, no name that must be resolved: %w", err)
		}
		m.target = ip
		return nil
	}
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			return fmt.Errorf("the list has an empty entry")
		}
		if m.kind == byCIDR {
			p, err := netip.ParsePrefix(entry)
			if err != nil {
				return err
			}
			m.prefixes = append(m.prefixes, p.Masked())
			continue
		}
		r, err := nameExpression(entry)
		if err != nil {
			return err
		}
		m.names = append(m.names, r)
	}
	return nil
}

// nameExpression compiles an expression for names. Calico's are not anchored, so that eth0 would match veth0abc too; here
// one that is plainly a name is that name.
func nameExpression(s string) (*regexp.Regexp, error) {
	if regexp.QuoteMeta(s) == s {
		s = "^" + s + "$"
	}
	return regexp.Compile(s)
}

// String returns the method as it was written.
func (m Method) String() string { return m.text }

// Link is what a Method needs to know of an interface.
type Link struct {
	Index     int
	Name      string
	Up        bool
	Container bool // the host end of a container, or an ENI for containers: never the primary interface
	Addresses []netip.Addr
}

// others are the interfaces that hosts make for containers, machines and tunnels: Calico's list, and the names of ours and of
// the other plugins for ENIs.
var others = sync.OnceValue(func() *regexp.Regexp { // which an ADD does not need
	return regexp.MustCompile(`^(docker|cbr|dummy|virbr|lxcbr|lxc|veth|lo$|cali|tunl|flannel|kube-ipvs|kube-bridge|cni|podman|vxlan|wireguard|wg|nodelocaldns|cilium|eni[0-9a-f]{11}$|pod[0-9a-f]{12}$)`)
})

// Choose returns the interface and its address, which is of the family. It is an error where there is none, and where several could be
// meant: a guess would send the node's traffic out by the wrong one. A Method that asks by address needs Lookup instead.
func (m Method) Choose(links []Link, family func(netip.Addr) bool) (Link, netip.Addr, error) {
	type found struct {
		link Link
		ip   netip.Addr
	}
	var all []found
	links = slices.SortedFunc(slices.Values(links), func(a, b Link) int { return a.Index - b.Index })
	for _, l := range links {
		if ip, ok := m.suits(l, family); ok {
			all = append(all, found{l, ip})
		}
	}
	switch {
	case len(all) == 0:
		return Link{}, netip.Addr{}, fmt.Errorf("%s: no interface that is up with such an address; there are %s", m, describe(links))
	case len(all) == 1 || m.kind == first:
		return all[0].link, all[0].ip, nil
	}
	var names []string
	for _, f := range all {
		names = append(names, fmt.Sprintf("%s (%s)", f.link.Name, f.ip))
	}
	return Link{}, netip.Addr{}, fmt.Errorf("%s: several interfaces could be meant: %s", m, strings.Join(names, ", "))
}

// Lookup returns the address by whose route the interface is found, and false where links are to be looked through.
func (m Method) Lookup() (netip.Addr, bool) { return m.target, m.kind == byRoute }

// suits returns the first address that an interface would be chosen for.
func (m Method) suits(l Link, family func(netip.Addr) bool) (netip.Addr, bool) {
	if !l.Up || l.Container || !m.namedFor(l.Name) {
		return netip.Addr{}, false
	}
	for _, ip := range l.Addresses {
		if family(ip) && ip.IsGlobalUnicast() && m.within(ip) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// namedFor says whether an interface of the name may be chosen.
func (m Method) namedFor(name string) bool {
	matches := slices.ContainsFunc(m.names, func(r *regexp.Regexp) bool { return r.MatchString(name) })
	switch m.kind {
	case byName:
		return matches
	case notNamed, first:
		return !matches && !others().MatchString(name)
	}
	return true
}

// within says whether an address may be chosen.
func (m Method) within(ip netip.Addr) bool {
	return m.kind != byCIDR || slices.ContainsFunc(m.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// describe lists interfaces for people.
func describe(links []Link) string {
	var out []string
	for _, l := range links {
		out = append(out, l.Name)
	}
	return strings.Join(out, ", ")
}
