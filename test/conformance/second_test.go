package conformance

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/lab"
)

// A second network never takes the first one's way out: it stands beside it, or is refused before anything is done where
// it insists.
func TestASecondWayOut(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	first := m.add(t, "c", static())
	before, inside := m.state(t), steady(sh(t, m.Container("c"), "ip -4 addr; ip route; ip neigh; ip rule"))
	second := func(verb string, c conf) []byte {
		call := m.call(ptpPlugin, verb, "c", c)
		call.Env["CNI_IFNAME"] = "eth1"
		if c["defaultRoute"] == true {
			m.fail(t, call, 7, "eth0")
			return nil
		}
		return m.succeed(t, call)
	}
	other := static().with("other", "name")
	second("ADD", other.with(true, "defaultRoute"))
	m.unchanged(t, before)
	unchanged := func() {
		t.Helper()
		if diff := cmp.Diff(inside, steady(sh(t, m.Container("c"), "ip -4 addr; ip route; ip neigh; ip rule"))); diff != "" {
			t.Errorf("the container was changed (-before +after):\n%s", diff)
		}
		m.succeed(t, m.call(ptpPlugin, "CHECK", "c", static().with(json.RawMessage(first), "prevResult")))
	}
	unchanged()
	added := second("ADD", other)
	second("CHECK", other.with(json.RawMessage(added), "prevResult"))
	second("DEL", other)
	m.unchanged(t, before)
	unchanged()
}

// A container that another plugin gave a default route keeps it.
func TestBesideAForeignDefaultRoute(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	m.netns(t, "d")
	sh(t, m.Container("d"), "ip link add net0 type bridge; ip addr add 192.0.2.5/24 dev net0; ip link set net0 up; ip route add default via 192.0.2.1")
	before := m.state(t)
	m.fail(t, m.call(ptpPlugin, "ADD", "d", static().with(true, "defaultRoute")), 7, "net0")
	m.unchanged(t, before)
	m.add(t, "d", static())
	if got := sh(t, m.Container("d"), "ip route show default"); got != "default via 192.0.2.1 dev net0 \n" && got != "default via 192.0.2.1 dev net0 linkdown \n" {
		t.Errorf("the default route is %q", got)
	}
	m.del(t, "d", static())
	m.unchanged(t, before)
}
