package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
)

// object is a rule or a route of ours in the kernel, in words.
type object struct {
	about netip.Addr // whose it is: a container's address, or an ENI's primary
	words string
}

func rule(pref int, ip netip.Addr, table int) object {
	return object{ip, fmt.Sprintf("rule %d of %s to table %d", pref, ip, table)}
}

// numbered is the rule of an ENI's number in a family, where the rules are per ENI.
func numbered(about netip.Addr, family int, mark uint32, table int) object {
	return object{about, fmt.Sprintf("rule of family %d of the number %d to table %d", family, mark, table)}
}

func route(about netip.Addr, to netip.Prefix, via netip.Addr, link string, table int) object {
	return object{about, fmt.Sprintf("route %s via %v by %s in table %d", to, via, link, table)}
}

// routes are all of ours, in all tables, of both families.
func (m *machine) routes(t *testing.T) []netlink.Route {
	t.Helper()
	filter := &netlink.Route{Protocol: layout.Protocol, Table: unix.RT_TABLE_UNSPEC}
	var all []netlink.Route
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		some, err := m.links.RouteListFiltered(f, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

// rules are all of ours, of both families.
func (m *machine) rules(t *testing.T) []netlink.Rule {
	t.Helper()
	var all []netlink.Rule
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		some, err := m.links.RuleList(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return slices.DeleteFunc(all, func(r netlink.Rule) bool { return r.Protocol != layout.Protocol })
}

// destination is where a route leads to.
func destination(r netlink.Route) netip.Prefix {
	if r.Dst != nil {
		ip, _ := netip.AddrFromSlice(r.Dst.IP)
		ones, _ := r.Dst.Mask.Size()
		return netip.PrefixFrom(ip.Unmap(), ones)
	}
	if r.Family == netlink.FAMILY_V6 {
		return layout.Default(netip.IPv6Unspecified())
	}
	return layout.Default(netip.IPv4Unspecified())
}

// kernel is all that is ours in it, but for what is the node's: the rules of eni-snat, and that which leads to all containers.
func (m *machine) kernel(t *testing.T, tables map[int]netip.Addr) map[object]bool {
	t.Helper()
	got := map[object]bool{}
	for _, r := range m.rules(t) {
		if r.Mark != 0 || r.Src == nil && r.Dst == nil {
			if r.Priority == layout.PrefFromContainer {
				got[numbered(tables[r.Table], r.Family, r.Mark, r.Table)] = true
			}
			continue
		}
		ip, _ := netip.AddrFromSlice(cmp.Or(r.Src, r.Dst).IP)
		o := rule(r.Priority, ip.Unmap(), r.Table)
		if got[o] {
			t.Errorf("twice in the kernel: %s", o.words)
		}
		got[o] = true
	}
	names := m.names(t)
	for _, r := range m.routes(t) {
		to := destination(r)
		via, _ := netip.AddrFromSlice(r.Gw)
		about := to.Addr()
		if r.Table != layout.TableMain && r.Table != layout.TablePods {
			about = tables[r.Table]
		}
		got[route(about, to, via.Unmap(), names[r.LinkIndex], r.Table)] = true
	}
	return got
}

// names are the links' names, by index.
func (m *machine) names(t *testing.T) map[int]string {
	t.Helper()
	links, err := m.links.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names
}

// ofENI is what the kernel has of some families for an ENI that is prepared, and whose link is there.
func (m *machine) ofENI(t *testing.T, e store.ENI, families ...family.Family) []object {
	t.Helper()
	links, err := m.links.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().HardwareAddr.String() == e.MAC })
	if e.Primary || at < 0 {
		return nil
	}
	link, none := links[at].Attrs().Name, netip.Addr{}
	all := []object{
		rule(layout.PrefToContainer, e.PrimaryIP, layout.TableMain),
		rule(layout.PrefFromContainer, e.PrimaryIP, e.Table),
		route(e.PrimaryIP, layout.Host(e.PrimaryIP), none, link, layout.TableMain),
		route(e.PrimaryIP, layout.Host(e.Gateway), none, link, e.Table),
		route(e.PrimaryIP, layout.Default(e.Gateway), e.Gateway, link, e.Table),
	}
	if m.routing == netconf.PerENI {
		all = append(all, numbered(e.PrimaryIP, unix.AF_INET, uint32(e.Number), e.Table))
	}
	if !e.Gateway6.IsValid() || !slices.Contains(families, family.IPv6) {
		return all
	}
	if m.routing == netconf.PerENI {
		all = append(all, numbered(e.PrimaryIP, unix.AF_INET6, uint32(e.Number), e.Table))
	}
	return append(all, route(e.PrimaryIP, layout.Default(e.Gateway6), e.Gateway6, link, e.Table))
}

// ofContainer is what the kernel has for a container.
func (m *machine) ofContainer(id string, ip netip.Addr, e store.ENI) []object {
	veth := layout.Identify(layout.VethPrefix, id, "eth0").Veth
	if m.routing == netconf.PerENI {
		return []object{route(ip, layout.Host(ip), netip.Addr{}, veth, layout.TablePods)}
	}
	all := []object{
		rule(layout.PrefToContainer, ip, layout.TableMain),
		route(ip, layout.Host(ip), netip.Addr{}, veth, layout.TableMain),
	}
	if !e.Primary {
		all = append(all, rule(layout.PrefFromContainer, ip, e.Table))
	}
	return all
}

// wanted is what the kernel must have, and about whom it may have more or less: containers that one is not sure of, addresses
// that went astray, ENIs that no container uses, and, until a reconcile, those that are no more.
func (m *machine) wanted(t *testing.T, s snapshot, reconciled bool) (must map[object]bool, may addresses) {
	t.Helper()
	must, may = map[object]bool{}, maps.Clone(m.astray)
	enis := map[string]store.ENI{}
	need := func(all []object) {
		for _, o := range all {
			must[o] = true
		}
	}
	for _, e := range s.enis {
		enis[e.ID] = e
		if objects := m.ofENI(t, e, family.All()...); reconciled && len(objects) > 0 {
			need(objects)
		} else {
			may.add(e.PrimaryIP)
		}
	}
	for _, x := range s.addresses {
		if x.State != store.Assigned {
			continue
		}
		id := x.Owner.ContainerID
		if !slices.Contains(m.live[id], x.IP) || m.astray.has(x.IP) {
			may.add(x.IP)
			continue
		}
		need(m.ofContainer(id, x.IP, enis[x.ENI]))
		need(m.ofENI(t, enis[x.ENI], family.Of(x.IP)))
	}
	return must, may
}

// checkKernel compares the kernel with what it must have for the containers that live.
func (m *machine) checkKernel(t *testing.T, s snapshot, reconciled bool) {
	t.Helper()
	must, may := m.wanted(t, s, reconciled)
	tables := map[int]netip.Addr{}
	for _, e := range s.enis {
		tables[e.Table] = e.PrimaryIP
	}
	got := m.kernel(t, tables)
	for o := range must {
		if !got[o] && !m.astray.has(o.about) {
			t.Errorf("lacking in the kernel: %s", o.words)
		}
	}
	m.checkMarks(t, s)
	for o := range got {
		if !must[o] && !may.has(o.about) && (reconciled || !m.wasENI(o.about)) {
			t.Errorf("left in the kernel: %s", o.words)
		}
	}
}

// checkMarks wants what containers that live send to have their ENIs' numbers, where the rules are per ENI.
func (m *machine) checkMarks(t *testing.T, s snapshot) {
	t.Helper()
	if m.routing != netconf.PerENI {
		return
	}
	attached, unsure := map[string]layout.Attachment{}, map[string]bool{}
	for _, x := range s.addresses {
		if x.State != store.Assigned {
			continue
		}
		id := x.Owner.ContainerID
		if !slices.Contains(m.live[id], x.IP) || m.astray.has(x.IP) {
			unsure[id] = true
		}
		e := s.enis[slices.IndexFunc(s.enis, func(e store.ENI) bool { return e.ID == x.ENI })]
		a := attached[id]
		a.Addresses = append(a.Addresses, layout.Address{IP: x.IP, Number: e.Number})
		attached[id] = a
	}
	err := m.node.Do(func() error {
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		for id, a := range attached {
			if unsure[id] {
				continue
			}
			veth, err := h.LinkByName(layout.Identify(layout.VethPrefix, id, "eth0").Veth)
			if err != nil {
				return err
			}
			if _, d, err := marking.Diff(t.Context(), veth, a); d != "" || err != nil {
				t.Errorf("%s: %s, %v", id, d, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// wasENI says whether an address was ever an ENI's primary: what is left of one that is no more is for reconcile.
func (m *machine) wasENI(ip netip.Addr) bool { return !ip.IsValid() || m.primaries[ip] }

// watchENIs notes the primary addresses of the instance's ENIs.
func (m *machine) watchENIs() {
	for _, e := range m.ENIs(m.instanceID) {
		m.primaries[e.PrimaryIP] = true
	}
}
