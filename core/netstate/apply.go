package netstate

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
)

// Apply brings the kernel to the state, in the state's order. It may be repeated, and run by several processes at once.
// Routes replace those of the same destination and table; rules are added to those that are there (see RemoveRules and
// RemoveStaleRules). Sysctls are written only where they differ, by a thread that is
// in the namespace.
func (h *Handle) Apply(s layout.State) error {
	steps := []func() error{
		func() error { return each("set sysctl", s.Sysctls, h.setSysctl) },
		func() error { return each("set link", s.Links, h.setLink) },
		func() error { return each("add address", s.Addrs, h.setAddr) },
		func() error { return each("set neighbour", s.Neighs, h.setNeigh) },
		func() error { return each("add route", s.Routes, h.setRoute) },
		func() error { return each("remove route", s.Absent, h.removeRoute) },
		func() error { return each("add rule", s.Rules, h.addRule) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// each calls set for each value, until one fails.
func each[T fmt.Stringer](what string, values []T, set func(T) error) error {
	for _, v := range values {
		if err := set(v); err != nil {
			return fmt.Errorf("%s %s: %w", what, v, err)
		}
	}
	return nil
}

func (h *Handle) setLink(l layout.Link) error {
	link := deviceLink(l.Device)
	if l.MTU != 0 {
		if err := h.nl.LinkSetMTU(link, l.MTU); err != nil {
			return err
		}
	}
	return h.nl.LinkSetUp(link)
}

func (h *Handle) setAddr(a layout.Addr) error {
	want := &netlink.Addr{IPNet: ipNet(a.Prefix)}
	if a.Prefix.Addr().Is6() {
		want.Flags = unix.IFA_F_NODAD
	}
	if err := h.nl.AddrAdd(deviceLink(a.Dev), want); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if !a.Sole {
		return nil
	}
	foreign, err := h.foreignAddrs(a)
	if err != nil {
		return err
	}
	for _, f := range foreign {
		// A secondary address may go with its primary (promote_secondaries=0).
		if err := h.nl.AddrDel(deviceLink(a.Dev), &f); err != nil && !gone(err) {
			return fmt.Errorf("remove %s: %w", f.IPNet, err)
		}
	}
	return nil
}

// foreignAddrs returns the device's other addresses of the same family; of IPv6, link-local ones are the kernel's own.
func (h *Handle) foreignAddrs(a layout.Addr) ([]netlink.Addr, error) {
	all, err := h.addrs(a.Dev, family.Of(a.Prefix.Addr()))
	if err != nil {
		return nil, err
	}
	var foreign []netlink.Addr
	for _, got := range all {
		p := prefix(got.IPNet)
		if p != a.Prefix && (p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast()) {
			foreign = append(foreign, got)
		}
	}
	return foreign, nil
}

func (h *Handle) addrs(dev layout.Device, f family.Family) ([]netlink.Addr, error) {
	return dump("addresses", func() ([]netlink.Addr, error) { return h.nl.AddrList(deviceLink(dev), afOf(f)) })
}

func (h *Handle) setNeigh(n layout.Neigh) error {
	return h.nl.NeighSet(&netlink.Neigh{
		LinkIndex: n.Dev.Index, Family: afOf(family.Of(n.IP)), State: netlink.NUD_PERMANENT, IP: ip(n.IP), HardwareAddr: n.MAC,
	})
}

func (h *Handle) setRoute(r layout.Route) error { return h.nl.RouteReplace(kernelRoute(r)) }

func kernelRoute(r layout.Route) *netlink.Route {
	k := &netlink.Route{
		Dst: ipNet(r.Dst), Gw: ip(r.Via), LinkIndex: r.Dev.Index, Table: r.Table, Src: ip(r.Src),
		Scope: netlink.SCOPE_UNIVERSE, Protocol: layout.Protocol,
	}
	if !r.Via.IsValid() {
		k.Scope = netlink.SCOPE_LINK
	}
	return k
}

// addRule adds a rule behind those of the same preference. One that differs in its protocol alone is as good as ours,
// and the kernel does not take a second.
func (h *Handle) addRule(r layout.Rule) error {
	if err := h.nl.RuleAdd(kernelRule(r)); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// EnsureRule adds one rule, unless it is there.
func (h *Handle) EnsureRule(r layout.Rule) error {
	return h.Apply(layout.State{Rules: []layout.Rule{r}})
}

func kernelRule(r layout.Rule) *netlink.Rule {
	k := netlink.NewRule()
	k.Priority = r.Pref
	k.Family = afOf(r.Family())
	k.Table = r.Table
	k.Protocol = layout.Protocol
	k.Src, k.Dst, k.OifName = ipNet(r.From), ipNet(r.To), r.Out
	if r.Goto != 0 {
		k.Goto = r.Goto
	}
	if r.Mark != 0 {
		k.Mark = r.Mark
		mask := r.MarkMask()
		k.Mask = &mask
	}
	return k
}

func deviceLink(d layout.Device) netlink.Link {
	return &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: d.Index, Name: d.Name}}
}
