package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// The conflists that we ship for clouds work as they are.
func TestShippedConflists(t *testing.T) {
	t.Parallel()
	if err := bin.AddOutside("github.com/containernetworking/plugins/plugins/meta/portmap"); err != nil {
		t.Fatal(err)
	}
	onClouds(t, shippedConflists)
}

func shippedConflists(t *testing.T, cloud string) {
	shipped, err := filepath.Glob("../../conflist/*-" + cloud + "*.conflist")
	if err != nil || len(shipped) < 1 {
		t.Fatalf("shipped: %v, %v", shipped, err)
	}
	for _, path := range shipped {
		t.Run(filepath.Base(path), func(t *testing.T) {
			conflist, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			six := strings.Contains(path, "dual")
			l := upLab(t, lab.Options{Cloud: cloud, IPv6: six})
			r := onNode(t, l.Nodes[0], string(conflist))
			result := start(t, r, "c", chain.WithCapability("portMappings", []map[string]any{
				{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"},
			}))
			mustPing(t, l.Nodes[0].Container("c"), node2Primary, probe.From{})
			mustPing(t, l.Nodes[0].Container("c"), internet, probe.From{})
			if six {
				mustPing(t, l.Internet, chain.IPs(result)[1], probe.From{})
			}
			if err := r.Check(t.Context(), "c"); err != nil {
				t.Error(err)
			}
			if err := r.Status(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A node without a cloud: the shipped conflist, with the lab's addresses in it.
func TestStaticPool(t *testing.T) {
	t.Parallel()
	shipped, err := os.ReadFile("../../conflist/10-enichain-static.conflist")
	if err != nil {
		t.Fatal(err)
	}
	l := upLab(t, lab.Options{})
	n := l.Nodes[0]
	assigned := append(assign(t, l, n, 0, 2), assign(t, l, n, 1, 2)...)
	enis := l.VPC.ENIs(n.InstanceID)
	r := onNode(t, n, replaced(t, string(shipped),
		"10.0.0.0/16", "10.19.0.0/16", "10.0.0.0/24", "10.19.0.0/20", "10.0.0.10", "10.19.0.22", "10.0.0.16-10.0.0.31",
		fmt.Sprintf("%s-%s", assigned[0], assigned[0]), "10.0.0.1", "10.19.0.1", "10.0.1.0/24", "10.19.16.0/20",
		"10.0.1.10", "10.19.16.17", "10.0.1.16-10.0.1.31", assigned[2].String(), "10.0.1.40", assigned[3].String(),
		"10.0.1.1", "10.19.16.1", "02:00:00:00:01:0a", enis[1].MAC.String()))
	calls := l.VPC.Calls("AssignPrivateIpAddresses")
	for i, want := range []netip.Addr{assigned[0], assigned[2], assigned[3]} {
		id := fmt.Sprintf("c%d", i)
		if got := runIn(t, r, id); got != want {
			t.Errorf("container %d has %s, want %s", i, got, want)
		}
		mustPing(t, n.Container(id), node2Primary, probe.From{})
		mustPing(t, n.Container(id), internet, probe.From{})
		if err := r.Check(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	_, err = r.Run(t.Context(), "one-too-many")
	if err == nil || !strings.Contains(err.Error(), "eth0 is full with 1") {
		t.Errorf("on an empty pool: %v", err)
	}
	if got := l.VPC.Calls("AssignPrivateIpAddresses"); got != calls {
		t.Errorf("a static pool asked the cloud for addresses: %d calls", got-calls)
	}
}

// replaced replaces each of the old texts, which must be there, by the new one behind it. Longer ones come first.
func replaced(t *testing.T, s string, oldNew ...string) string {
	t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(s, oldNew[i]) {
			t.Fatalf("%q is not in the conflist", oldNew[i])
		}
	}
	return strings.NewReplacer(oldNew...).Replace(s)
}
