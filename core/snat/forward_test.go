package snat

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
)

// forwarders are the ways in which hosts drop what they forward: how, and how the rules are listed.
var forwarders = map[string]struct{ drop, list, want string }{
	"iptables-nft": {
		"iptables-nft -P FORWARD DROP", "iptables-nft -S FORWARD",
		"-P FORWARD DROP\n-A FORWARD -i pod+ -j ACCEPT\n-A FORWARD -o pod+ -j ACCEPT\n",
	},
	"iptables-legacy": {
		"iptables-legacy -P FORWARD DROP", "iptables-legacy -S FORWARD",
		"-P FORWARD DROP\n-A FORWARD -i pod+ -j ACCEPT\n-A FORWARD -o pod+ -j ACCEPT\n",
	},
	"nftables": {
		"nft 'add table inet filter; add chain inet filter forward { type filter hook forward priority filter; policy drop; }'",
		"nft -s list chain inet filter forward | grep -o 'pod.*'", "pod*\" counter accept\npod*\" counter accept\n",
	},
}

// sh runs a command line on the node.
func (w *world) sh(line string) string {
	w.t.Helper()
	var out []byte
	var err error
	w.in(w.node, func() { out, err = exec.CommandContext(w.t.Context(), "sh", "-c", line).CombinedOutput() })
	if err != nil {
		w.t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// Where the host drops what it forwards, containers are reached and reach others all the same; rules of the host's own hold.
func TestForward(t *testing.T) {
	for name, f := range forwarders {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, netconf.NFTables)
			p := policyOf(true, true)
			w.policy(p)
			w.sh(f.drop)
			out := walk{"container to the VPC", w.pod1, "udp", vpcHostIP + ":80", pod1IP}
			in := walk{"the VPC to container", w.vpcHost, "udp", pod1IP + ":80", vpcHostIP}
			other := walk{"another's to the VPC", w.bridged, "udp", vpcHostIP + ":80", "nothing"}
			blocked := func(k walk) walk { k.want = "nothing"; return k }
			w.walks(t, blocked(out), blocked(in), other)
			p.Forward = true
			var procs sync.WaitGroup
			for range 8 {
				procs.Go(func() {
					inside(t, w.node, func(h *netstate.Handle) {
						if _, err := Apply(t.Context(), h, p); err != nil {
							t.Error(err)
						}
					})
				})
			}
			procs.Wait()
			if got := w.sh(f.list); got != f.want {
				t.Errorf("%s:\n%swant\n%s", f.list, got, f.want)
			}
			w.walks(t, out, in, other)
		})
	}
}

// A host's own rule against a container comes before ours.
func TestForwardHeedsTheHostsRules(t *testing.T) {
	w := newWorld(t, netconf.NFTables)
	w.sh("iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -s " + pod1IP + " -d " + vpcHostIP + " -j DROP")
	p := policyOf(true, true)
	p.Forward = true
	w.policy(p)
	w.walks(t, walk{"what the host forbids", w.pod1, "udp", vpcHostIP + ":80", "nothing"}, walk{"the rest", w.pod0, "udp", vpcHostIP + ":80", pod0IP})
}

// What is missing is named, put back, and not written again; a host that drops nothing gets no rule.
func TestForwardIsChecked(t *testing.T) {
	for name, f := range forwarders {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, netconf.NFTables)
			p := policyOf(true, true)
			p.Forward = true
			w.policy(p)
			if tables := w.sh("nft list tables"); strings.Contains(tables, "filter") {
				t.Errorf("a filter was made: %s", tables)
			}
			w.sh(f.drop)
			inside(t, w.node, func(h *netstate.Handle) {
				for _, want := range []string{"drops what is forwarded and lacks", ""} {
					d, err := Check(t.Context(), h, p)
					if err != nil || want == "" && d != "" || !strings.Contains(d, want) {
						t.Errorf("Check says %q, %v, want %q", d, err, want)
					}
					changed, err := Apply(t.Context(), h, p)
					if err != nil || changed != (want != "") {
						t.Errorf("changed is %v, %v, where Check says %q", changed, err, d)
					}
				}
			})
		})
	}
}

func ExamplePolicy_forward() {
	for _, r := range acceptRules([]string{"pod*"}) {
		fmt.Println(r.words())
	}
	// Output:
	// iifname "pod*" counter accept
	// oifname "pod*" counter accept
}
