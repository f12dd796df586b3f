package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// binEnv tells the tests where TestMain put the plugin.
const binEnv = "ENI_SNAT_TEST_BIN"

// TestMain builds the plugin as it is shipped.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "eni-snat-test")
	if err != nil {
		log.Fatal(err)
	}
	code, err := runWith(m, dir)
	if e := os.RemoveAll(dir); err == nil {
		err = e
	}
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

func runWith(m *testing.M, dir string) (int, error) {
	build := exec.Command("go", "build", "-o", dir+"/", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build: %w\n%s", err, out)
	}
	// Other users may run it: TestStatus.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	if err := os.Setenv(binEnv, filepath.Join(dir, "eni-snat")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func TestVersion(t *testing.T) {
	n := newNode(t)
	var got struct {
		SupportedVersions []string `json:"supportedVersions"`
	}
	// podman asks so, for every conflist, at every command.
	out := n.ok("VERSION", []byte(`{"cniVersion":"1.0.0"}`), "CNI_IFNAME=dummy", "CNI_NETNS=dummy", "CNI_PATH=dummy")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}, got.SupportedVersions); diff != "" {
		t.Error(diff)
	}
	if left := n.nft("list", "ruleset"); left != "" {
		t.Errorf("VERSION left behind:\n%s", left)
	}
}

// TestEveryVersion runs every verb in every version of the specification.
func TestEveryVersion(t *testing.T) {
	for _, v := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(v, func(t *testing.T) {
			n := newNode(t)
			conf := n.conf(map[string]any{"cniVersion": v, "prevResult": result(v, n.container.Path())})
			var got map[string]any
			if err := json.Unmarshal([]byte(n.ok("ADD", conf)), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(jsonOf(t, result(v, n.container.Path())), got); diff != "" {
				t.Errorf("the result is not prevResult (-want +got):\n%s", diff)
			}
			n.ok("ADD", conf)
			if v >= "0.4.0" {
				n.ok("CHECK", conf)
			} else {
				n.refused("CHECK", conf, types.ErrIncompatibleCNIVersion, "")
			}
			for _, verb := range []string{"GC", "STATUS"} {
				if v >= "1.1.0" {
					n.ok(verb, conf)
				} else {
					n.refused(verb, conf, types.ErrIncompatibleCNIVersion, "")
				}
			}
			table := n.nft("list", "ruleset")
			n.ok("DEL", conf)
			n.ok("DEL", conf, "CNI_NETNS=")
			if diff := cmp.Diff(table, n.nft("list", "ruleset")); diff != "" {
				t.Errorf("DEL changed the table, which other containers need:\n%s", diff)
			}
		})
	}
}

// jsonOf returns a value as JSON reads it.
func jsonOf(t *testing.T, v any) (out map[string]any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDelNeedsNothing deletes what was never added, with as little as a runtime may send.
func TestDelNeedsNothing(t *testing.T) {
	n := newNode(t)
	bare := map[string]any{"prevResult": nil, "dataDir": filepath.Join(n.dataDir, "none"), "backend": "unheard-of"}
	for _, netns := range []string{"", "/nowhere/at/all", os.Getenv(binEnv)} {
		n.ok("DEL", n.conf(bare), "CNI_NETNS="+netns)
	}
	if left := n.nft("list", "ruleset"); left != "" {
		t.Errorf("DEL left behind:\n%s", left)
	}
	if _, err := os.Stat(filepath.Join(n.dataDir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("DEL made a data directory: %v", err)
	}
}

func TestGC(t *testing.T) {
	n := newNode(t)
	n.ok("ADD", n.conf(nil))
	table := n.nft("list", "ruleset")
	for _, list := range []any{nil, json.RawMessage("null"), []any{}, []any{map[string]any{"containerID": "c1", "ifname": "eth0"}}} {
		conf := n.conf(map[string]any{"prevResult": nil, "cni.dev/valid-attachments": list})
		n.ok("GC", conf, "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS=")
	}
	if diff := cmp.Diff(table, n.nft("list", "ruleset")); diff != "" {
		t.Errorf("GC changed the table:\n%s", diff)
	}
}

func TestBadInput(t *testing.T) {
	n := newNode(t)
	none := filepath.Join(n.dataDir, "none")
	prev := func(change func(map[string]any)) []byte {
		r := result("1.1.0", n.container.Path())
		change(r)
		return n.conf(map[string]any{"prevResult": r})
	}
	tests := []struct {
		name  string
		verbs string
		stdin []byte
		code  uint
		words string
		env   []string
	}{
		{"no container ID", "ADD CHECK", n.conf(nil), types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID", []string{"CNI_CONTAINERID="}},
		{"no netns", "ADD CHECK", n.conf(nil), types.ErrInvalidEnvironmentVariables, "CNI_NETNS", []string{"CNI_NETNS="}},
		{"bad interface name", "ADD CHECK", n.conf(nil), types.ErrInvalidEnvironmentVariables, "interface name", []string{"CNI_IFNAME=a/b"}},
		{"garbage", "ADD CHECK DEL GC STATUS", []byte("\x00{{{"), types.ErrDecodingFailure, "", nil},
		{"300 KiB of garbage", "ADD DEL", bytes.Repeat([]byte("x"), 300<<10), types.ErrDecodingFailure, "", nil},
		{"field of another type", "ADD STATUS", n.conf(map[string]any{"snat": "yes"}), types.ErrInvalidNetworkConfig, "snat", nil},
		{"backend", "ADD CHECK STATUS", n.conf(map[string]any{"backend": "ebpf"}), types.ErrInvalidNetworkConfig, "nftables", nil},
		{"no prevResult", "ADD CHECK", n.conf(map[string]any{"prevResult": nil}), types.ErrInvalidNetworkConfig, "prevResult is missing", nil},
		{"bad prevResult", "ADD CHECK", prev(func(r map[string]any) { r["ips"] = "none" }), types.ErrDecodingFailure, "prevResult", nil},
		{"no store", "ADD CHECK", n.conf(map[string]any{"dataDir": none}), types.ErrInvalidNetworkConfig, `give "vpcCIDRs", "primary"`, nil},
		{"no such primary", "ADD", n.conf(map[string]any{"vpcCIDRs": []string{"10.0.0.0/16"}, "primary": "eth9"}), types.ErrInvalidNetworkConfig, "eth9", nil},
		{
			"an interface of no route", "ADD",
			n.conf(map[string]any{"vpcCIDRs": []string{"10.0.0.0/16"}, "primary": hostVeth, "containerInterfaces": []string{"x*"}}),
			types.ErrInvalidNetworkConfig, "no default route by " + hostVeth, nil,
		},
		{"log that cannot be", "ADD", n.conf(map[string]any{"log": map[string]any{"file": none + "/x/log"}}), types.ErrInvalidNetworkConfig, "open log", nil},
		{
			"no interface on the host", "ADD CHECK",
			prev(func(r map[string]any) { r["interfaces"].([]any)[0] = nil }),
			types.ErrInvalidNetworkConfig, "containers' interfaces: prevResult lists none", nil,
		},
	}
	for _, tt := range tests {
		for _, verb := range strings.Fields(tt.verbs) {
			t.Run(tt.name+"/"+verb, func(t *testing.T) {
				n.refused(verb, tt.stdin, tt.code, tt.words, tt.env...)
			})
		}
	}
	if left := n.nft("list", "ruleset"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	if _, err := os.Stat(none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a data directory was made: %v", err)
	}
}

// TestLargeInput shows that what a pod's annotations may weigh is read.
func TestLargeInput(t *testing.T) {
	n := newNode(t)
	conf := n.conf(map[string]any{"args": map[string]any{"annotations": strings.Repeat("a", 300<<10)}})
	n.ok("ADD", conf)
	n.ok("CHECK", conf)
}

// TestStrangeResults shows that any prevResult is passed on, and that something is written for the families alone of which the
// container has an address on its interface.
func TestStrangeResults(t *testing.T) {
	n := newNode(t)
	ip := func(address string, index any) map[string]any {
		out := map[string]any{"address": address}
		if index != nil {
			out["interface"] = index
		}
		return out
	}
	tests := []struct {
		name string
		ips  []any
		want string // the families
	}{
		{"none", []any{}, ""},
		{"IPv6", []any{ip("2001:db8:1::20/128", 1)}, "ip6"},
		{"link-local", []any{ip("fe80::20/64", 1)}, ""},
		{"index out of range", []any{ip("10.0.1.20/32", 2), ip("10.0.1.20/32", 99), ip("2001:db8:1::20/128", 2)}, ""},
		{"negative index", []any{ip("10.0.1.20/32", -1)}, ""},
		{"the host's interface", []any{ip("10.0.1.20/32", 0), ip("2001:db8:1::20/128", 0)}, ""},
		{"one of several", []any{ip("2001:db8:1::20/128", 7), ip("10.0.1.20/32", 7), ip("10.0.1.20/32", 1)}, "ip"},
		{"both", []any{ip("2001:db8:1::20/128", 1), ip("10.0.1.20/32", 1)}, "ip ip6"},
		{"no index", []any{ip("10.0.1.20/32", nil)}, "ip"},
		{"no index, IPv6", []any{ip("2001:db8:1::20/128", nil)}, "ip6"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := result("1.1.0", n.container.Path())
			r["ips"] = tt.ips
			conf := n.conf(map[string]any{"prevResult": r})
			n.ok("ADD", conf)
			n.ok("CHECK", conf)
			var got []string
			for _, table := range strings.Split(strings.TrimSpace(n.nft("list", "tables")), "\n") {
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(table, "table "), " enichain"))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("tables of %q, want %q", got, tt.want)
			}
			n.nft("flush", "ruleset")
		})
	}
}

// TestCheck removes each thing that ADD made, and wants CHECK to name it and ADD to mend it.
func TestCheck(t *testing.T) {
	n := newNode(t)
	n.ok("ADD", n.conf(nil))
	for _, tt := range []struct{ damage, want string }{
		{"delete table ip enichain", "table ip enichain is missing"},
		{"flush set ip enichain keep-podnet", "set keep-podnet of table ip enichain lacks 10.0.0.0/16"},
		{"flush set ip enichain containers-podnet", `set containers-podnet of table ip enichain lacks "pod*"`},
		{"flush chain ip enichain mark-podnet", "chain mark-podnet of table ip enichain lacks its rule 1"},
		{"delete chain ip enichain snat-podnet", "chain snat-podnet of table ip enichain is missing"},
	} {
		n.nft(tt.damage)
		n.refused("CHECK", n.conf(nil), 103, "SNAT of network podnet: "+tt.want)
		n.ok("ADD", n.conf(nil))
		n.ok("CHECK", n.conf(nil))
	}
	n.on(func() error {
		rules, err := netlink.RuleList(netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rules, func(r netlink.Rule) bool { return r.Priority == 1024 })
		if i < 0 || rules[i].Protocol != 101 {
			return fmt.Errorf("no policy rule of ours: %v", rules)
		}
		return netlink.RuleDel(&rules[i])
	})
	n.refused("CHECK", n.conf(nil), 103, `rule "1024: from all fwmark 0x80/0x80 lookup main" is missing`)
	n.ok("ADD", n.conf(nil))
	n.ok("CHECK", n.conf(nil))
}

// TestFacts shows where the facts come from.
func TestFacts(t *testing.T) {
	none := "/nowhere/at/all"
	tests := []struct {
		name   string
		fields map[string]any
		want   []string
	}{
		{"the store", nil, []string{`oifname "eth0"`, "snat to 10.0.0.10", "elements = { 10.0.0.0/16 }", `"pod*"`}},
		{
			"the configuration alone",
			map[string]any{
				"dataDir": none, "vpcCIDRs": []string{"10.9.0.0/16"}, "primary": "ens5", "primaryIP": "10.9.0.1",
				"containerInterfaces": []string{"cni0", "veth*"}, "excludeCIDRs": []string{"172.16.0.0/12"},
			},
			[]string{`oifname "ens5"`, "snat to 10.9.0.1", "elements = { 10.9.0.0/16, 172.16.0.0/12 }", `"cni0"`, `"veth*"`},
		},
		{
			"the host's own address",
			map[string]any{"dataDir": none, "includeCIDRs": []string{"0.0.0.0/0"}, "primary": "eth0"},
			[]string{`iifname "eth0"`, "snat to 10.0.0.10", "ip daddr @include-podnet"},
		},
		{"node ports alone", map[string]any{"dataDir": none, "snat": false, "primary": "eth0"}, []string{`iifname "eth0" ct state new ct status dnat`}},
		{"nothing", map[string]any{"dataDir": none, "snat": false, "nodePort": false}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			n.ok("ADD", n.conf(tt.fields))
			n.ok("CHECK", n.conf(tt.fields))
			table := n.nft("list", "ruleset")
			for _, words := range tt.want {
				if !strings.Contains(table, words) {
					t.Errorf("no %q in\n%s", words, table)
				}
			}
			if len(tt.want) == 0 && table != "" {
				t.Errorf("written:\n%s", table)
			}
		})
	}
}

// TestStatus shows the one structural failure: no nftables for us. Without CAP_NET_ADMIN the kernel answers as little as
// without the module.
func TestStatus(t *testing.T) {
	n := newNode(t)
	conf := n.conf(map[string]any{"prevResult": nil, "dataDir": "/nowhere/at/all"})
	n.ok("STATUS", conf, "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS=")
	n.user = 65534
	n.refused("STATUS", conf, types.ErrPluginNotAvailable, "reach nftables")
	n.refused("ADD", n.conf(map[string]any{"dataDir": n.dataDir, "includeCIDRs": []string{"0.0.0.0/0"}, "primary": "eth0"}), 101, "podnet")
	if left := n.nft("list", "ruleset"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

// TestManyAtOnce runs 64 ADDs at once on a node that has nothing yet.
func TestManyAtOnce(t *testing.T) {
	n := newNode(t)
	conf := n.conf(nil)
	n.on(func() error {
		var running []*exec.Cmd
		for i := range 64 {
			cmd := exec.CommandContext(t.Context(), os.Getenv(binEnv))
			cmd.Env = []string{
				"CNI_COMMAND=ADD", fmt.Sprint("CNI_CONTAINERID=c", i), "CNI_IFNAME=eth0", "CNI_NETNS=" + n.container.Path(), "CNI_PATH=/nowhere",
			}
			cmd.Stdin, cmd.Stdout = bytes.NewReader(conf), &bytes.Buffer{}
			if err := cmd.Start(); err != nil {
				return err
			}
			running = append(running, cmd)
		}
		for _, cmd := range running {
			if err := cmd.Wait(); err != nil {
				t.Errorf("ADD: %v: %s", err, cmd.Stdout)
			}
		}
		return nil
	})
	n.ok("CHECK", conf)
	if got := strings.Count(n.nft("list", "ruleset"), "snat to"); got != 1 {
		t.Errorf("%d rules translate, want 1", got)
	}
}

// TestKilled kills ADDs at any moment; the next one ends with everything in its place.
func TestKilled(t *testing.T) {
	n := newNode(t)
	conf := n.conf(nil)
	for i := range 40 {
		n.on(func() error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Getenv(binEnv))
			cmd.Env = []string{
				"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + n.container.Path(), "CNI_PATH=/nowhere",
			}
			cmd.Stdin = bytes.NewReader(conf)
			if err := cmd.Start(); err != nil {
				return err
			}
			<-time.After(time.Duration(i) * 300 * time.Microsecond) // any moment will do
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return nil
		})
		if table := n.nft("list", "ruleset"); table != "" && strings.Count(table, "comment") != 6 {
			t.Fatalf("half a table:\n%s", table)
		}
		n.nft("flush", "ruleset")
	}
	n.ok("ADD", conf)
	n.ok("CHECK", conf)
}
