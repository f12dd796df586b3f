package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// translated is a node whose network wants eni-snat's rules of eni-ptp, and a container to come and go.
type translated struct {
	*node
	call plugin
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
	return translated{n, plugin{id: "a", netns: nstest.New(t).Path(), conf: conf}}
}

func (n *node) update(t *testing.T, do func(tx *store.Tx) error) {
	t.Helper()
	if err := store.At(n.dataDir).Update(context.Background(), do); err != nil {
		t.Fatal(err)
	}
}

// sh runs a script in the node's namespace.
func (n *node) sh(t *testing.T, script string) string {
	t.Helper()
	var out []byte
	n.Do(func() (err error) { out, err = exec.Command("sh", "-c", script).CombinedOutput(); return err })
	return string(out)
}

// live is an ADD and a DEL, without eni-snat where it is not to be started.
func (n translated) live(t *testing.T, without bool) *types.Error {
	t.Helper()
	p := n.call
	if p.verb = "ADD"; without {
		p.path = t.TempDir()
	}
	_, failed := run(t, n.NS, p)
	p.verb, p.path = "DEL", ""
	succeed(t, n.NS, p)
	return failed
}

// settle makes ADDs until eni-snat has nothing left to write, and has said so.
func (n translated) settle(t *testing.T) {
	t.Helper()
	for range 2 {
		if err := n.live(t, false); err != nil {
			t.Fatalf("%s; %s", err.Msg, err.Details)
		}
	}
	if err := n.live(t, true); err != nil {
		t.Fatalf("eni-snat is started where all is in place: %s", err.Msg)
	}
}

// Where its rules are in place eni-snat is not started, and so need not even be installed; where anything that they depend on has changed it
// is, and puts them right.
func TestEniSNATIsStartedWhereSomethingChanged(t *testing.T) {
	snat := func(fields map[string]any) func(*testing.T, *translated) {
		return func(_ *testing.T, n *translated) { n.call.conf = with(n.call.conf, map[string]any{"snat": fields}) }
	}
	script := func(script string) func(*testing.T, *translated) {
		return func(t *testing.T, n *translated) { n.sh(t, script) }
	}
	learn := func(learn func(tx *store.Tx) error) func(*testing.T, *translated) {
		return func(t *testing.T, n *translated) { n.update(t, learn) }
	}
	for name, change := range map[string]func(*testing.T, *translated){
		"a rule is gone":        script("nft flush chain ip enichain snat-net"),
		"the table is gone":     script("nft delete table ip enichain"),
		"all tables are gone":   script("nft flush ruleset"),
		"another's table comes": script("nft add table ip other"),
		"a legacy table comes":  script("iptables-legacy -t filter -L"),
		"another list":          snat(map[string]any{"excludeCIDRs": []string{"192.0.2.0/24"}}),
		"half of it off":        snat(map[string]any{"snat": false}),
		"another VPC": learn(func(tx *store.Tx) error {
			return tx.SetNode(store.Node{InstanceID: "i-1", PrimaryENI: "eni-0", VPCCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		}),
		"another address": func(t *testing.T, n *translated) {
			n.sh(t, "ip addr add 10.19.0.99/20 dev eth0")
			n.update(t, func(tx *store.Tx) error {
				eni, _, err := tx.ENI("eni-0")
				eni.PrimaryIP = netip.MustParseAddr("10.19.0.99")
				return errors.Join(err, tx.PutENI(eni))
			})
		},
		"another name of the primary interface": script("ip link set eth0 down; ip link set eth0 name uplink; ip link set uplink up"),
		"another prefix of the host veths": func(_ *testing.T, n *translated) {
			n.call.conf = with(n.call.conf, map[string]any{"vethPrefix": "eni"})
		},
		"another network": func(_ *testing.T, n *translated) { n.call.conf = with(n.call.conf, map[string]any{"name": "second"}) },
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
			if err := n.live(t, true); err == nil || !strings.Contains(err.Msg, "plugin eni-snat is in none") {
				t.Fatalf("eni-snat is not started: %v", err)
			}
			if err := n.live(t, false); err != nil {
				t.Fatalf("%s; %s", err.Msg, err.Details)
			}
			n.call.verb = "ADD"
			result := n.result(t)
			n.call.verb, n.call.conf = "CHECK", with(n.call.conf, map[string]any{"prevResult": result})
			succeed(t, n.NS, n.call)
		})
	}
}

// result runs the plugin and returns its result as a prevResult.
func (n translated) result(t *testing.T) map[string]any {
	t.Helper()
	var result map[string]any
	if err := json.Unmarshal(succeed(t, n.NS, n.call), &result); err != nil {
		t.Fatal(err)
	}
	return result
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
			for range 3 {
				if err := n.live(t, false); err != nil {
					t.Fatalf("%s; %s", err.Msg, err.Details)
				}
			}
			if err := n.live(t, true); err == nil || !strings.Contains(err.Msg, "plugin eni-snat is in none") {
				t.Errorf("eni-snat is not started: %v", err)
			}
		})
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
	if err := n.live(t, true); err != nil || !has() {
		t.Errorf("%v; the node has the rules %q", err, rules(t, n.NS))
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

// CHECK and STATUS are eni-snat's too.
func TestCheckAndStatusAskEniSNAT(t *testing.T) {
	onEach(t, func(t *testing.T, v variant) {
		n := newTranslated(t, v)
		p := n.call
		n.call.verb = "ADD"
		p.verb, p.conf = "CHECK", with(n.call.conf, map[string]any{"prevResult": n.result(t)})
		succeed(t, n.NS, p)
		n.sh(t, "nft flush chain ip enichain snat-net")
		if _, err := run(t, n.NS, p); err == nil || !strings.Contains(err.Msg, "snat-net") {
			t.Errorf("CHECK of a chain that was flushed: %v", err)
		}
		p.verb, p.conf = "STATUS", n.call.conf
		succeed(t, n.NS, p)
		p.conf = with(n.call.conf, map[string]any{"snat": map[string]any{"backend": "ebpf"}})
		if _, err := run(t, n.NS, p); err == nil || !strings.Contains(err.Msg, "ebpf") {
			t.Errorf("STATUS with a backend that is none: %v", err)
		}
		n.call.verb = "DEL"
		succeed(t, n.NS, n.call)
	})
}
