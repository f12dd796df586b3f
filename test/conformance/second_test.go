package conformance

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/lab"
)

// A container has one way out by 169.254.1.1. A second network of ours, or ours beside another's default route, is refused
// before anything is done: it would take the first one's traffic.
func TestASecondWayOutIsRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	first := m.add(t, "c", static())
	before, inside := m.state(t), sh(t, m.Container("c"), "ip -4 addr; ip route; ip neigh")
	second := m.call(ptpPlugin, "ADD", "c", static().with("other", "name"))
	second.Env["CNI_IFNAME"] = "eth1"
	m.fail(t, second, 7, "eth0")
	m.unchanged(t, before)
	if diff := cmp.Diff(inside, sh(t, m.Container("c"), "ip -4 addr; ip route; ip neigh")); diff != "" {
		t.Errorf("the container was changed (-before +after):\n%s", diff)
	}
	m.succeed(t, m.call(ptpPlugin, "CHECK", "c", static().with(json.RawMessage(first), "prevResult")))

	m.netns(t, "d")
	sh(t, m.Container("d"), "ip link add net0 type bridge; ip addr add 192.0.2.5/24 dev net0; ip link set net0 up; ip route add default via 192.0.2.1")
	before = m.state(t)
	m.fail(t, m.call(ptpPlugin, "ADD", "d", static()), 7, "net0")
	m.unchanged(t, before)
}
