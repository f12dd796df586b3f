package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

func specVersions() []string { return version.VersionsStartingFrom("0.3.0").SupportedVersions() }

// Each version of the specification: ADD twice, CHECK, DEL twice, over eni-ipam and over host-local, and nothing stays.
func TestLifeInEachVersion(t *testing.T) { onLayouts(t, lifeInEachVersionOn) }

func lifeInEachVersionOn(t *testing.T, v variant) {
	n := newNodeOf(t, v)
	for name, conf := range map[string]map[string]any{"eni-ipam": n.conf("eni-1"), "host-local": v.of(hostLocal(t))} {
		// The ENI stays prepared: what counts is what a container adds.
		warm := plugin{id: "warm", netns: nstest.New(t).Path(), conf: conf}
		add(t, n.NS, warm)
		warm.verb = "DEL"
		succeed(t, n.NS, warm)
		before := n.everything(t)
		for _, v := range specVersions() {
			t.Run(name+" "+v, func(t *testing.T) {
				live(t, n, with(conf, map[string]any{"cniVersion": v}), v)
				if diff := cmp.Diff(before, n.everything(t)); diff != "" {
					t.Errorf("left on the host (-before +after):\n%s", diff)
				}
				if owned := n.owned(t); len(owned) > 0 {
					t.Errorf("left in the store: %v", owned)
				}
			})
		}
	}
}

func live(t *testing.T, n *node, conf map[string]any, v string) {
	t.Helper()
	ns := nstest.New(t)
	p := plugin{verb: "ADD", id: "c1", netns: ns.Path(), conf: conf}
	first := succeed(t, n.NS, p)
	if conf["name"] == "net" { // host-local refuses a second ADD
		if second := succeed(t, n.NS, p); string(second) != string(first) {
			t.Errorf("a second ADD answers otherwise:\n%s\n%s", first, second)
		}
	} else if _, err := run(t, n.NS, p); err == nil || !strings.Contains(err.Msg, "duplicate allocation") {
		t.Errorf("a second ADD: %v", err)
	}
	var answered struct {
		CNIVersion string `json:"cniVersion"`
	}
	if err := json.Unmarshal(first, &answered); err != nil || answered.CNIVersion != v {
		t.Errorf("the result has version %q: %v", answered.CNIVersion, err)
	}
	wantResult(t, ns, parse(t, first), v)
	var previous map[string]any
	if err := json.Unmarshal(first, &previous); err != nil {
		t.Fatal(err)
	}
	p.verb, p.conf = "CHECK", with(conf, map[string]any{"prevResult": previous})
	if _, err := run(t, n.NS, p); (err == nil) != (v >= "0.4.0") {
		t.Errorf("CHECK of version %s: %v", v, err)
	}
	p.verb = "DEL"
	if v < "0.4.0" {
		p.conf = conf // libcni gives no prevResult there
	}
	succeed(t, n.NS, p)
	succeed(t, n.NS, p)
	p.conf, p.netns = conf, ""
	succeed(t, n.NS, p)
	ns.Do(func() error {
		if _, err := netlink.LinkByName("eth0"); err == nil {
			t.Error("the container still has eth0")
		}
		return nil
	})
}

// wantResult compares a result with what is in the kernel.
func wantResult(t *testing.T, ns *nstest.NS, r *types100.Result, v string) {
	t.Helper()
	if len(r.Interfaces) != 2 || len(r.IPs) != 1 || len(r.Routes) != 2 {
		t.Fatalf("unexpected result: %v", r)
	}
	host, container := r.Interfaces[0], r.Interfaces[1]
	if host.Sandbox != "" || !strings.HasPrefix(host.Name, "pod") || container.Sandbox != ns.Path() || container.Name != "eth0" {
		t.Errorf("unexpected interfaces: %v, %v", host, container)
	}
	ip := r.IPs[0]
	if *ip.Interface != 1 || ip.Gateway.String() != "169.254.1.1" || len(ip.Address.Mask) != 4 {
		t.Errorf("unexpected address: %v", ip)
	}
	if ones, _ := ip.Address.Mask.Size(); ones != 32 {
		t.Errorf("the container has %s, and the result says %s", ip.Address.IP, ip.Address.String())
	}
	if got := fmt.Sprint(r.Routes[0].Dst.String(), " ", r.Routes[0].GW, " ", r.Routes[1].Dst.String()); got !=
		"0.0.0.0/0 169.254.1.1 169.254.1.1/32" {
		t.Errorf("unexpected routes: %s", got)
	}
	ns.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a := eth0.Attrs()
		if a.HardwareAddr.String() != container.Mac || v >= "1.0.0" && a.MTU != container.Mtu {
			t.Errorf("the result says %v, the kernel %s %d", container, a.HardwareAddr, a.MTU)
		}
		addrs, err := netlink.AddrList(eth0, netlink.FAMILY_V4)
		if len(addrs) != 1 || addrs[0].IPNet.String() != ip.Address.String() {
			t.Errorf("the result says %s, the kernel %v", ip.Address.String(), addrs)
		}
		return err
	})
}

func TestVersion(t *testing.T) {
	n := nstest.New(t)
	out := succeed(t, n, plugin{verb: "VERSION", conf: map[string]any{"cniVersion": "1.1.0"}})
	var got struct {
		SupportedVersions []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(specVersions(), got.SupportedVersions); diff != "" {
		t.Errorf("unexpected versions (-want +got):\n%s", diff)
	}
}

// What an ADD refuses, it refuses with a code, a reason and nothing changed.
func TestAddRefuses(t *testing.T) {
	n := newNode(t)
	conf := n.conf("eni-1")
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ipam := func(keys map[string]any) map[string]any {
		return with(conf, map[string]any{"ipam": with(conf["ipam"].(map[string]any), keys)})
	}
	set := func(key string, value any) map[string]any { return with(conf, map[string]any{key: value}) }
	occupied := nstest.New(t)
	occupied.Do(func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}})
	})
	tests := []struct {
		name  string
		conf  map[string]any
		netns string
		args  string
		stdin []byte
		code  uint
		want  string
	}{
		{name: "garbage", stdin: []byte("}{"), code: 6, want: "error unmarshall network config"},
		{name: "300 KiB of garbage", stdin: []byte(strings.Repeat("x", 300<<10)), code: 6, want: "error unmarshall network config"},
		{name: "field of the wrong type", conf: set("mtu", "big"), code: 6, want: "cannot unmarshal string"},
		{name: "prevResult", conf: set("prevResult", map[string]any{"cniVersion": "1.1.0"}), code: 7, want: "eni-ptp got a prevResult"},
		{name: "no IPAM", conf: set("ipam", nil), code: 7, want: `"ipam" has no "type"`},
		{name: "IPAM missing", conf: set("ipam", map[string]any{"type": "nowhere"}), code: 7, want: "plugin nowhere is in none of the folders"},
		{name: "IPAM elsewhere", conf: set("ipam", map[string]any{"type": "../nowhere"}), code: 7, want: "is not the name of a file"},
		{name: "long prefix", conf: set("vethPrefix", "veth"), code: 7, want: `"vethPrefix" is "veth"`},
		{name: "odd prefix", conf: set("vethPrefix", "a/b"), code: 7, want: `"vethPrefix" is "a/b"`},
		{name: "small MTU", conf: set("mtu", 100), code: 7, want: `"mtu" is 100`},
		{name: "unknown routing", conf: set("routing", "ospf"), code: 7, want: `"routing" is "ospf": it must be "per-pod" or "per-eni"`},
		{name: "unknown marking", conf: set("marking", "clsact"), code: 7, want: `"marking" is "clsact": it must be "auto", "tcx" or "nftables"`},
		{name: "bad MAC", args: "MAC=nonsense", code: 7, want: "requested MAC: address nonsense: invalid MAC address"},
		{name: "multicast MAC", args: "MAC=01:00:5e:00:00:01", code: 7, want: "is not an Ethernet unicast address"},
		{name: "no namespace", netns: "/run/netns/no-such", code: 8, want: "no network namespace there"},
		{name: "plain file for a namespace", netns: plain, code: 8, want: "no network namespace there"},
		{name: "namespace of another kind", netns: "/proc/self/ns/mnt", code: 8, want: "it is a namespace of another kind"},
		{name: "the host's namespace", netns: n.Path(), code: 8, want: "is the host's own"},
		{name: "interface taken", netns: occupied.Path(), code: 4, want: "the container has an interface eth0 already"},
		{name: "IPAM fails", conf: ipam(map[string]any{"fail": "ADD"}), code: 11, want: "the stand-in was told to fail"},
		{name: "link-local address", conf: ipam(map[string]any{"address": "fe80::5"}), code: 7, want: "IPAM gave the address fe80::5"},
		{name: "address that the store lacks", conf: ipam(map[string]any{"address": "10.1.2.3"}), code: 5, want: "the store does not have the address 10.1.2.3"},
		{name: "no store", conf: ipam(map[string]any{"address": "10.1.2.3", "dataDir": t.TempDir()}), code: 5, want: "no store in "},
	}
	before, owned := n.everything(t), n.owned(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plugin{verb: "ADD", id: "c1", netns: tt.netns, conf: tt.conf, args: tt.args, stdin: tt.stdin}
			if p.netns == "" {
				p.netns = nstest.New(t).Path()
			}
			if p.conf == nil {
				p.conf = conf
			}
			_, err := run(t, n.NS, p)
			if err == nil || err.Code != tt.code || !strings.Contains(err.Msg, tt.want) {
				t.Errorf("unexpected error:\n- want: %d %s\n-  got: %v", tt.code, tt.want, err)
			}
			if diff := cmp.Diff(before, n.everything(t)); diff != "" {
				t.Errorf("changed on the host (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(owned, n.owned(t)); diff != "" {
				t.Errorf("changed in the store (-before +after):\n%s", diff)
			}
		})
	}
}

// An ADD that fails after IPAM gave the address gives it back, and names the ENI that it did not find.
func TestAddUndoes(t *testing.T) {
	n := newNode(t)
	n.Do(func() error {
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		return netlink.LinkDel(eth1)
	})
	before := n.everything(t)
	conf := n.conf("eni-1")
	conf["ipam"] = with(conf["ipam"].(map[string]any), map[string]any{"timeout": "100ms"})
	_, err := run(t, n.NS, plugin{verb: "ADD", id: "c1", netns: nstest.New(t).Path(), conf: conf})
	if err == nil || err.Code != 101 || !strings.Contains(err.Msg, "find the link of eni-1: link with MAC 20:90:6f:ff:7b:f1") {
		t.Errorf("unexpected error: %v", err)
	}
	if diff := cmp.Diff(before, n.everything(t)); diff != "" {
		t.Errorf("left on the host (-before +after):\n%s", diff)
	}
	if owned := n.owned(t); len(owned) > 0 {
		t.Errorf("left in the store: %v", owned)
	}
}

// An address that somebody has whom the store does not know is given to nobody: the kernel knows better than a store that
// was removed under live containers.
func TestAddRefusesAnAddressInUse(t *testing.T) { onLayouts(t, addRefusesAnAddressInUseOn) }

func addRefusesAnAddressInUseOn(t *testing.T, v variant) {
	n := newNodeOf(t, v)
	live := nstest.New(t)
	add(t, n.NS, plugin{id: "live", netns: live.Path(), conf: n.conf("eni-1")})
	n.Do(func() error { return os.RemoveAll(n.dataDir) })
	if err := store.At(n.dataDir).Update(t.Context(), n.fill); err != nil {
		t.Fatal(err)
	}
	before := n.everything(t)
	second := nstest.New(t)
	p := plugin{verb: "ADD", id: "second", netns: second.Path(), conf: n.conf("eni-1")}
	_, err := run(t, n.NS, p)
	if err == nil || err.Code != 101 || !strings.Contains(err.Msg, "10.19.16.6 is in use on this host: it is routed to pod") ||
		!strings.Contains(err.Msg, "eth0 of live") {
		t.Errorf("unexpected error: %v", err)
	}
	succeed(t, n.NS, plugin{verb: "DEL", id: "second", conf: n.conf("eni-1")})
	if diff := cmp.Diff(before, n.everything(t)); diff != "" {
		t.Errorf("changed on the host (-before +after):\n%s", diff)
	}
	add(t, n.NS, p) // with another address
	for _, ns := range []*nstest.NS{live, second} {
		if _, err := ping(t, ns, "", otherIP); err != nil {
			t.Error(err)
		}
	}
}

func TestRequestedMAC(t *testing.T) {
	n := newNode(t)
	byRuntime := map[string]any{"mac": "c2:11:22:33:44:01"}
	byArgs := map[string]any{"cni": map[string]any{"mac": "c2:11:22:33:44:02"}}
	tests := []struct {
		name    string
		keys    map[string]any
		cniArgs string
		want    string
	}{
		{"runtimeConfig", map[string]any{"runtimeConfig": byRuntime, "args": byArgs}, "MAC=c2:11:22:33:44:03", "c2:11:22:33:44:01"},
		{"args", map[string]any{"args": byArgs}, "MAC=c2:11:22:33:44:03", "c2:11:22:33:44:02"},
		{"CNI_ARGS", nil, "IgnoreUnknown=1;MAC=c2:11:22:33:44:03", "c2:11:22:33:44:03"},
		{"none", nil, "", layout.Identify("pod", "c1", "eth0").Peer.String()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plugin{id: "c1", netns: nstest.New(t).Path(), conf: with(n.conf("eni-1"), tt.keys), args: tt.cniArgs}
			r := add(t, n.NS, p)
			if got := r.Interfaces[1].Mac; got != tt.want {
				t.Errorf("the container has %s, not %s", got, tt.want)
			}
			if want := layout.Identify("pod", "c1", "eth0").MAC.String(); r.Interfaces[0].Mac != want {
				t.Errorf("the host has %s, not %s", r.Interfaces[0].Mac, want)
			}
			p.verb, p.conf = "CHECK", with(p.conf, map[string]any{"prevResult": r})
			succeed(t, n.NS, p)
			p.verb = "DEL"
			succeed(t, n.NS, p)
		})
	}
}

func TestDNS(t *testing.T) {
	n := newNode(t)
	tests := []struct {
		dns  map[string]any
		want string
	}{{nil, "10.19.0.2"}, {map[string]any{"nameservers": []string{"10.0.0.2"}}, "10.0.0.2"}}
	for i, tt := range tests {
		r := add(t, n.NS, plugin{
			id: fmt.Sprint("c", i), netns: nstest.New(t).Path(), conf: with(n.conf("eni-1"), map[string]any{"dns": tt.dns}),
		})
		if len(r.DNS.Nameservers) != 1 || r.DNS.Nameservers[0] != tt.want {
			t.Errorf("unexpected DNS: %v, not %s", r.DNS, tt.want)
		}
	}
}

// A veth of our name whose container's end is elsewhere is stale: it goes, and the ADD succeeds.
func TestAStaleVethIsReplaced(t *testing.T) { onEach(t, aStaleVethIsReplacedOn) }

func aStaleVethIsReplacedOn(t *testing.T, v variant) {
	n := newNodeOf(t, v)
	first, second := nstest.New(t), nstest.New(t)
	p := plugin{id: "a", netns: first.Path(), conf: n.conf("eni-1")}
	add(t, n.NS, p)
	p.netns = second.Path()
	add(t, n.NS, p)
	if _, err := ping(t, second, "", otherIP); err != nil {
		t.Error(err)
	}
	first.Do(func() error {
		if _, err := netlink.LinkByName("eth0"); err == nil {
			t.Error("the first namespace still has an eth0")
		}
		return nil
	})
}

// A second ADD brings back what was lost, and does not touch a container that is whole.
func TestAddCompletes(t *testing.T) { onEach(t, addCompletesOn) }

func addCompletesOn(t *testing.T, v variant) {
	n := newNodeOf(t, v)
	ns := nstest.New(t)
	p := plugin{id: "a", netns: ns.Path(), conf: n.conf("eni-1")}
	add(t, n.NS, p)
	before := n.everything(t)
	n.Do(func() error {
		veth := layout.Identify("pod", "a", "eth0").Veth
		if v.routing == netconf.PerENI {
			return errors.Join(delRoute(veth, layout.TablePods, "10.19.16.6/32"), unmark(veth))
		}
		return delRule(1536, "10.19.16.6/32", "")
	})
	add(t, n.NS, p)
	if diff := cmp.Diff(before, n.everything(t)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
	if _, err := ping(t, ns, "", otherIP); err != nil {
		t.Error(err)
	}
}

// 32 containers at once prepare the same ENI and each gets what is its own; then all go at once.
func TestAtOnce(t *testing.T) { onEach(t, atOnceOn) }

func atOnceOn(t *testing.T, v variant) {
	n := newNodeOf(t, v)
	conf := v.of(hostLocal(t))
	const containers = 32
	var spaces []*nstest.NS
	for range containers {
		spaces = append(spaces, nstest.New(t))
	}
	enis := []string{"eni-0", "eni-1", "eni-2"}
	confs := make([]map[string]any, containers)
	for i := range confs {
		confs[i] = conf
		if i < 2*len(enis) { // each has two addresses
			confs[i] = n.conf(enis[i%len(enis)])
		}
	}
	before := n.everything(t)
	each := func(verb string) {
		var wg sync.WaitGroup
		for i := range containers {
			wg.Go(func() {
				p := plugin{verb: verb, id: fmt.Sprint("c", i), netns: spaces[i].Path(), conf: confs[i]}
				if _, err := run(t, n.NS, p); err != nil {
					t.Errorf("%s: %v", verb, err)
				}
			})
		}
		wg.Wait()
	}
	each("ADD")
	for i := range 2 * len(enis) {
		if _, err := ping(t, spaces[i], "", otherIP); err != nil {
			t.Errorf("container %d: %v", i, err)
		}
	}
	each("DEL")
	left := slices.DeleteFunc(n.everything(t), func(line string) bool {
		return slices.Contains(before, line) || isENI(line)
	})
	if len(left) > 0 || len(n.owned(t)) > 0 {
		t.Errorf("left: %v, %v", left, n.owned(t))
	}
}

// isENI says whether a line is of an ENI itself, which stays prepared.
func isENI(line string) bool {
	if strings.Contains(line, "fwmark") || strings.HasSuffix(line, "from all lookup 101512") {
		return true // of all ENIs, of all containers
	}
	for _, p := range ports() {
		if strings.Contains(line, p.eni.PrimaryIP.String()) {
			return true
		}
	}
	return false
}

func TestStatus(t *testing.T) {
	n := newNode(t)
	conf := n.conf("eni-1")
	succeed(t, n.NS, plugin{verb: "STATUS", conf: conf})
	conf["ipam"] = with(conf["ipam"].(map[string]any), map[string]any{"fail": "STATUS"})
	_, err := run(t, n.NS, plugin{verb: "STATUS", conf: conf})
	if err == nil || err.Code != 11 || !strings.Contains(err.Msg, "STATUS: the stand-in was told to fail") || err.Details != "this is its hint" {
		t.Errorf("unexpected error: %v", err)
	}
	_, err = run(t, n.NS, plugin{verb: "STATUS", conf: with(conf, map[string]any{"mtu": 1})})
	if err == nil || err.Code != 7 {
		t.Errorf("unexpected error: %v", err)
	}
}
