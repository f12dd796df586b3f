package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// Containers with addresses of a prefix are reached by their ENI, and reach the other node's, the internet and each other:
// the first and the last address too.
func TestAddressesOfAPrefixCarryTraffic(t *testing.T) {
	t.Parallel()
	l := upLab(t, lab.Options{ENIs: 2})
	near, far := l.Nodes[0], l.Nodes[1]
	conflist := fmt.Sprintf(whole, `, "prefixes": true, "firstDeviceIndex": 1`, "")
	r := onNode(t, near, conflist)
	first := runIn(t, r, "c0")
	held := l.VPC.ENIs(near.InstanceID)[1]
	if len(held.Prefixes) != 1 || len(held.Secondary) != 0 || !held.Prefixes[0].Contains(first) {
		t.Fatalf("%s is of %+v, want one of a prefix", first, held)
	}
	last := held.Prefixes[0].Addr()
	for range 15 {
		last = last.Next()
	}
	runIn(t, r, "last", chain.WithIP(last))
	there := runIn(t, onNode(t, far, conflist), "there")
	for id, ip := range map[string]netip.Addr{"c0": first, "last": last} {
		c := near.Container(id)
		capture := startCapture(t, &near.Host)
		mustPing(t, &far.Host, ip, probe.From{})
		mustPing(t, far.Container("there"), ip, probe.From{})
		mustPing(t, c, there, probe.From{})
		mustPing(t, c, node2Primary, probe.From{})
		seen := devices(t, capture, func(p probe.Packet) bool { return p.Src.Addr() == ip || p.Dst.Addr() == ip })
		if !strings.HasPrefix(seen, "eth1 pod") || strings.Contains(seen, "eth0") {
			t.Errorf("the traffic of %s was on %q, want eth1 and the container's veth", ip, seen)
		}
		mustPing(t, c, internet, probe.From{})
		if err := r.Check(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	mustPing(t, near.Container("c0"), last, probe.From{})
}
