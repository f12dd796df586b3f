package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// prepared is a node whose ENIs all were prepared, so that what a container adds can be told apart.
func prepared(t testing.TB) *node { return preparedOf(t, variant{}) }

func preparedOf(t testing.TB, v variant) *node {
	t.Helper()
	n := newNodeOf(t, v)
	for _, p := range ports() {
		call := plugin{id: "warm-" + p.eni.ID, netns: nstest.New(t).Path(), conf: n.conf(p.eni.ID)}
		add(t, n.NS, call)
		call.verb = "DEL"
		succeed(t, n.NS, call)
	}
	return n
}

// A DEL works with whatever is left, and leaves nothing, over a store and over host-local.
func TestDel(t *testing.T) { onEach(t, delOn) }

func delOn(t *testing.T, v variant) {
	// The kernel takes the namespace's links away in the background, before the DEL or after.
	gone := func(_ *node, ns *nstest.NS, _ *plugin) { ns.Close() }
	tests := []struct {
		name   string
		before func(n *node, ns *nstest.NS, p *plugin)
		noADD  bool
		result bool // the runtime hands the result back
	}{
		{name: "before any ADD", noADD: true, before: func(*node, *nstest.NS, *plugin) {}},
		{name: "before any ADD, without a namespace", noADD: true, before: func(_ *node, _ *nstest.NS, p *plugin) { p.netns = "" }},
		{name: "with a result", result: true, before: func(*node, *nstest.NS, *plugin) {}},
		{name: "without a result", before: func(*node, *nstest.NS, *plugin) {}},
		{name: "without a namespace", before: func(_ *node, _ *nstest.NS, p *plugin) { p.netns = "" }},
		{name: "after the namespace went, with a result", result: true, before: gone},
		{name: "after the namespace went, without a result", before: gone},
		{name: "a plain file where the namespace was", before: func(n *node, _ *nstest.NS, p *plugin) {
			p.netns = filepath.Join(n.dataDir, "state.db")
		}},
		{name: "after the veth went", result: true, before: func(n *node, _ *nstest.NS, _ *plugin) {
			n.Do(func() error { return delLink(layout.Identify("pod", "a", "eth0").Veth) })
		}},
		{name: "after the veth went, without a result", before: func(n *node, _ *nstest.NS, _ *plugin) {
			n.Do(func() error { return delLink(layout.Identify("pod", "a", "eth0").Veth) })
		}},
		{name: "an unreadable result", before: func(_ *node, _ *nstest.NS, p *plugin) {
			p.conf = with(p.conf, map[string]any{"prevResult": map[string]any{"cniVersion": "9.9"}})
		}},
		{name: "a configuration that an ADD refuses", before: func(_ *node, _ *nstest.NS, p *plugin) {
			p.conf = with(p.conf, map[string]any{"mtu": 1, "routing": "ospf"})
		}},
	}
	for _, ipam := range []string{"eni-ipam", "host-local"} {
		for _, tt := range tests {
			t.Run(ipam+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				n := preparedOf(t, v)
				before := n.everything(t)
				ns := nstest.New(t)
				p := plugin{id: "a", netns: ns.Path(), conf: n.conf("eni-1")}
				if ipam == "host-local" {
					p.conf = v.of(hostLocal(t))
				}
				if !tt.noADD {
					if r := add(t, n.NS, p); tt.result {
						p.conf = with(p.conf, map[string]any{"prevResult": r})
					}
				}
				tt.before(n, ns, &p)
				p.verb = "DEL"
				succeed(t, n.NS, p)
				succeed(t, n.NS, p)
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

// Where nothing was ever allocated, a DEL makes no store.
func TestDelMakesNoStore(t *testing.T) {
	n := newNode(t)
	dir := filepath.Join(t.TempDir(), "none")
	conf := with(n.conf("eni-1"), map[string]any{"ipam": map[string]any{"type": "eni-ipam", "dataDir": dir}})
	succeed(t, n.NS, plugin{verb: "DEL", id: "a", conf: conf})
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was made: %v", dir, err)
	}
}

// What the store cannot tell, DEL does not guess: it fails, in words that no runtime takes for success.
func TestDelWithADamagedStore(t *testing.T) {
	n := newNode(t)
	p := plugin{id: "a", netns: nstest.New(t).Path(), conf: n.conf("eni-1")}
	add(t, n.NS, p)
	if err := os.Truncate(store.At(n.dataDir).Path(), 5000); err != nil {
		t.Fatal(err)
	}
	p.verb = "DEL"
	_, err := run(t, n.NS, p)
	if err == nil || strings.Contains(err.Msg, "not found") || strings.Contains(err.Msg, "no such file") {
		t.Errorf("unexpected error: %v", err)
	}
}

// IPAM's refusal comes through, and the next DEL finishes.
func TestDelWhenIPAMFails(t *testing.T) {
	n := prepared(t)
	before := n.everything(t)
	p := plugin{id: "a", netns: nstest.New(t).Path(), conf: n.conf("eni-1")}
	add(t, n.NS, p)
	whole := p.conf
	p.verb = "DEL"
	p.conf = with(whole, map[string]any{"ipam": with(whole["ipam"].(map[string]any), map[string]any{"fail": "DEL"})})
	if _, err := run(t, n.NS, p); err == nil || err.Code != 11 || !strings.Contains(err.Msg, "give the address back: eni-ipam DEL: the stand-in") {
		t.Errorf("unexpected error: %v", err)
	}
	p.conf = whole
	succeed(t, n.NS, p)
	if diff := cmp.Diff(before, n.everything(t)); diff != "" {
		t.Errorf("left on the host (-before +after):\n%s", diff)
	}
}

// The runtime is late with A's DEL: B has the address now and keeps all that it has. Over a store, the store says so;
// over host-local, B's route does.
func TestALateDelHarmsNobody(t *testing.T) { onEach(t, aLateDelHarmsNobodyOn) }

func aLateDelHarmsNobodyOn(t *testing.T, v variant) {
	n := preparedOf(t, v)
	ns, other := nstest.New(t), nstest.New(t)
	conf := n.conf("eni-1")
	a := plugin{id: "a", netns: ns.Path(), conf: conf}
	a.conf = with(conf, map[string]any{"prevResult": add(t, n.NS, a)})
	err := store.At(n.dataDir).Update(context.Background(), func(tx *store.Tx) error {
		b := store.Owner{Network: "net", ContainerID: "b", IfName: "eth0"}
		if _, err := tx.Release(store.Owner{Network: "net", ContainerID: "a", IfName: "eth0"}, 0); err != nil {
			return err
		}
		_, err := tx.TakeThis(netip.MustParseAddr("10.19.16.6"), b, store.Sandbox{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b := plugin{id: "b", netns: other.Path(), conf: conf}
	b.conf = with(conf, map[string]any{"prevResult": add(t, n.NS, b)})
	lateDel(t, n, a, b, other)
}

func TestALateDelHarmsNobodyOverHostLocal(t *testing.T) {
	onLayouts(t, aLateDelHarmsNobodyOverHostLocalOn)
}

func aLateDelHarmsNobodyOverHostLocalOn(t *testing.T, v variant) {
	n := preparedOf(t, v)
	ns, other := nstest.New(t), nstest.New(t)
	conf := v.of(hostLocal(t))
	a := plugin{id: "a", netns: ns.Path(), conf: conf}
	r := add(t, n.NS, a)
	a.conf = with(conf, map[string]any{"prevResult": r})
	dir := filepath.Join(conf["ipam"].(map[string]any)["dataDir"].(string), "other")
	if err := os.RemoveAll(dir); err != nil { // A's reservation is lost
		t.Fatal(err)
	}
	b := plugin{id: "b", netns: other.Path(), conf: conf}
	result := add(t, n.NS, b)
	if result.IPs[0].Address.String() != r.IPs[0].Address.String() {
		t.Fatalf("B has %s, not A's %s", result.IPs[0].Address.String(), r.IPs[0].Address.String())
	}
	b.conf = with(conf, map[string]any{"prevResult": result})
	lateDel(t, n, a, b, other)
}

func lateDel(t *testing.T, n *node, a, b plugin, in *nstest.NS) {
	t.Helper()
	for range 2 {
		a.verb = "DEL"
		succeed(t, n.NS, a)
	}
	b.verb = "CHECK"
	succeed(t, n.NS, b)
	if _, err := ping(t, in, "", nodeIP); err != nil {
		t.Error(err)
	}
	n.Do(func() error {
		if _, err := netlink.LinkByName(layout.Identify("pod", "a", "eth0").Veth); err == nil {
			t.Error("A's veth is still there")
		}
		return nil
	})
}

// Another's rule at our preference, with our selector, is not ours to remove.
func TestAForeignRuleSurvives(t *testing.T) { onLayouts(t, aForeignRuleSurvivesOn) }

func aForeignRuleSurvivesOn(t *testing.T, v variant) {
	n := preparedOf(t, v)
	n.Do(func() error { return addRule(1536, "10.19.16.6/32", 77, 4) })
	before := n.everything(t)
	p := plugin{id: "a", netns: nstest.New(t).Path(), conf: n.conf("eni-1")}
	add(t, n.NS, p)
	p.verb = "DEL"
	succeed(t, n.NS, p)
	if diff := cmp.Diff(before, n.everything(t)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
	if !slices.Contains(before, "1536: from 10.19.16.6 lookup 77") {
		t.Errorf("the foreign rule is not in %q", before)
	}
}

// A stale rule of an earlier owner, which would win, goes with the next ADD.
func TestAStaleRuleGoes(t *testing.T) { onEach(t, aStaleRuleGoesOn) }

func aStaleRuleGoesOn(t *testing.T, v variant) {
	n := preparedOf(t, v)
	n.Do(func() error {
		return errors.Join(addRule(1536, "10.19.16.6/32", 3, layout.Protocol), addRule(1536, "10.19.16.9/32", 3, layout.Protocol))
	})
	for _, id := range []string{"a", "b"} {
		ns := nstest.New(t)
		add(t, n.NS, plugin{id: id, netns: ns.Path(), conf: n.conf("eni-1")})
		if _, err := ping(t, ns, "", otherIP); err != nil {
			t.Error(err)
		}
	}
}

func TestGC(t *testing.T) { onLayouts(t, gCOn) }

func gCOn(t *testing.T, v variant) {
	list := func(ids ...string) any {
		out := []any{}
		for _, id := range ids {
			out = append(out, map[string]any{"containerID": id, "ifname": "eth0"})
		}
		return out
	}
	tests := []struct {
		name string
		keys map[string]any
		want []string // the containers that stay
	}{
		{"a list", map[string]any{"cni.dev/valid-attachments": list("a", "gone")}, []string{"a", "gone"}},
		{"the old spelling", map[string]any{"cni.dev/attachments": list("b")}, []string{"b"}},
		{"no list: what is provably dead goes", nil, []string{"a", "b"}},
		{"an empty list", map[string]any{"cni.dev/valid-attachments": []any{}}, nil},
		{"null", map[string]any{"cni.dev/valid-attachments": json.RawMessage("null")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := preparedOf(t, v)
			before := n.everything(t)
			dead := nstest.New(t)
			// A path of its own: the descriptor's number, and the namespace's, are soon another's.
			gone := filepath.Join(t.TempDir(), "netns")
			if err := os.Symlink(dead.Path(), gone); err != nil {
				t.Fatal(err)
			}
			for id, c := range map[string]struct{ path, eni string }{
				"a":    {nstest.New(t).Path(), "eni-1"},
				"b":    {nstest.New(t).Path(), "eni-2"},
				"gone": {gone, "eni-1"},
			} {
				add(t, n.NS, plugin{id: id, netns: c.path, conf: n.conf(c.eni)})
			}
			// Another network's attachments are none of this one's business.
			stranger := plugin{id: "stranger", netns: nstest.New(t).Path(), conf: with(n.conf("eni-0"), map[string]any{"name": "another"})}
			stranger.conf = with(stranger.conf, map[string]any{"prevResult": add(t, n.NS, stranger)})
			dead.Close()
			if err := os.Remove(gone); err != nil {
				t.Fatal(err)
			}
			n.awaitNoLink(t, layout.Identify("pod", "gone", "eth0").Veth)
			conf := with(n.conf("eni-1"), tt.keys)
			succeed(t, n.NS, plugin{verb: "GC", conf: conf})
			succeed(t, n.NS, plugin{verb: "GC", conf: conf})
			wantLeft(t, n, before, tt.want, tt.keys == nil)
			stranger.verb = "CHECK"
			succeed(t, n.NS, stranger)
		})
	}
}

// awaitNoLink waits until the kernel has taken away the link of a namespace that is gone.
func (n *node) awaitNoLink(t *testing.T, name string) {
	t.Helper()
	n.Do(func() error {
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, err := h.LinkByName(name); errors.Is(err, netstate.ErrNoLink) {
				return nil
			}
		}
		return fmt.Errorf("%s is still there", name)
	})
}

// wantLeft wants rules and addresses of the containers named, and of no other but the stranger. The stand-in for IPAM
// releases nothing without a list.
func wantLeft(t *testing.T, n *node, before, want []string, noList bool) {
	t.Helper()
	got := 0
	for _, line := range n.everything(t) {
		own := strings.HasPrefix(line, "512:")
		if n.variant.routing == netconf.PerENI {
			own = strings.Contains(line, " dev podX")
		}
		if own && !slices.Contains(before, line) {
			got++
		}
	}
	rest := len(want)
	if n.variant.routing == netconf.PerENI && slices.Contains(want, "gone") {
		rest-- // it had no more than a route, which went with the link
	}
	if got != rest+1 {
		t.Errorf("%d containers have rules, not %d and the stranger", got, rest)
	}
	if noList {
		return
	}
	var owners []string
	for _, line := range n.owned(t) {
		if id := strings.Fields(line)[0]; id != "stranger" {
			owners = append(owners, id)
		}
	}
	slices.Sort(owners)
	if diff := cmp.Diff(want, owners); diff != "" {
		t.Errorf("unexpected owners (-want +got):\n%s", diff)
	}
}

// A network of host-local's has no store: the veths' aliases tell whose they are.
func TestGCOverHostLocal(t *testing.T) { onLayouts(t, gCOverHostLocalOn) }

func gCOverHostLocalOn(t *testing.T, v variant) {
	n := preparedOf(t, v)
	before := n.everything(t)
	conf := v.of(hostLocal(t))
	for _, id := range []string{"a", "b"} {
		add(t, n.NS, plugin{id: id, netns: nstest.New(t).Path(), conf: conf})
	}
	// host-local 1.9 has no GC, and answers success.
	succeed(t, n.NS, plugin{verb: "GC", conf: with(conf, map[string]any{"cni.dev/valid-attachments": []any{}})})
	if diff := cmp.Diff(before, n.everything(t)); diff != "" {
		t.Errorf("left on the host (-before +after):\n%s", diff)
	}
}

// killedAt runs a plugin, which is killed with -9 at a message to the kernel's network; ended says that it had no such message.
func (n *node) killedAt(t *testing.T, step int, verb, id, ifName, netns string, conf map[string]any) (ended bool) {
	t.Helper()
	bin := os.Getenv(binEnv)
	input, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=sendto",
		"-e", fmt.Sprintf("inject=sendto:signal=SIGKILL:when=%d", step), filepath.Join(bin, "eni-ptp"))
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_NETNS=" + netns, "CNI_IFNAME=" + ifName, "CNI_PATH=" + bin,
		"PATH=" + os.Getenv("PATH"),
	}
	cmd.Stdin = strings.NewReader(string(input))
	n.Do(func() error { err = cmd.Run(); return nil })
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err == nil
}

// kill -9 at each message to the kernel's network: the DEL that follows brings host and store back to where they were.
func TestKilledAtEachStep(t *testing.T) { onEach(t, killedAtEachStepOn) }

func killedAtEachStepOn(t *testing.T, v variant) {
	n := preparedOf(t, v)
	before := n.everything(t)
	for step := 1; ; step++ {
		ns := nstest.New(t)
		ended := n.killedAt(t, step, "ADD", "a", "eth0", ns.Path(), n.conf("eni-1"))
		succeed(t, n.NS, plugin{verb: "DEL", id: "a", netns: ns.Path(), conf: n.conf("eni-1")})
		if diff := cmp.Diff(before, n.everything(t)); diff != "" {
			t.Errorf("killed at step %d: left on the host (-before +after):\n%s", step, diff)
		}
		if owned := n.owned(t); len(owned) > 0 {
			t.Errorf("killed at step %d: left in the store: %v", step, owned)
		}
		if ended {
			if step < 12 {
				t.Errorf("an ADD sends only %d times: this test shows nothing", step-1)
			}
			break
		}
	}
}

// A DEL that is killed leaves nothing behind the next DEL, or behind a GC, which knows an attachment over host-local by its veth alone;
// nor in a container that lives on.
func TestDelKilledAtEachStep(t *testing.T) {
	for _, ipam := range []string{"eni-ipam", "host-local"} {
		t.Run(ipam, func(t *testing.T) {
			n := prepared(t)
			conf := n.conf("eni-1")
			if ipam == "host-local" {
				conf = hostLocal(t)
			}
			before := n.everything(t)
			for step := 1; ; step++ {
				ns, id := nstest.New(t), fmt.Sprint("a", step) // host-local, which has no GC, keeps its address
				result := add(t, n.NS, plugin{id: id, netns: ns.Path(), conf: conf})
				ended := n.killedAt(t, step, "DEL", id, "eth0", ns.Path(), with(conf, map[string]any{"prevResult": result}))
				if step%2 == 0 {
					succeed(t, n.NS, plugin{verb: "DEL", id: id, netns: ns.Path(), conf: conf})
				} else {
					succeed(t, n.NS, plugin{verb: "GC", conf: with(conf, map[string]any{"cni.dev/valid-attachments": []any{}})})
				}
				if diff := cmp.Diff(before, n.everything(t)); diff != "" {
					t.Errorf("killed at step %d: left on the host (-before +after):\n%s", step, diff)
				}
				if ended && step > 6 {
					break
				}
			}
		})
	}
}

// What a killed DEL leaves in a container that lives on goes with the next DEL.
func TestSecondDelKilledAtEachStep(t *testing.T) {
	n := prepared(t)
	for step := 1; ; step++ {
		c := attachTwice(t, n, n.conf("eni-1"), n.conf("eni-2"))
		before := rules(t, c.NS)
		second := c.second
		ended := n.killedAt(t, step, "DEL", second.id, second.ifName, second.netns, second.conf)
		second.verb = "DEL"
		succeed(t, n.NS, second)
		for _, rule := range rules(t, c.NS) {
			if strings.Contains(rule, "net1") || strings.Contains(rule, c.result.IPs[0].Address.IP.String()) {
				t.Errorf("killed at step %d: %q is left of %v", step, rule, before)
			}
		}
		first := c.first
		first.verb = "DEL"
		succeed(t, n.NS, first)
		if len(before) == 0 {
			t.Error("the second interface has no rules in the container: this test shows nothing")
		}
		if ended {
			break
		}
	}
}
