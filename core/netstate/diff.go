package netstate

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
)

// Diff compares the kernel with the state and names the first difference in the words of ip(8); "" says that there is
// none. What the state does not speak of may be there, and a route or rule of another protocol will do.
func (h *Handle) Diff(s layout.State) (string, error) {
	steps := []func() (string, error){
		func() (string, error) { return first(s.Links, h.diffLink) },
		func() (string, error) { return first(s.Addrs, h.diffAddr) },
		func() (string, error) { return first(s.Sysctls, h.diffSysctl) },
		func() (string, error) { return first(s.Neighs, h.diffNeigh) },
		func() (string, error) { return first(s.Routes, h.diffRoute) },
		func() (string, error) { return first(s.Absent, h.diffAbsent) },
		func() (string, error) { return h.diffRules(s.Rules) },
	}
	for _, step := range steps {
		if d, err := step(); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

func first[T any](values []T, diff func(T) (string, error)) (string, error) {
	for _, v := range values {
		if d, err := diff(v); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

func (h *Handle) diffLink(l layout.Link) (string, error) {
	got, err := h.LinkByIndex(l.Index)
	switch {
	case errors.Is(err, ErrNoLink):
		return fmt.Sprintf("link %s is missing", l.Name), nil
	case err != nil:
		return "", err
	case !got.Up:
		return fmt.Sprintf("link %s is down", l.Name), nil
	case l.MTU != 0 && got.MTU != l.MTU:
		return fmt.Sprintf("link %s has mtu %d, not %d", l.Name, got.MTU, l.MTU), nil
	}
	return "", nil
}

func (h *Handle) diffAddr(a layout.Addr) (string, error) {
	all, err := h.addrs(a.Dev.Index, afOf(family.Of(a.Prefix.Addr())))
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(all, func(got address) bool { return got.Prefix == a.Prefix }) {
		return fmt.Sprintf("address %s is missing on %s", a.Prefix, a.Dev.Name), nil
	}
	if !a.Sole {
		return "", nil
	}
	foreign, err := h.foreignAddrs(a)
	if err != nil || len(foreign) == 0 {
		return "", err
	}
	return fmt.Sprintf("address %s is on %s, which may have %s alone", foreign[0].Prefix, a.Dev.Name, a.Prefix), nil
}

func (h *Handle) diffNeigh(n layout.Neigh) (string, error) {
	all, err := h.neighs(n.Dev.Index, afOf(family.Of(n.IP)))
	if err != nil {
		return "", err
	}
	for _, got := range all {
		if got.IP == n.IP && got.permanent {
			if !bytes.Equal(got.MAC, n.MAC) {
				return fmt.Sprintf("neighbour %s dev %s has lladdr %s, not %s", n.IP, n.Dev.Name, got.MAC, n.MAC), nil
			}
			return "", nil
		}
	}
	return fmt.Sprintf("neighbour %q is missing", n), nil
}

// neighs returns a device's neighbours of a family.
func (h *Handle) neighs(index, af int) ([]neighbour, error) {
	return list(h, "neighbours", neighsOf(af, index), func(body []byte) (neighbour, bool, error) {
		n, err := decodeNeigh(body)
		return n, err == nil && int(body[0]) == af && n.Dev.Index == index, err
	})
}

// diffRoute looks for the route in its table. One wanted without a source address may have any.
func (h *Handle) diffRoute(want layout.Route) (string, error) {
	routes, err := h.routes(want.Table, want.Dev, family.Of(want.Dst.Addr()))
	if err != nil {
		return "", err
	}
	for _, got := range routes {
		if got.Dst != want.Dst || got.Via != want.Via {
			continue
		}
		if want.Src.IsValid() && got.Src != want.Src {
			return fmt.Sprintf("route %q has src %s, not %s", want, describe(got.Src), want.Src), nil
		}
		return "", nil
	}
	return fmt.Sprintf("route %q is missing", want), nil
}

func (h *Handle) diffAbsent(unwanted layout.Route) (string, error) {
	routes, err := h.routes(unwanted.Table, unwanted.Dev, family.Of(unwanted.Dst.Addr()))
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(routes, func(got route) bool { return got.Dst == unwanted.Dst }) {
		return fmt.Sprintf("route %q is there and must not be", unwanted), nil
	}
	return "", nil
}

// diffRules wants each rule to be there, and to be the first of its preference and selector: the kernel tries them in
// the order of their addition, so that a stale one before it wins.
func (h *Handle) diffRules(wanted []layout.Rule) (string, error) {
	if len(wanted) == 0 {
		return "", nil
	}
	all, err := h.Rules()
	if err != nil {
		return "", err
	}
	for _, want := range wanted {
		i := slices.IndexFunc(all, func(got Rule) bool { return got.Plain && sameSelector(got.Rule, want) })
		if i < 0 {
			return fmt.Sprintf("%s %q is missing", kindOf(want), want), nil
		}
		if all[i].Table != want.Table || all[i].Goto != want.Goto {
			return fmt.Sprintf("%s %q stands where %q belongs", kindOf(want), all[i].Rule, want), nil
		}
	}
	return "", nil
}

// kindOf tells the family of a rule whose words are the same in both.
func kindOf(r layout.Rule) string {
	if r.IPv6 {
		return "IPv6 rule"
	}
	return "rule"
}

// DiffLookup asks the kernel the question and names the difference of the answer, as Diff does.
func (h *Handle) DiffLookup(l layout.Lookup) (string, error) {
	got, found, err := h.lookup(l, true)
	if err != nil {
		return "", err
	}
	if !found {
		return fmt.Sprintf("%q finds no route, not %q", l, l.Want), nil
	}
	want := l.Want
	if got.Dst == want.Dst && got.Via == want.Via && got.Dev.Index == want.Dev.Index &&
		(want.Table == 0 || got.Table == want.Table) {
		return "", nil
	}
	if name, err := h.LinkByIndex(got.Dev.Index); err == nil {
		got.Dev.Name = name.Name
	}
	return fmt.Sprintf("%q finds %q, not %q", l, got, want), nil
}

// DiffSource compares the source address of the host's own packets to an address.
func (h *Handle) DiffSource(to, want netip.Addr) (string, error) {
	got, err := h.SourceTo(to)
	if err != nil || got == want {
		return "", err
	}
	return fmt.Sprintf("packets to %s get the source address %s, not %s", to, describe(got), want), nil
}

func describe(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}
