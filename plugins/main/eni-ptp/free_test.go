package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/netstate/nstest"
)

// A free address is taken, and given back, where eni-ipam is not even installed; all that is more is eni-ipam's.
func TestAFreeAddressNeedsNoEniIPAM(t *testing.T) {
	n := newNode(t)
	conf := func(more map[string]any) map[string]any {
		ipam := map[string]any{"type": "eni-ipam", "dataDir": n.dataDir, "cloud": "aws"}
		return with(n.conf("eni-1"), map[string]any{"ipam": with(ipam, more)})
	}
	ns := nstest.New(t)
	p := plugin{id: "a", netns: ns.Path(), path: t.TempDir(), args: "K8S_POD_NAME=cart", conf: conf(nil)}
	first := add(t, n.NS, p)
	if again := add(t, n.NS, p); !first.IPs[0].Address.IP.Equal(again.IPs[0].Address.IP) {
		t.Errorf("a second ADD has %s, the first %s", again.IPs[0].Address, first.IPs[0].Address)
	}
	if owned := n.owned(t); len(owned) != 1 || !strings.HasPrefix(owned[0], "a ") {
		t.Errorf("after ADD containers have %q", owned)
	}
	for range 2 {
		p.verb = "DEL"
		succeed(t, n.NS, p)
		if owned := n.owned(t); len(owned) > 0 {
			t.Errorf("after DEL containers have %q", owned)
		}
	}
	before := n.everything(t)
	for name, tt := range map[string]struct {
		verb string
		more map[string]any
		args string
	}{
		"an address that the pool does not know": {verb: "ADD", args: "IP=10.1.2.3"},
		"a pool below its least":                 {verb: "ADD", more: map[string]any{"warm": map[string]any{"min": 1000}}},
		"no address of a family":                 {verb: "ADD", more: map[string]any{"families": []string{"ipv4", "ipv6"}}},
		"a configuration that is wrong":          {verb: "ADD", more: map[string]any{"batch": -1}},
		"a log that cannot be":                   {verb: "ADD", more: map[string]any{"log": map[string]any{"file": "/no/such/folder/log"}}},
		"a store that is not there":              {verb: "ADD", more: map[string]any{"dataDir": t.TempDir()}},
		"a pool that may have too much":          {verb: "DEL", more: map[string]any{"warm": map[string]any{"max": 1}}},
	} {
		p.verb, p.conf, p.args = tt.verb, conf(tt.more), tt.args
		if _, err := run(t, n.NS, p); err == nil || !strings.Contains(err.Msg, "plugin eni-ipam is") {
			t.Errorf("%s is not left to eni-ipam: %v", name, err)
		}
	}
	if diff := cmp.Diff(before, append(n.everything(t), n.owned(t)...)); diff != "" {
		t.Errorf("what was left to eni-ipam has changed the node (-before +after):\n%s", diff)
	}
}
