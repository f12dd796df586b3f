package demo

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/test/chain"
)

// state is what containers leave traces in, in the words of ip(8).
type state struct {
	links  []string
	routes map[family.Family]routing
}

// routing is that of one family.
type routing struct {
	rules  []string
	tables map[int][]string // of routes
}

// look reads the state of a node.
func (n *node) look() (state, error) {
	s := state{routes: map[family.Family]routing{}}
	h, err := n.Handle(unix.NETLINK_ROUTE)
	if err != nil {
		return s, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return s, fmt.Errorf("list the links of %s: %w", n.Name, err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		s.links = append(s.links, l.Attrs().Name)
	}
	for _, f := range []stack{ipv4(), ipv6()} {
		if s.routes[f.Family], err = f.routing(h, names); err != nil {
			return s, fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return s, nil
}

// routing reads the family's rules and routes.
func (f stack) routing(h *netlink.Handle, links map[int]string) (routing, error) {
	all := routing{tables: map[int][]string{}}
	rules, err := h.RuleList(f.number)
	if err != nil {
		return all, fmt.Errorf("list the rules of %s: %w", f.Family, err)
	}
	for _, r := range rules {
		all.rules = append(all.rules, ruleWords(r))
	}
	everything := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := h.RouteListFiltered(f.number, everything, netlink.RT_FILTER_TABLE)
	if err != nil {
		return all, fmt.Errorf("list the routes of %s: %w", f.Family, err)
	}
	for _, r := range routes {
		if r.Table != unix.RT_TABLE_LOCAL {
			all.tables[r.Table] = append(all.tables[r.Table], f.routeWords(r, links))
		}
	}
	return all, nil
}

// ruleWords is a rule as `ip rule` shows it.
func ruleWords(r netlink.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: from %s", r.Priority, destination(r.Src, "all"))
	if r.Dst != nil {
		fmt.Fprintf(&b, " to %s", destination(r.Dst, "all"))
	}
	if r.Mark != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
		if r.Mask != nil && *r.Mask != 0xffffffff {
			fmt.Fprintf(&b, "/%#x", *r.Mask)
		}
	}
	fmt.Fprintf(&b, " lookup %s", tableName(r.Table))
	if r.Protocol != unix.RTPROT_KERNEL {
		b.WriteString(protocolWords(int(r.Protocol)))
	}
	return b.String()
}

// routeWords is a route as `ip route show table TABLE` shows it. Of IPv6 the kernel tells a preference too (RFC 4191), which
// nobody here sets.
func (f stack) routeWords(r netlink.Route, links map[int]string) string {
	var b strings.Builder
	b.WriteString(destination(r.Dst, "default"))
	if r.Gw != nil {
		fmt.Fprintf(&b, " via %s", r.Gw)
	}
	fmt.Fprintf(&b, " dev %s%s", links[r.LinkIndex], protocolWords(int(r.Protocol)))
	if r.Scope == netlink.SCOPE_LINK {
		b.WriteString(" scope link")
	}
	if r.Src != nil {
		fmt.Fprintf(&b, " src %s", r.Src)
	}
	if f.number == netlink.FAMILY_V6 {
		fmt.Fprintf(&b, " metric %d pref medium", r.Priority)
	}
	return b.String()
}

// destination words a prefix as ip does.
func destination(n *net.IPNet, all string) string {
	if n == nil {
		return all
	}
	switch ones, bits := n.Mask.Size(); ones {
	case 0:
		return all
	case bits:
		return n.IP.String()
	}
	return n.String()
}

func tableName(table int) string {
	switch table {
	case unix.RT_TABLE_LOCAL:
		return "local"
	case unix.RT_TABLE_MAIN:
		return "main"
	case unix.RT_TABLE_DEFAULT:
		return "default"
	}
	return strconv.Itoa(table)
}

// protocolWords says who made a rule or route; as ip does, it says nothing of the default.
func protocolWords(protocol int) string {
	switch protocol {
	case unix.RTPROT_UNSPEC, unix.RTPROT_BOOT:
		return ""
	case unix.RTPROT_KERNEL:
		return " proto kernel"
	case unix.RTPROT_RA:
		return " proto ra"
	}
	return fmt.Sprintf(" proto %d", protocol)
}

// showKernel shows what the first node's kernel has.
func (d *demo) showKernel(ctx context.Context) error {
	n := d.nodes[0]
	s, err := n.look()
	if err != nil {
		return err
	}
	for _, f := range d.walked() {
		r := s.routes[f.Family]
		d.list(fmt.Sprintf("%s: %s rule", n.Name, f.ip), r.rules)
		d.list(fmt.Sprintf("%s: %s route", n.Name, f.ip), r.tables[unix.RT_TABLE_MAIN])
		for _, table := range slices.Sorted(maps.Keys(r.tables)) {
			if table != unix.RT_TABLE_MAIN {
				d.list(fmt.Sprintf("%s: %s route show table %d", n.Name, f.ip, table), r.tables[table])
			}
		}
	}
	return d.showTranslation(ctx, n)
}

func (d *demo) list(title string, lines []string) {
	d.title("%s", title)
	for _, line := range lines {
		d.printf("%s\n", strings.TrimRight("  "+line, " "))
	}
}

// translation is eni-snat's configuration, behind eni-ptp in the list or within its own; nil where there is none.
func (d *demo) translation() (*netconf.SNAT, error) {
	for _, p := range d.network.Plugins {
		if conf, err := netconf.SNATIn(p.Network.Type, p.Bytes); conf != nil || err != nil {
			return conf, err
		}
	}
	return nil, nil
}

// showTranslation shows eni-snat's tables where the kernel has them, and all of them.
func (d *demo) showTranslation(ctx context.Context, n *node) error {
	conf, err := d.translation()
	if err != nil || conf == nil {
		return err
	}
	conf.Name = d.network.Name
	return n.Do(func() error {
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		for _, f := range d.walked() {
			policy, err := snat.Resolve(ctx, h, conf, []string{n.containers[0].veth}, f.Family)
			if err != nil {
				return err
			}
			if err := d.showPolicy(ctx, h, fmt.Sprintf("%s: nft list table %s %s", n.Name, f.nft, snat.Table), policy); err != nil {
				return err
			}
		}
		return nil
	})
}

// showPolicy shows the table of one family.
func (d *demo) showPolicy(ctx context.Context, h *netstate.Handle, title string, policy snat.Policy) error {
	difference, err := snat.Check(ctx, h, policy)
	if err != nil {
		return err
	}
	if difference != "" {
		d.title("%s", title)
		d.fail("the kernel's differs from what it should be: " + difference)
		return nil
	}
	text := strings.TrimSpace(strings.ReplaceAll(policy.Ruleset().String(), "\t", "  ")) // now known to be the kernel's
	d.list(title, strings.Split(text, "\n"))
	return nil
}

// left lists what is left of the containers on a node. What a node gets once, for its ENIs, stays: it names no container.
func (d *demo) left(ctx context.Context, n *node) ([]string, error) {
	after, err := n.look()
	if err != nil {
		return nil, err
	}
	owners, err := chain.Owners(ctx, n.Node, d.dataDir)
	if err != nil {
		return nil, err
	}
	theirs := map[string]bool{}
	for _, c := range n.containers {
		theirs[c.veth] = true
		for _, ip := range c.ips {
			theirs[ip.String()] = true
		}
	}
	left := owners
	for _, name := range after.links {
		if !slices.Contains(n.before.links, name) {
			left = append(left, "link "+name)
		}
	}
	for _, r := range after.routes {
		for _, line := range slices.Concat(r.rules, slices.Concat(slices.Collect(maps.Values(r.tables))...)) {
			if slices.ContainsFunc(strings.Fields(line), func(word string) bool { return theirs[word] }) {
				left = append(left, line)
			}
		}
	}
	return left, nil
}
