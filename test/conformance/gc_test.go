package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/test/lab"
)

// gcMachine has containers a and b on the network, and x on another one that shares the store and has the rules per ENI.
func gcMachine(t *testing.T) (m *machine, ips map[string]string) {
	t.Helper()
	m = newMachine(t, lab.Options{ENIs: 2})
	ips = map[string]string{}
	for id, network := range map[string]conf{"a": static(), "b": static(), "x": static().with("other", "name").with("per-eni", "routing")} {
		m.netns(t, id)
		ips[id] = address(t, m.add(t, id, network)).String()
	}
	return m, ips
}

// wired says whether anything of a container is left on the machine, or fails where only a part is.
func (m *machine) wired(t *testing.T, id, ip string) bool {
	t.Helper()
	veth := layout.Identify("pod", id, "eth0").Veth
	found := []string{}
	for _, line := range m.state(t) {
		if strings.Contains(line, veth) || strings.Contains(line, ip+" ") {
			found = append(found, line)
		}
	}
	whole := 5 // the link, the route, two rules, the owner
	if id == "x" {
		whole = 3 // no rules
	}
	if len(found) != 0 && len(found) != whole {
		t.Errorf("of %s is there in part:\n%s", id, strings.Join(found, "\n"))
	}
	return len(found) > 0
}

func TestGC(t *testing.T) {
	t.Parallel()
	entry := func(id, ifName string) conf { return conf{"containerID": id, "ifname": ifName} }
	const list, old = "cni.dev/valid-attachments", "cni.dev/attachments"
	for name, tt := range map[string]struct {
		fields conf
		stay   string
	}{
		"a list":                  {conf{list: []conf{entry("a", "eth0")}}, "ax"},
		"of both":                 {conf{list: []conf{entry("a", "eth0"), entry("b", "eth0")}}, "abx"},
		"of another interface":    {conf{list: []conf{entry("a", "eth1"), entry("b", "eth0")}}, "bx"},
		"of unknown ones":         {conf{list: []conf{entry("z", "eth0")}}, "x"},
		"an empty list":           {conf{list: []conf{}}, "x"},
		"null":                    {conf{list: nil}, "x"},
		"absent":                  {conf{}, "abx"},
		"the old spelling":        {conf{old: []conf{entry("b", "eth0")}}, "bx"},
		"the old spelling, null":  {conf{old: nil}, "x"},
		"both spellings":          {conf{list: []conf{entry("a", "eth0")}, old: []conf{entry("a", "eth0")}}, "ax"},
		"with more fields a list": {conf{list: []conf{entry("a", "eth0").with("x", "netns")}, "disableGC": false}, "ax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, ips := gcMachine(t)
			network := static()
			for key, value := range tt.fields {
				network = network.with(value, key)
			}
			for range 2 {
				m.succeed(t, m.call(snatPlugin, "GC", "", network))
				m.succeed(t, m.call(ptpPlugin, "GC", "", network))
				m.succeed(t, m.call(ipamPlugin, "GC", "", network))
				for id, ip := range ips {
					if stays := strings.Contains(tt.stay, id); m.wired(t, id, ip) != stays {
						t.Errorf("%s is there: %t, want %t", id, !stays, stays)
					}
				}
			}
		})
	}
	t.Run("no list at all", func(t *testing.T) {
		t.Parallel()
		m, ips := gcMachine(t)
		for _, bad := range []any{"x", 5, conf{}, []int{1}} {
			for _, plugin := range []string{ptpPlugin, ipamPlugin} {
				o := m.run(t, m.call(plugin, "GC", "", static().with(bad, list)))
				if o.Error == nil || o.Error.Code != 6 && o.Error.Code != 7 {
					t.Errorf("%s with %v: status %d, %v, want code 6 or 7", plugin, bad, o.Status, o.Error)
				}
			}
		}
		for id, ip := range ips {
			if !m.wired(t, id, ip) {
				t.Errorf("%s is gone", id)
			}
		}
	})
}

// Without a list, as `cnitool gc` sends it, only what is provably dead goes: a container whose namespace is gone, or
// another's by now.
func TestGCOfDeadContainers(t *testing.T) {
	t.Parallel()
	m, ips := gcMachine(t)
	number := m.netnsNumber(t, "a")
	if err := m.DelNetns("a"); err != nil {
		t.Fatal(err)
	}
	if err := m.DelNetns("x"); err != nil {
		t.Fatal(err)
	}
	m.eventually(t, "the veths go with their namespaces", func() bool {
		return strings.Count(sh(t, &m.Host, "ip -o link"), "pod") == 1
	})
	m.anotherNetns(t, "a", number)
	m.succeed(t, m.call(ptpPlugin, "GC", "", static()))
	if m.wired(t, "a", ips["a"]) {
		t.Error("a is still there")
	}
	if !m.wired(t, "b", ips["b"]) {
		t.Error("b is gone")
	}
	if owners := strings.Join(m.state(t), "\n"); !strings.Contains(owners, "eth0 of x in other") {
		t.Error("the other network's x is gone")
	}
}

// netnsNumber is the number of a container's namespace, which a later one may get when it is gone.
func (m *machine) netnsNumber(t *testing.T, id string) uint64 {
	t.Helper()
	var number uint64
	if _, err := fmt.Sscan(sh(t, &m.Host, "stat -L -c %i /run/netns/"+id), &number); err != nil {
		t.Fatal(err)
	}
	return number
}

// anotherNetns makes a namespace at the path of one that is gone, with another number: the kernel gives the lowest that is
// free, which others are made to take.
func (m *machine) anotherNetns(t *testing.T, id string, number uint64) {
	t.Helper()
	for n := 0; ; n++ {
		if m.netns(t, id); m.netnsNumber(t, id) != number {
			return
		}
		if err := m.DelNetns(id); err != nil {
			t.Fatal(err)
		}
		m.netns(t, fmt.Sprint("other-", n))
	}
}

// A GC without a list that runs where containers' namespaces are not to be seen takes nobody's address: a namespace lives that
// a veth leads to, and where not even the folder of the namespaces is there, nothing is known of them.
func TestGCInAnotherMountNamespace(t *testing.T) {
	t.Parallel()
	m, ips := gcMachine(t)
	const empty = "mount -t tmpfs none /run/netns"
	const absent = "mount -t tmpfs none /mnt && mkdir /mnt/store && mount --bind /run/enichain /mnt/store && mount -t tmpfs none /run && " +
		"mkdir /run/enichain && mount --bind /mnt/store /run/enichain"
	for _, tt := range []struct{ plugin, hide string }{{ptpPlugin, empty}, {ptpPlugin, absent}, {ipamPlugin, absent}} {
		c := m.call(tt.plugin, "GC", "", static())
		c.Wrapper = []string{"unshare", "-m", "sh", "-c", tt.hide + ` && exec "$0"`}
		m.succeed(t, c)
		for id, ip := range ips {
			if !m.wired(t, id, ip) {
				t.Errorf("%s after %q: %s is gone", tt.plugin, tt.hide, id)
			}
		}
	}
}

// eventually waits for what the kernel does in its own time and tells nobody.
func (m *machine) eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
