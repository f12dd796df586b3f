package netstate

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/nlsock"
)

// RemoveRules removes all of our rules with the preference and the selector of each of the rules, whatever table they
// point to: an earlier owner's too. Rules of another protocol stay. It says how many went.
func (h *Handle) RemoveRules(rules ...layout.Rule) (int, error) {
	for _, r := range rules {
		if !r.From.IsValid() && !r.To.IsValid() && r.Mark == 0 && r.Out == "" {
			return 0, fmt.Errorf("remove rule %d: it selects no packets, so that all of ours there would go", r.Pref)
		}
	}
	n := 0
	for len(rules) > 0 {
		requests := make([]nlsock.Request, len(rules))
		for i, r := range rules {
			r.Table = 0 // any
			requests[i] = deleteRule(r)
		}
		answers, err := h.nl.Exchange(requests...)
		if err != nil {
			return n, fmt.Errorf("remove rules: %w", err)
		}
		var more []layout.Rule // of which one went, so that there may be another
		for i, r := range rules {
			switch err := answers[i].Err; {
			case err == nil:
				n++
				more = append(more, r)
			case !gone(err):
				return n, fmt.Errorf("remove rule %d of %s: %w", r.Pref, selector(r), err)
			}
		}
		rules = more
	}
	return n, nil
}

// RemoveStaleRules removes our rules that have the preference and the selector of one of the rules but another table.
// It dumps all rules, where RemoveRules does not, but never leaves a moment without the right one.
func (h *Handle) RemoveStaleRules(rules ...layout.Rule) error {
	all, err := h.Rules()
	if err != nil {
		return err
	}
	for _, want := range rules {
		for _, got := range all {
			if !got.Ours || !sameSelector(got.Rule, want) || got.Table == want.Table {
				continue
			}
			if err := h.change(deleteRule(got.Rule)); err != nil && !gone(err) {
				return fmt.Errorf("remove stale rule %s: %w", got.Rule, err)
			}
		}
	}
	return nil
}

// RemoveOwn takes away what is a container's own on the host in a layout: its rules, whatever table they point to, and its
// routes, which where its veth is none are those by any device.
func (h *Handle) RemoveOwn(c layout.Attachment) error {
	own := layout.OwnOnHost(c)
	if _, err := h.RemoveRules(own.Rules...); err != nil {
		return err
	}
	for _, r := range own.Routes {
		if err := h.removeRoute(r); err != nil {
			return fmt.Errorf("remove route %s: %w", r, err)
		}
	}
	return nil
}

// FindOwn names the first route or rule that is a container's own on the host in a layout, whatever table the rule points to;
// "" says that there is none.
func (h *Handle) FindOwn(c layout.Attachment) (string, error) {
	own := layout.OwnOnHost(c)
	for _, r := range own.Routes {
		r.Src = netip.Addr{}
		if d, err := h.diffAbsent(r); d != "" || err != nil {
			return d, err
		}
	}
	if len(own.Rules) == 0 {
		return "", nil
	}
	all, err := h.Rules()
	if err != nil {
		return "", err
	}
	for _, want := range own.Rules {
		for _, got := range all {
			if got.Ours && got.Plain && sameSelector(got.Rule, want) {
				return fmt.Sprintf("rule %q is there and must not be", got.Rule), nil
			}
		}
	}
	return "", nil
}

// ForAddress returns the rules that a container's address may have, with no table.
func ForAddress(ip netip.Addr) []layout.Rule { return layout.AddressRules(layout.Address{IP: ip}) }

// removeRoute removes the routes of the table, to the destination, by the device, whoever added them.
func (h *Handle) removeRoute(r layout.Route) error {
	routes, err := h.routes(r.Table, r.Dev, family.Of(r.Dst.Addr()))
	if err != nil {
		return err
	}
	for _, got := range routes {
		if got.Dst != r.Dst {
			continue
		}
		if err := h.change(deleteRoute(got)); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// anyTable is a table of routes.
const anyTable = 0

// routes returns a table's routes by a device, or by all where the device is none. The kernel leaves out others' itself, but before
// Linux 4.20.
func (h *Handle) routes(table int, dev layout.Device, f family.Family) ([]route, error) {
	all, err := list(h, "routes", routesBy(afOf(f), table, dev.Index), func(body []byte) (route, bool, error) {
		r, err := decodeRoute(body)
		wanted := r.family == afOf(f) && (table == anyTable || r.Table == table) && (dev.Index == 0 || r.Dev.Index == dev.Index)
		return r, wanted && !r.cloned, err
	})
	if errors.Is(err, unix.ENOENT) { // there was never a route in the table
		return nil, nil
	}
	return all, err
}

// selector returns the part of a rule that says which packets it is for.
func selector(r layout.Rule) string {
	switch {
	case r.To.IsValid():
		return "to " + r.To.String()
	case r.Out != "":
		return "oif " + r.Out
	case r.Mark != 0:
		return fmt.Sprintf("fwmark %#x/%#x", r.Mark, r.MarkMask())
	}
	return "from " + r.From.String()
}
