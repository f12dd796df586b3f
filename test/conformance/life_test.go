package conformance

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// notNamespaces are paths that lead to no network namespace of a container.
func notNamespaces(t *testing.T, m *machine) map[string]string {
	t.Helper()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"missing": "/run/netns/no-such", "below a file": file + "/netns", "a plain file": file, "a folder": "/run/netns",
		"another namespace": "/proc/self/ns/mnt", "a process that is gone": "/proc/4194305/ns/net", "a device": "/dev/null",
		"the host's own": "/proc/self/ns/net", "the host's own by another path": m.NetnsPath(),
	}
}

// ADD refuses what is not a container's namespace before anything is done: no address is lost, and the host keeps its network.
func TestAddWithoutANamespace(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	before := m.state(t)
	for name, path := range notNamespaces(t, m) {
		t.Run(name, func(t *testing.T) {
			c := m.call(ptpPlugin, "ADD", "c", static())
			c.Env["CNI_NETNS"] = path
			m.fail(t, c, 8, path)
			m.unchanged(t, before)
		})
	}
	c := m.call(ptpPlugin, "ADD", "c", static())
	c.Env["CNI_NETNS"] = ""
	m.fail(t, c, 4, "CNI_NETNS")
	m.unchanged(t, before)
}

// The host's own namespace is refused by each plugin alone too: skel looks only after the plugin has done its work.
func TestAddInTheHostsNamespace(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	m.netns(t, "c")
	printed := m.add(t, "c", static())
	before := m.state(t)
	for plugin, network := range map[string]conf{
		ipamPlugin: static(), ptpPlugin: static(), snatPlugin: static().snat().with(json.RawMessage(printed), "prevResult"),
	} {
		c := m.call(plugin, "ADD", "d", network)
		c.Env["CNI_NETNS"] = "/proc/self/ns/net"
		m.fail(t, c, 8)
		m.unchanged(t, before)
	}
}

// DEL does without a namespace, whatever its path leads to by now.
func TestDelWithoutANamespace(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	before := m.state(t)
	paths := notNamespaces(t, m)
	paths["none"] = ""
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			m.netns(t, "c")
			m.add(t, "c", static())
			if err := m.DelNetns("c"); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				for _, plugin := range []string{snatPlugin, ptpPlugin, ipamPlugin} {
					c := m.call(plugin, "DEL", "c", static())
					c.Env["CNI_NETNS"] = path
					m.succeed(t, c)
				}
				m.unchanged(t, before)
			}
		})
	}
}

func TestAddTwice(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	for _, v := range versions() {
		network := static().with(v, "cniVersion")
		m.netns(t, "c"+v)
		first := m.add(t, "c"+v, network)
		before := m.state(t)
		if second := m.add(t, "c"+v, network); cmp.Diff(first, second) != "" {
			t.Errorf("%s: the second ADD answered otherwise:\n%s\n%s", v, first, second)
		}
		m.unchanged(t, before)
		m.del(t, "c"+v, network)
	}
}

// An interface of that name which is not ours stays as it is, and no address is lost.
func TestAddWhereTheInterfaceIsAnothers(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	m.netns(t, "c")
	// Without duplicate address detection, which changes eth0 a second later.
	sh(t, m.Container("c"), "ip link add eth0 type bridge; echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad;"+
		"ip addr add 192.0.2.5/24 dev eth0; ip link set eth0 up")
	before, inside := m.state(t), sh(t, m.Container("c"), "ip addr; ip route; ip neigh")
	m.fail(t, m.call(ptpPlugin, "ADD", "c", static()), 4, "eth0")
	m.unchanged(t, before)
	if diff := cmp.Diff(inside, sh(t, m.Container("c"), "ip addr; ip route; ip neigh")); diff != "" {
		t.Errorf("the container was changed (-before +after):\n%s", diff)
	}
	m.del(t, "c", static()) // a runtime's clean-up
	if diff := cmp.Diff(inside, sh(t, m.Container("c"), "ip addr; ip route; ip neigh")); diff != "" {
		t.Errorf("DEL changed the container (-before +after):\n%s", diff)
	}
}

// DEL of what never was makes no store, and none of the folders that would hold one.
func TestDelBeforeAdd(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	before := m.state(t)
	for _, v := range versions() {
		network := static().with(v, "cniVersion")
		for _, plugin := range plugins() {
			m.succeed(t, m.call(plugin, "DEL", "c", network))
			if v == "1.1.0" {
				m.succeed(t, m.call(plugin, "GC", "c", network.with([]conf{}, "cni.dev/valid-attachments")))
				m.succeed(t, m.call(plugin, "STATUS", "c", network))
			}
		}
	}
	m.unchanged(t, before)
	sh(t, &m.Host, "test ! -e "+dataDir)
}

// A late DEL of A harms nothing of B, which has A's address by now.
func TestLateDel(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	network := static().with([]string{"10.19.16.101"}, "runtimeConfig", "ips")
	m.netns(t, "a")
	result := m.add(t, "a", network)
	m.del(t, "a", network)
	m.netns(t, "b")
	ip := address(t, m.add(t, "b", network))
	before := m.state(t)
	for name, c := range map[string]conf{
		"with the prevResult": network.with(json.RawMessage(result), "prevResult"), "without": network,
		"before 0.4.0": network.with("0.3.1", "cniVersion"),
	} {
		for _, netns := range []string{"/run/netns/a", "", "/run/netns/b"} {
			for _, plugin := range []string{snatPlugin, ptpPlugin, ipamPlugin} {
				late := m.call(plugin, "DEL", "a", c)
				late.Env["CNI_NETNS"] = netns
				m.succeed(t, late)
			}
			m.unchanged(t, before)
			err := m.Do(func() error { _, err := probe.Ping(t.Context(), ip, probe.From{}); return err })
			if err != nil {
				t.Errorf("%s, netns %q: the node no longer reaches b: %v", name, netns, err)
			}
		}
	}
}

// Each plugin knows its place in the list, and what it needs of the others.
func TestPrevResult(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	printed := m.add(t, "c", static())
	before := m.state(t)
	with := static().with(json.RawMessage(printed), "prevResult")
	m.fail(t, m.call(ptpPlugin, "ADD", "d", with), 7, "prevResult")
	m.fail(t, m.call(ptpPlugin, "CHECK", "c", static()), 7, "prevResult")
	m.fail(t, m.call(ipamPlugin, "CHECK", "c", static()), 7, "prevResult")
	m.fail(t, m.call(snatPlugin, "ADD", "c", static().snat()), 7, "prevResult")
	m.fail(t, m.call(snatPlugin, "CHECK", "c", static().snat()), 7, "prevResult")
	m.unchanged(t, before)
}

// Who needs the store and finds none says so; nobody makes an empty one.
func TestMissingStore(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	with := static().with(json.RawMessage(m.add(t, "c", static())), "prevResult")
	sh(t, &m.Host, "rm -r "+dataDir)
	if e := m.fail(t, m.call(ptpPlugin, "CHECK", "c", with), 5, dataDir); e.Details == "" {
		t.Error("no hint")
	}
	m.fail(t, m.call(ipamPlugin, "CHECK", "c", with), 103, "eth0 of c in enichain")
	m.fail(t, m.call(snatPlugin, "ADD", "c", with.with(snatPlugin, "type")), 7, dataDir)
	m.fail(t, m.call(snatPlugin, "CHECK", "c", with.with(snatPlugin, "type")), 7, dataDir)
	m.del(t, "c", with)
	sh(t, &m.Host, "test ! -e "+dataDir)
	if left := sh(t, &m.Host, "ip rule; ip route show table all; ip -o link"); containsAny(left, "10.19.16.10", "pod") {
		t.Errorf("left: %s", left)
	}
}

// DEL makes do with any prevResult, or with none that it can read.
func TestDelWithAStrangePrevResult(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	m.netns(t, "c")
	before := m.state(t)
	for _, strange := range []any{
		conf{},
		nil,
		conf{"cniVersion": "9.9.9"},
		conf{"cniVersion": 5},
		conf{"cniVersion": "0.2.0", "ip4": conf{"ip": "10.19.16.101/32"}},
		conf{"cniVersion": "1.1.0", "ips": "x"},
		conf{"cniVersion": "1.1.0", "ips": []any{nil}},
		conf{"cniVersion": "1.1.0", "ips": []conf{{"interface": 7, "address": "10.19.16.101/32"}}},
		conf{"cniVersion": "1.1.0", "ips": []conf{{"interface": -1, "address": "10.19.16.101/32"}}},
		conf{"cniVersion": "1.1.0", "ips": []conf{{"address": "fd00::1/128"}, {"address": "10.19.0.22/32"}, {"address": "10.19.16.17/32"}}},
		conf{"cniVersion": "1.1.0", "interfaces": []any{nil}, "ips": []conf{{"interface": 0, "address": "10.19.16.101/32"}}},
	} {
		m.add(t, "c", static())
		for _, plugin := range []string{snatPlugin, ptpPlugin, ipamPlugin} {
			m.succeed(t, m.call(plugin, "DEL", "c", static().with(strange, "prevResult")))
		}
		m.unchanged(t, before)
	}
}

// The same results on the way in: an error of a plugin that needs them, never a panic, and nothing is done.
func TestStrangePrevResult(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	m.add(t, "c", static())
	before := m.state(t)
	for _, strange := range []any{
		conf{},
		nil,
		conf{"cniVersion": "9.9.9"},
		conf{"cniVersion": "1.1.0"},
		conf{"cniVersion": "1.1.0", "ips": []any{nil}},
		conf{"cniVersion": "1.1.0", "interfaces": []any{nil}, "ips": []conf{{"interface": 0, "address": "10.19.16.100/32"}}},
		conf{"cniVersion": "1.1.0", "ips": []conf{{"interface": 7, "address": "10.19.16.100/32"}}},
	} {
		for _, plugin := range plugins() {
			if o := m.run(t, m.call(plugin, "CHECK", "c", static().with(strange, "prevResult"))); o.Error == nil && plugin == ptpPlugin {
				t.Errorf("%s CHECK passes with the prevResult %v", plugin, strange)
			}
		}
		m.run(t, m.call(snatPlugin, "ADD", "c", static().snat().with(strange, "prevResult")))
		m.unchanged(t, before)
	}
}

// An ENI that the host does not have: the address goes back, and the error names the ENI.
func TestAddWithoutTheENI(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	m.netns(t, "c")
	sh(t, &m.Host, "ip link set eth1 down; ip link set eth1 name away")
	before := m.state(t)
	if e := m.fail(t, m.call(ptpPlugin, "ADD", "c", static()), 101, "eth1"); e.Details == "" {
		t.Error("no hint")
	}
	m.unchanged(t, before)
}
