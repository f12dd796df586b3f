package conformance

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/lab"
)

// What is no configuration is an error that says so, of each plugin and verb; never a panic, and nothing is done.
func TestGarbageOnStdin(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	m.netns(t, "c")
	before := m.state(t)
	whole, err := json.Marshal(static())
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]string{
		"empty": "", "words": "garbage", "binary": "\x00\xff\xfe", "half": string(whole[:len(whole)/2]), "list": "[]",
		"null": "null", "text": `"x"`, "number": "1", "two": string(whole) + string(whole), "no name": `{"cniVersion": "1.1.0"}`,
		"name is a number": `{"cniVersion": "1.1.0", "name": 5}`, "version is a number": `{"cniVersion": 1.1, "name": "n"}`,
		"deep": strings.Repeat("[", 100000),
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			for _, plugin := range plugins() {
				for _, verb := range verbs() {
					c := m.call(plugin, verb, "c", static())
					c.Stdin = []byte(input)
					o := m.run(t, c)
					if o.Error == nil || o.Error.Code != 6 && o.Error.Code != 7 {
						t.Errorf("%s %s: status %d, %v, want code 6 or 7", plugin, verb, o.Status, o.Error)
					}
				}
			}
		})
	}
	m.unchanged(t, before)
}

// A field of the wrong type or with an impossible value: ADD says so before anything is done. The other verbs may do
// without the field, but not panic.
func TestWrongFields(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	m.netns(t, "c")
	before := m.state(t)
	network, snat := static(), static().snat().with([]string{"10.19.0.0/16"}, "vpcCIDRs")
	tests := []struct {
		plugin string
		conf   conf
	}{
		{ptpPlugin, network.with("x", "ipam")},
		{ptpPlugin, network.with(nil, "ipam")},
		{ptpPlugin, network.with(conf{}, "ipam")},
		{ptpPlugin, network.with("../../bin/true", "ipam", "type")},
		{ptpPlugin, network.with("no-such-plugin", "ipam", "type")},
		{ptpPlugin, network.with("1500", "mtu")},
		{ptpPlugin, network.with(-1, "mtu")},
		{ptpPlugin, network.with(70000, "mtu")},
		{ptpPlugin, network.with("longprefix", "vethPrefix")},
		{ptpPlugin, network.with("per-node", "routing")},
		{ptpPlugin, network.with("x", "runtimeConfig")},
		{ptpPlugin, network.with("x", "args")},
		{ptpPlugin, network.with("x", "prevResult")},
		{ptpPlugin, network.with("/no/such/folder/log", "log", "file")},
		{ipamPlugin, network.with("x", "ipam")},
		{ipamPlugin, network.with(nil, "ipam")},
		{ipamPlugin, network.with(nil, "ipam", "cloud")},
		{ipamPlugin, network.with("../aws", "ipam", "cloud")},
		{ipamPlugin, network.with("relative", "ipam", "dataDir")},
		{ipamPlugin, network.with("8", "ipam", "batch")},
		{ipamPlugin, network.with(-8, "ipam", "batch")},
		{ipamPlugin, network.with(60, "ipam", "timeout")},
		{ipamPlugin, network.with("-1s", "ipam", "timeout")},
		{ipamPlugin, network.with("soon", "ipam", "cooldown")},
		{ipamPlugin, network.with("bridged", "ipam", "addressing")},
		{ipamPlugin, network.with([]string{}, "ipam", "static")},
		{ipamPlugin, network.with(nil, "ipam", "static")},
		{ipamPlugin, network.with([]conf{{"name": "eth0", "primary": true}}, "ipam", "static", "enis")},
		{ipamPlugin, network.with([]conf{}, "ipam", "static", "enis")},
		{ipamPlugin, network.with([]int{1}, "runtimeConfig", "ips")},
		{ipamPlugin, network.with([]conf{{}}, "args", "cni", "ips")},
		{ipamPlugin, network.with("loud", "ipam", "log", "level").with("/tmp/x", "ipam", "log", "file")},
		{snatPlugin, snat.with("x", "snat")},
		{snatPlugin, snat.with("ebpf", "backend")},
		{snatPlugin, snat.with([]string{"10.19.0.0/99"}, "vpcCIDRs")},
		{snatPlugin, snat.with("x", "prevResult")},
		{snatPlugin, snat.with(conf{"cniVersion": "1.1.0", "ips": "x"}, "prevResult")},
	}
	for _, tt := range tests {
		for _, verb := range verbs() {
			o := m.run(t, m.call(tt.plugin, verb, "c", tt.conf))
			if verb == "ADD" && (o.Error == nil || o.Error.Code != 6 && o.Error.Code != 7) {
				t.Errorf("%s ADD of %v: status %d, %v, want code 6 or 7", tt.plugin, tt.conf, o.Status, o.Error)
			}
		}
	}
	m.unchanged(t, before)
}

// Runtimes hand over a pod's annotations, of up to 256 KiB, and fields that nobody told us of, at every level.
func TestLargeAndUnknownFields(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	m.warm(t, static())
	before := m.state(t)
	annotations := map[string]string{}
	for i := range 300 {
		annotations[strings.Repeat("k", i+1)] = strings.Repeat("v", 1<<10)
	}
	network := static().
		with(annotations, "runtimeConfig", "io.kubernetes.cri.pod-annotations").
		with(conf{"Servers": []string{"10.0.0.2"}}, "runtimeConfig", "dns").
		with([]conf{{"HostPort": 80, "ContainerPort": 80, "Protocol": "tcp"}}, "runtimeConfig", "portMappings").
		with("x", "unknown").with(conf{"a": []int{1}}, "ipam", "unknown").with(1, "ipam", "static", "unknown").
		with(conf{"labels": []conf{{"key": "app"}}}, "args", "cni", "unknown").
		with(map[string]bool{"ips": true}, "capabilities").with(false, "disableCheck")
	chained := network.with(snatPlugin, "type")
	m.netns(t, "c")
	first := m.add(t, "c", network)
	m.succeed(t, m.call(snatPlugin, "ADD", "c", chained.with(json.RawMessage(first), "prevResult")))
	for _, plugin := range plugins() {
		c := network.with(json.RawMessage(first), "prevResult").with(plugin, "type")
		m.succeed(t, m.call(plugin, "CHECK", "c", c))
		m.succeed(t, m.call(plugin, "STATUS", "c", c))
		m.succeed(t, m.call(plugin, "GC", "c", c.with([]conf{{"containerID": "c", "ifname": "eth0"}}, "cni.dev/valid-attachments")))
		m.succeed(t, m.call(plugin, "CHECK", "c", c))
	}
	m.succeed(t, m.call(snatPlugin, "DEL", "c", chained))
	m.del(t, "c", network.with(json.RawMessage(first), "prevResult"))
	sh(t, &m.Host, "nft delete table ip enichain; ip rule del pref 1024")
	m.unchanged(t, before)
}

// go-cni writes the keys of runtimeConfig with capitals.
func TestCapitalisedRuntimeConfig(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	m.netns(t, "c")
	const mac = "02:11:22:33:44:55"
	network := static().with(conf{"IPs": []string{"10.19.16.105"}, "Mac": mac}, "runtimeConfig")
	printed := m.add(t, "c", network)
	if ip := address(t, printed); ip != netip.MustParseAddr("10.19.16.105") {
		t.Errorf("the container has %s", ip)
	}
	if !bytes.Contains(printed, []byte(mac)) {
		t.Errorf("the MAC is not %s: %s", mac, printed)
	}
	m.del(t, "c", network)
}
