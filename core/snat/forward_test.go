package snat

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/xtables"
	"github.com/enichain/enichain/core/xtables/xtablestest"
)

// forwarder is a way in which hosts drop what they forward: how, and how the rules are listed.
type forwarder struct {
	family, other    family.Family
	drop, list, want string
}

// forwarders returns them by name.
func forwarders() map[string]forwarder {
	all := map[string]forwarder{}
	for _, of := range []struct {
		family, other family.Family
		table         string
	}{{family.IPv4, family.IPv6, "ip"}, {family.IPv6, family.IPv4, "ip6"}} {
		program := xtables.Name(of.family)
		for _, v := range xtablestest.Variants() {
			name := program + "-" + string(v)
			all[name] = forwarder{
				of.family, of.other, name + " -P FORWARD DROP", name + " -S FORWARD",
				"-P FORWARD DROP\n-A FORWARD -i pod+ -j ACCEPT\n-A FORWARD -o pod+ -j ACCEPT\n",
			}
		}
		for _, table := range []string{"inet", of.table} {
			all[fmt.Sprintf("%s by nftables' %s", program, table)] = forwarder{
				of.family, of.other,
				fmt.Sprintf("nft 'add table %s filter; add chain %[1]s filter forward { type filter hook forward priority filter; policy drop; }'", table),
				fmt.Sprintf("nft -s list chain %s filter forward | grep -o 'pod.*'", table), "pod*\" counter accept\npod*\" counter accept\n",
			}
		}
	}
	return all
}

// policy is one whose containers' packets are to pass.
func (f forwarder) policy() Policy {
	p := policyOf(true, true)
	if f.family == family.IPv6 {
		p = podnet6(netconf.NFTables)
	}
	p.Forward = true
	return p
}

// walks are between the container and the VPC, out and in, and another's that is no container.
func (f forwarder) walks(w *world) (out, in, other walk) {
	const there, back, another = "container to the VPC", "the VPC to container", "another's to the VPC"
	if f.family == family.IPv6 {
		return walk{there, w.pod1, "udp", at(vpcHostIP6, 80), pod1IP6}, walk{back, w.vpcHost, "udp", at(pod1IP6, 80), vpcHostIP6},
			walk{another, w.bridged, "udp", at(vpcHostIP6, 80), "nothing"}
	}
	return walk{there, w.pod1, "udp", vpcHostIP + ":80", pod1IP}, walk{back, w.vpcHost, "udp", pod1IP + ":80", vpcHostIP},
		walk{another, w.bridged, "udp", vpcHostIP + ":80", "nothing"}
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
	for name, f := range forwarders() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, netconf.NFTables)
			p := f.policy()
			p.Forward = false
			w.policy(p)
			w.sh(f.drop)
			out, in, other := f.walks(w)
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
			inside(t, w.node, func(h *netstate.Handle) { apply(t, h, forwarder{family: f.other}.policy()) }) // whose chains drop nothing, or are these
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
	for name, f := range forwarders() {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, node: nstest.New(t), backend: netconf.NFTables}
			p := f.policy()
			var dir string
			inside(t, w.node, func(h *netstate.Handle) { dir = stamped(t, h, p) })
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
					changed, err := Ensure(t.Context(), h, p, dir)
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
