package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// A node whose ENI is full makes the next within the ADD: its link shows up later, under any name, and its container is
// reached by it.
func TestANewENICarriesTraffic(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "ens%d"} {
		t.Run("links are called "+name, func(t *testing.T) {
			l := upLab(t, lab.Options{ENIs: 1, InstanceType: "t3.medium", Delay: 300 * time.Millisecond, Hotplug: name})
			n := l.Nodes[0]
			r := onNode(t, n, fmt.Sprintf(whole, `, "batch": 5`, ""))
			first := map[netip.Addr]bool{}
			for _, e := range l.VPC.ENIs(n.InstanceID) {
				first[e.PrimaryIP] = true
			}
			for i := range 6 { // 5 fill the primary ENI
				id := fmt.Sprintf("c%d", i)
				ip := runIn(t, r, id)
				if i < 5 {
					continue
				}
				enis := l.VPC.ENIs(n.InstanceID)
				if len(enis) != 2 {
					t.Fatalf("%d ENIs, want 2", len(enis))
				}
				link := l.Link(enis[1].ID)
				capture := startCapture(t, &n.Host)
				mustPing(t, &l.Nodes[1].Host, ip, probe.From{})
				mustPing(t, n.Container(id), node2Primary, probe.From{})
				seen := devices(t, capture, func(p probe.Packet) bool { return p.Src.Addr() == ip || p.Dst.Addr() == ip })
				if !strings.HasPrefix(seen, link+" pod") {
					t.Errorf("the traffic was on %q, want %s and the container's veth", seen, link)
				}
				mustPing(t, n.Container(id), internet, probe.From{})
				if err := r.Check(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What nobody uses goes back: the ENI is detached and deleted, its link goes, and the node lives on.
func TestAnIdleENIGoesBack(t *testing.T) {
	t.Parallel()
	l := upLab(t, lab.Options{ENIs: 1, InstanceType: "t3.medium"})
	n := l.Nodes[0]
	r := onNode(t, n, fmt.Sprintf(whole, `, "batch": 5, "cooldown": "0s", "eniIdle": "0s", "warm": {"max": 1}`, ""))
	for i := range 6 {
		if _, err := r.Run(t.Context(), fmt.Sprintf("c%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 6 {
		if err := r.Remove(t.Context(), fmt.Sprintf("c%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for n := l.Nodes[0]; ; time.Sleep(50 * time.Millisecond) {
		// Somebody comes and goes: that is when the pool is looked at.
		if _, err := r.Run(t.Context(), "late"); err != nil {
			t.Fatal(err)
		}
		mustPing(t, n.Container("late"), node2Primary, probe.From{})
		if err := r.Remove(t.Context(), "late"); err != nil {
			t.Fatal(err)
		}
		enis := l.VPC.ENIs(n.InstanceID)
		if len(enis) == 1 && len(enis[0].Secondary) <= 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %+v", enis)
		}
	}
}
