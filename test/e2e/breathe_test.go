package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// A node whose ENI is full makes the next within the ADD: its link shows up later, under any name, and its container is
// reached by it.
func TestANewENICarriesTraffic(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for _, name := range []string{"", "ens%d"} {
			t.Run("links are called "+name, func(t *testing.T) { aNewENICarriesTraffic(t, c, name) })
		}
	})
}

func aNewENICarriesTraffic(t *testing.T, c clouds.Cloud, hotplug string) {
	l := upLab(t, lab.Options{Cloud: c.Name, ENIs: 1, InstanceType: c.Small.Type, Delay: 300 * time.Millisecond, Hotplug: hotplug})
	n := l.Nodes[0]
	r := onNode(t, n, on(c.Name, fmt.Sprintf(whole, fmt.Sprintf(`, "batch": %d`, c.Small.Each), "")))
	for i := range c.Small.Each { // these fill the primary ENI
		runIn(t, r, fmt.Sprintf("c%d", i))
	}
	ip := runIn(t, r, "next")
	enis := l.VPC.ENIs(n.InstanceID)
	if len(enis) != 2 {
		t.Fatalf("%d ENIs, want 2", len(enis))
	}
	capture := startCapture(t, &n.Host)
	mustPing(t, &l.Nodes[1].Host, ip, probe.From{})
	mustPing(t, n.Container("next"), node2Primary, probe.From{})
	seen := devices(t, capture, func(p probe.Packet) bool { return p.Src.Addr() == ip || p.Dst.Addr() == ip })
	if link := l.Link(enis[1].ID); !strings.HasPrefix(seen, link+" pod") {
		t.Errorf("the traffic was on %q, want %s and the container's veth", seen, link)
	}
	mustPing(t, n.Container("next"), internet, probe.From{})
	if err := r.Check(t.Context(), "next"); err != nil {
		t.Error(err)
	}
}

// What nobody uses goes back: the ENI is detached and deleted, its link goes, and the node lives on.
func TestAnIdleENIGoesBack(t *testing.T) {
	t.Parallel()
	clouds.Each(t, anIdleENIGoesBack)
}

func anIdleENIGoesBack(t *testing.T, c clouds.Cloud) {
	l := upLab(t, lab.Options{Cloud: c.Name, ENIs: 1, InstanceType: c.Small.Type})
	n := l.Nodes[0]
	breathing := fmt.Sprintf(`, "batch": %d, "cooldown": "0s", "eniIdle": "0s", "warm": {"max": 1}`, c.Small.Each)
	r := onNode(t, n, on(c.Name, fmt.Sprintf(whole, breathing, "")))
	for i := range c.Small.Each + 1 {
		if _, err := r.Run(t.Context(), fmt.Sprintf("c%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	link := l.Link(l.VPC.ENIs(n.InstanceID)[1].ID)
	for i := range c.Small.Each + 1 {
		if err := r.Remove(t.Context(), fmt.Sprintf("c%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	// Somebody comes and goes: that is when the pool is looked at, behind their back.
	for visits := 0; !goneBack(l, n, link); visits++ {
		if visits == 20 {
			t.Fatalf("still there, with %q or without: %+v", link, l.VPC.ENIs(n.InstanceID))
		}
		if _, err := r.Run(t.Context(), "late"); err != nil {
			t.Fatal(err)
		}
		mustPing(t, n.Container("late"), node2Primary, probe.From{})
		if err := r.Remove(t.Context(), "late"); err != nil {
			t.Fatal(err)
		}
	}
}

// goneBack waits a while for the node to have its primary ENI alone, with no more addresses than it may keep free, and not the
// link, which goes after the API has said that its ENI did.
func goneBack(l *lab.Lab, n *lab.Node, link string) bool {
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		enis := l.VPC.ENIs(n.InstanceID)
		gone := netlink.LinkNotFoundError{}
		err := n.Do(func() error { _, err := netlink.LinkByName(link); return err })
		if len(enis) == 1 && len(enis[0].Secondary) <= 2 && errors.As(err, &gone) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
