package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/core/store"
)

// translated is a node whose network wants eni-snat's rules of eni-ptp, and a container to come and go. What starts eni-snat is noted.
type translated struct {
	*node
	call   plugin
	script string // which is eni-snat
	log    string // of what it was started for
}

func newTranslated(t *testing.T, v variant) translated {
	t.Helper()
	n := newNodeOf(t, v)
	n.update(t, func(tx *store.Tx) error {
		return tx.SetNode(store.Node{InstanceID: "i-1", PrimaryENI: "eni-0", VPCCIDRs: []netip.Prefix{netip.MustParsePrefix("10.19.0.0/16")}})
	})
	conf := with(n.conf("eni-1"), map[string]any{
		"ipam": map[string]any{"type": "eni-ipam", "dataDir": n.dataDir, "cloud": "aws", "cooldown": "0s"}, "snat": map[string]any{},
	})
	bin := t.TempDir()
	tr := translated{n, plugin{id: "a", netns: nstest.New(t).Path(), conf: conf, path: bin}, filepath.Join(bin, "eni-snat"), filepath.Join(t.TempDir(), "log")}
	if err := os.Symlink(filepath.Join(os.Getenv(binEnv), "eni-ipam"), filepath.Join(bin, "eni-ipam")); err != nil {
		t.Fatal(err)
	}
	tr.install(t, "")
	return tr
}

// install installs eni-snat, which notes that it was started. before is done before it runs.
func (n translated) install(t *testing.T, before string) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\necho $CNI_COMMAND >> %s\n%s\nexec %s\n", n.log, before, filepath.Join(os.Getenv(binEnv), "eni-snat"))
	if err := os.WriteFile(n.script, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (n *node) update(t *testing.T, do func(tx *store.Tx) error) {
	t.Helper()
	if err := store.At(n.dataDir).Update(context.Background(), do); err != nil {
		t.Fatal(err)
	}
}

// sh runs a script in the node's namespace.
func (n *node) sh(t *testing.T, script string) {
	t.Helper()
	n.Do(func() error {
		if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", script, err, out)
		}
		return nil
	})
}

// started says what eni-snat was started for since it was last asked.
func (n translated) started(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(n.log)
	if err == nil {
		err = os.Remove(n.log)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// live is an ADD and a DEL, and says whether they started eni-snat.
func (n translated) live(t *testing.T) bool {
	t.Helper()
	p := n.call
	p.verb = "ADD"
	succeed(t, n.NS, p)
	p.verb = "DEL"
	succeed(t, n.NS, p)
	return len(n.started(t)) > 0
}

// settle makes ADDs until eni-snat has nothing left to write, and eni-ptp knows.
func (n translated) settle(t *testing.T) {
	t.Helper()
	if first, second := n.live(t), n.live(t); !first || !second {
		t.Fatal("eni-snat is not started where nothing is known")
	}
	if n.live(t) {
		t.Fatal("eni-snat is started where all is in place")
	}
}

// result runs ADD and returns its result as a prevResult.
func (n translated) result(t *testing.T) map[string]any {
	t.Helper()
	p := n.call
	p.verb = "ADD"
	var result map[string]any
	if err := json.Unmarshal(succeed(t, n.NS, p), &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// Where its rules are in place eni-snat is not started; where anything that they depend on has changed it is, and puts them right.
func TestEniSNATIsStartedWhereSomethingChanged(t *testing.T) {
	section := func(fields map[string]any) func(*testing.T, *translated) {
		return func(_ *testing.T, n *translated) { n.call.conf = with(n.call.conf, map[string]any{"snat": fields}) }
	}
	field := func(name, value string) func(*testing.T, *translated) {
		return func(_ *testing.T, n *translated) { n.call.conf = with(n.call.conf, map[string]any{name: value}) }
	}
	script := func(script string) func(*testing.T, *translated) {
		return func(t *testing.T, n *translated) { n.sh(t, script) }
	}
	for name, change := range map[string]func(*testing.T, *translated){
		"a rule is gone":        script("nft flush chain ip enichain snat-net"),
		"the table is gone":     script("nft delete table ip enichain"),
		"all tables are gone":   script("nft flush ruleset"),
		"another's table comes": script("nft add table ip other"),
		"a legacy table comes":  script("iptables-legacy -t filter -L"),
		"another list":          section(map[string]any{"excludeCIDRs": []string{"192.0.2.0/24"}}),
		"half of it off":        section(map[string]any{"snat": false}),
		"another VPC": func(t *testing.T, n *translated) {
			n.update(t, func(tx *store.Tx) error {
				return tx.SetNode(store.Node{InstanceID: "i-1", PrimaryENI: "eni-0", VPCCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
			})
		},
		"another address": func(t *testing.T, n *translated) {
			n.sh(t, "ip addr add 10.19.0.99/20 dev eth0")
			n.update(t, func(tx *store.Tx) error {
				eni, _, err := tx.ENI("eni-0")
				eni.PrimaryIP = netip.MustParseAddr("10.19.0.99")
				return errors.Join(err, tx.PutENI(eni))
			})
		},
		"another name of the primary interface": script("ip link set eth0 down; ip link set eth0 name uplink; ip link set uplink up; " +
			"ip route add default via 10.19.0.1"),
		"another prefix of the host veths": field("vethPrefix", "eni"),
		"another network":                  field("name", "second"),
		"another eni-snat":                 func(t *testing.T, n *translated) { n.install(t, ": which is newer") },
		"garbage for a stamp": func(t *testing.T, n *translated) {
			if err := os.WriteFile(filepath.Join(n.dataDir, "snat-by-ptp-net"), []byte("\x00"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTranslated(t, variant{})
			n.settle(t)
			change(t, &n)
			if !n.live(t) {
				t.Error("eni-snat is not started")
			}
			p := n.call
			p.verb, p.conf = "CHECK", with(n.call.conf, map[string]any{"prevResult": n.result(t)})
			succeed(t, n.NS, p)
		})
	}
}

// Where there is no number for the state, eni-snat is started each time, as it is behind eni-ptp in a list.
func TestEniSNATIsStartedEachTime(t *testing.T) {
	for name, fields := range map[string]map[string]any{
		"iptables":          {"backend": "iptables"},
		"primary interface": {"primary": "eth0"},
		"another store":     {"dataDir": "/no/such/folder", "vpcCIDRs": []string{"10.19.0.0/16"}, "primary": "eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTranslated(t, variant{})
			n.call.conf = with(n.call.conf, map[string]any{"snat": fields})
			for range 4 {
				if !n.live(t) {
					t.Error("eni-snat is not started")
				}
			}
		})
	}
}

// What the store says may change while eni-snat runs, and back later: it is not taken for what eni-snat saw.
func TestEniSNATSeesAnotherStore(t *testing.T) {
	vpc := func(cidr string) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			return tx.SetNode(store.Node{InstanceID: "i-1", PrimaryENI: "eni-0", VPCCIDRs: []netip.Prefix{netip.MustParsePrefix(cidr)}})
		}
	}
	n := newTranslated(t, variant{})
	fifo := filepath.Join(t.TempDir(), "fifo")
	n.install(t, fmt.Sprintf("[ ! -e %[1]s ] || read word < %[1]s", fifo))
	n.update(t, vpc("10.0.0.0/8"))
	n.settle(t)
	n.update(t, vpc("10.19.0.0/16"))
	// eni-snat waits until the store has again what it had, and what the rules are of.
	n.sh(t, "mkfifo "+fifo)
	p := n.call
	p.verb = "ADD"
	ended, began := make(chan *types.Error, 1), make(chan *os.File, 1)
	go func() { _, err := run(t, n.NS, p); ended <- err }()
	go func() {
		w, _ := os.OpenFile(fifo, os.O_WRONLY, 0) // once it is read
		began <- w
	}()
	select {
	case w := <-began:
		n.update(t, vpc("10.0.0.0/8"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	case err := <-ended:
		t.Fatalf("eni-snat is not started: %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	n.sh(t, "rm "+fifo)
	n.started(t)
	n.update(t, vpc("10.19.0.0/16"))
	if !n.live(t) {
		t.Error("eni-snat is not started, whose rules are of another VPC")
	}
}

// The policy rule is no matter of nftables': it is looked at each time.
func TestThePolicyRuleOfTheMarksComesBack(t *testing.T) {
	n := newTranslated(t, variant{})
	n.settle(t)
	has := func() bool {
		return slices.ContainsFunc(rules(t, n.NS), func(r string) bool { return strings.HasPrefix(r, "1024:") })
	}
	if !has() {
		t.Fatalf("the node has the rules %q", rules(t, n.NS))
	}
	n.sh(t, "ip rule del pref 1024")
	if n.live(t) || !has() {
		t.Errorf("eni-snat is started, or the node has the rules %q", rules(t, n.NS))
	}
}

// The rules that eni-ptp adds by itself are those of eni-snat's policy.
func TestMarkRulesAreThePolicys(t *testing.T) {
	for _, f := range family.All() {
		for _, said := range []string{`{}`, `{"snat": false}`, `{"nodePort": false}`, `{"snat": false, "nodePort": false}`, `{"snat": true, "nodePort": null}`} {
			conf, err := netconf.ParseSNAT([]byte(said))
			if err != nil {
				t.Fatal(err)
			}
			want := snat.Policy{Family: f, SNAT: *conf.SNAT && f == family.IPv4, NodePort: *conf.NodePort}.State().Rules
			var own section
			if err := json.Unmarshal([]byte(said), &own); err != nil {
				t.Fatal(err)
			}
			got := own.markRules([]family.Family{f})
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b layout.Rule) bool { return a == b })); diff != "" {
				t.Errorf("%s, %s (-policy +eni-ptp):\n%s", f, said, diff)
			}
		}
	}
}

// What eni-snat says is said, and nothing is left of the container.
func TestEniSNATsErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		snat any
		code uint
		want string
	}{
		"a wrong value":    {map[string]any{"backend": "ebpf"}, types.ErrInvalidNetworkConfig, `"backend" is "ebpf"`},
		"no object":        {5, types.ErrInvalidNetworkConfig, `"snat" is 5: an object is wanted`},
		"nothing":          {json.RawMessage("null"), types.ErrInvalidNetworkConfig, `"snat" is null: an object is wanted`},
		"unknown VPC":      {map[string]any{"dataDir": "/no/such/folder"}, types.ErrInvalidNetworkConfig, "no store in /no/such/folder"},
		"unknown primary":  {map[string]any{"primary": "eth9"}, types.ErrInvalidNetworkConfig, "eth9"},
		"a field's format": {map[string]any{"vpcCIDRs": "10.0.0.0/8"}, types.ErrInvalidNetworkConfig, "vpcCIDRs"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTranslated(t, variant{})
			n.settle(t)
			before := append(n.everything(t), n.owned(t)...)
			p := n.call
			p.verb, p.conf = "ADD", with(n.call.conf, map[string]any{"snat": tt.snat})
			_, err := run(t, n.NS, p)
			if err == nil || err.Code != tt.code || !strings.Contains(err.Msg, tt.want) {
				t.Errorf("ADD: %+v, want code %d and %q", err, tt.code, tt.want)
			}
			if diff := cmp.Diff(before, append(n.everything(t), n.owned(t)...)); diff != "" {
				t.Errorf("what a failed ADD left (-before +after):\n%s", diff)
			}
			p.verb = "DEL"
			succeed(t, n.NS, p)
		})
	}
}

// A container that lives stays as it is where a repeated ADD cannot start eni-snat.
func TestEniSNATIsMissing(t *testing.T) {
	onEach(t, func(t *testing.T, v variant) {
		n := newTranslated(t, v)
		n.result(t)
		before := append(n.everything(t), n.owned(t)...)
		n.sh(t, "nft flush chain ip enichain snat-net; rm "+n.script)
		p := n.call
		p.verb = "ADD"
		if _, err := run(t, n.NS, p); err == nil || err.Code != types.ErrInvalidNetworkConfig || !strings.Contains(err.Msg, "plugin eni-snat is in none") {
			t.Errorf("ADD: %+v", err)
		}
		if diff := cmp.Diff(before, append(n.everything(t), n.owned(t)...)); diff != "" {
			t.Errorf("a repeated ADD that failed (-before +after):\n%s", diff)
		}
		p.verb, p.conf = "STATUS", n.call.conf
		if _, err := run(t, n.NS, p); err == nil || err.Code != 50 || !strings.Contains(err.Msg, "plugin eni-snat is in none") {
			t.Errorf("STATUS: %+v", err)
		}
		p.verb = "DEL"
		succeed(t, n.NS, p)
	})
}

// CHECK and STATUS are eni-snat's too; DEL and GC are not.
func TestCheckAndStatusAskEniSNAT(t *testing.T) {
	onEach(t, func(t *testing.T, v variant) {
		n := newTranslated(t, v)
		result := n.result(t)
		n.started(t)
		p := n.call
		verb := func(verb string, want ...string) {
			t.Helper()
			p.verb = verb
			succeed(t, n.NS, p)
			if got := n.started(t); !slices.Equal(want, got) {
				t.Errorf("%s starts eni-snat for %q, not %q", verb, got, want)
			}
		}
		p.conf = with(n.call.conf, map[string]any{"prevResult": result})
		verb("CHECK", "CHECK")
		n.sh(t, "nft flush chain ip enichain snat-net")
		if _, err := run(t, n.NS, p); err == nil || err.Code != 103 || !strings.Contains(err.Msg, "snat-net") {
			t.Errorf("CHECK of a chain that was flushed: %v", err)
		}
		n.started(t)
		p.conf = n.call.conf
		verb("STATUS", "STATUS")
		p.conf = with(n.call.conf, map[string]any{"cni.dev/valid-attachments": []any{map[string]any{"containerID": "a", "ifname": "eth0"}}})
		verb("GC")
		p.conf = with(n.call.conf, map[string]any{"snat": map[string]any{"backend": "ebpf"}})
		p.verb = "STATUS"
		if _, err := run(t, n.NS, p); err == nil || !strings.Contains(err.Msg, "ebpf") {
			t.Errorf("STATUS with a backend that is none: %v", err)
		}
		n.started(t)
		verb("DEL")
	})
}

// Above another IPAM there is no store to tell anything: eni-snat is started each time, whatever version is spoken.
func TestEniSNATAboveAnotherIPAM(t *testing.T) {
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		n := newTranslated(t, variant{})
		conf := with(hostLocal(t), map[string]any{
			"cniVersion": version, "snat": map[string]any{"primary": "eth0", "includeCIDRs": []string{"0.0.0.0/0"}},
		})
		n.call.conf = conf
		if err := os.Symlink(filepath.Join(os.Getenv(binEnv), "host-local"), filepath.Join(n.call.path, "host-local")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if !n.live(t) {
				t.Errorf("%s: eni-snat is not started", version)
			}
		}
	}
}
