package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

const labConflist = `{"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "name": "enichain", "plugins": [
	{"type": "eni-ptp"%s, "ipam": {"type": "eni-ipam", "cloud": "%s", "manage": "all", "firstDeviceIndex": 1}, "snat": {}}]}`

// labNode is a node of the lab with a container on its second ENI.
type labNode struct {
	*lab.Node
	t         *testing.T
	lab       *lab.Lab
	cloud     string
	container netip.Addr
	other     netip.Addr // another node
}

func newLabNode(t *testing.T, cloud string) *labNode { return newLabNodeOf(t, cloud, layouts()[0]) }

// newLabNodeOf is newLabNode with more in eni-ptp's section, from a comma on.
func newLabNodeOf(t *testing.T, cloud, ptp string) *labNode {
	t.Helper()
	l, err := lab.Up(t.Context(), lab.Options{Name: strings.ReplaceAll(t.Name(), " ", "_"), Cloud: cloud})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	n := &labNode{Node: l.Nodes[0], t: t, lab: l, cloud: cloud, other: l.VPC.ENIs(l.Nodes[1].InstanceID)[0].PrimaryIP}
	r, err := chain.NewRuntime(n.Node, bin, fmt.Appendf(nil, labConflist, ptp, cloud))
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.Run(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Remove(ctx, "c1"); err != nil {
			t.Error(err)
		}
	})
	n.container = chain.IP(result)
	has(t, n.ctl(0, "doctor"), "ok    sysctl net/ipv4/conf/eth1/rp_filter=2", "(eth2) is prepared when a container needs it")
	has(t, n.ctl(0, "repair"), "link eth2 is down") // no container has needed the third ENI yet
	return n
}

// ctl runs enictl in the node; it must end with the status.
func (n *labNode) ctl(status int, args ...string) string {
	n.t.Helper()
	out, err := n.Output(n.t.Context(), n.Env(), "/opt/cni/bin/enictl", args...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if got != status || err != nil && exit == nil {
		n.t.Fatalf("enictl %v: status %d, not %d: %v\n%s", args, got, status, err, out)
	}
	return string(out)
}

// reaches says whether the container reaches another node.
func (n *labNode) reaches() bool {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*time.Second)
	defer cancel()
	err := n.Container("c1").Do(func() error {
		_, err := probe.Ping(ctx, n.other, probe.From{})
		return err
	})
	return err == nil
}

// rules lists the node's rules of ours.
func (n *labNode) rules() []string {
	n.t.Helper()
	var all []string
	n.within(func() error {
		rules, err := netlink.RuleList(netlink.FAMILY_V4)
		for _, r := range rules {
			if r.Protocol == layout.Protocol {
				all = append(all, r.String())
			}
		}
		return err
	})
	slices.Sort(all)
	return all
}

func (n *labNode) within(f func() error) {
	n.t.Helper()
	if err := n.Do(f); err != nil {
		n.t.Fatal(err)
	}
}

// flush does what systemd-networkd does with rules that it did not make, and with tables.
func (n *labNode) flush() {
	n.t.Helper()
	n.within(func() error {
		rules, err := netlink.RuleList(netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if r.Protocol == layout.Protocol {
				if err := netlink.RuleDel(&r); err != nil {
					return err
				}
			}
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: layout.Protocol}, netlink.RT_FILTER_PROTOCOL)
		for _, r := range routes {
			err = errors.Join(err, netlink.RouteDel(&r))
		}
		return err
	})
}

func TestRepair(t *testing.T) { clouds.Each(t, repairIn) }

func repairIn(t *testing.T, c clouds.Cloud) { repairOf(t, c.Name, layouts()[0]) }

func TestRepairPerENI(t *testing.T) {
	for _, ptp := range layouts()[1:] {
		t.Run(ptp[strings.LastIndex(ptp, ":")+3:len(ptp)-1], func(t *testing.T) {
			t.Parallel()
			repairOf(t, clouds.All()[0].Name, ptp)
		})
	}
}

func repairOf(t *testing.T, cloud, ptp string) {
	t.Helper()
	n := newLabNodeOf(t, cloud, ptp)
	if !n.reaches() {
		t.Fatal("the container reaches nobody to begin with")
	}
	has(t, n.ctl(0, "repair"), "the kernel is as the store says\n")
	before, snapshot := n.rules(), n.snapshot()
	n.flush()
	if len(n.rules()) > 0 || n.reaches() {
		t.Fatal("the damage is none")
	}
	has(t, n.ctl(1, "repair", "-dry-run"), "would repair "+n.container.String(), "is missing", "things differ")
	if len(n.rules()) > 0 {
		t.Fatal("a dry run repaired something")
	}
	has(t, n.ctl(0, "repair"), "repaired "+n.container.String(), "repaired eni-", "repaired SNAT", "put right")
	if diff := cmp.Diff(before, n.rules()); diff != "" {
		t.Errorf("unexpected rules (-before +repaired):\n%s", diff)
	}
	if diff := cmp.Diff(snapshot, n.snapshot()); diff != "" {
		t.Errorf("unexpected state (-before +repaired):\n%s", diff)
	}
	if !n.reaches() {
		t.Error("the container reaches nobody after the repair")
	}
	has(t, n.ctl(0, "repair"), "the kernel is as the store says\n")
}

// snapshot is all of the node, but for the number of a rule's place.
func (n *labNode) snapshot() []string {
	n.t.Helper()
	all, err := chain.Snapshot(n.t.Context(), n.Node, "/run/enichain")
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// Rules that serve nobody go; those of others, and those of containers whose addresses another IPAM has, stay.
func TestReconcileRemovesLeftovers(t *testing.T) { clouds.Each(t, reconcileRemovesLeftoversIn) }

func reconcileRemovesLeftoversIn(t *testing.T, c clouds.Cloud) {
	n := newLabNode(t, c.Name)
	has(t, n.ctl(0, "reconcile"), "the kernel is as the store says\n")
	before := n.rules()
	rule := func(pref int, to string, table, protocol int) *netlink.Rule {
		r := netlink.NewRule()
		r.Priority, r.Table, r.Protocol = pref, table, uint8(protocol)
		p := netip.MustParsePrefix(to)
		r.Dst = netlink.NewIPNet(p.Addr().AsSlice())
		return r
	}
	foreign := rule(512, "10.19.99.1/32", layout.TableMain, 4)
	other := rule(512, "192.168.7.7/32", layout.TableMain, layout.Protocol)
	stale := rule(512, "10.19.99.2/32", layout.TableMain, layout.Protocol)
	from := netlink.NewRule()
	from.Priority, from.Table, from.Protocol, from.Src = 1536, 9, layout.Protocol, stale.Dst
	n.within(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(
			netlink.RuleAdd(foreign), netlink.RuleAdd(other), netlink.RuleAdd(stale), netlink.RuleAdd(from),
			netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: other.Dst, Scope: netlink.SCOPE_LINK}),
		)
	})
	has(t, n.ctl(1, "reconcile", "-dry-run"), `would remove the rule "512: from all to 10.19.99.2 lookup main"`,
		`would remove the rule "1536: from 10.19.99.2 lookup 9"`, "2 things differ")
	has(t, n.ctl(0, "reconcile"), `removed the rule "512: from all to 10.19.99.2 lookup main"`, "2 things were put right")
	want := append([]string{other.String()}, before...)
	if got := n.rules(); len(got) != len(want) {
		t.Errorf("rules: %v, want %v", got, want)
	}
	n.within(func() error { return errors.Join(netlink.RuleDel(foreign), netlink.RuleDel(other)) })
	if diff := cmp.Diff(before, n.rules()); diff != "" {
		t.Errorf("unexpected rules (-before +reconciled):\n%s", diff)
	}
	if !n.reaches() {
		t.Error("the container reaches nobody after reconcile")
	}
}

// A container that the store knows and that is gone from the host is named.
func TestRepairNamesWhoHasNoLink(t *testing.T) { clouds.Each(t, repairNamesWhoHasNoLinkIn) }

func repairNamesWhoHasNoLinkIn(t *testing.T, c clouds.Cloud) {
	n := newLabNode(t, c.Name)
	n.within(func() error {
		link, err := netlink.LinkByName(layout.Identify("pod", "c1", "eth0").Veth)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	has(t, n.ctl(1, "repair"), n.container.String()+" has no link on this host: eth0 of c1 in enichain was not attached")
	n.within(func() error {
		return store.At("/run/enichain").View(t.Context(), func(tx *store.Tx) error {
			a, known, err := tx.Address(n.container)
			if !known || a.State != store.Assigned {
				t.Errorf("the store has %+v", a)
			}
			return err
		})
	})
}
