package snat

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// The world's addresses of IPv6, all of them public, and the fabric's on every link.
const (
	nodeIP6     = "2001:db8:1::10"
	eth1IP6     = "2001:db8:1:1::10"
	pod0IP6     = "2001:db8:1::20"
	pod1IP6     = "2001:db8:1:1::20"
	bridgedIP6  = "2001:db8:1::30"
	vpcHostIP6  = "2001:db8:1:2::9"
	internetIP6 = "2001:db8:99::9"
	balancerIP6 = "2001:db8:77::5"
	fabricIP6   = "fe80:ec2::1"
)

// at is a port of an IPv6 address.
func at(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// podnet6 is what the network of podnet wants in IPv6, on a backend.
func podnet6(backend string) Policy {
	return Policy{Network: "podnet", Family: family.IPv6, Backend: backend, NodePort: true, Primary: "eth0", Containers: []string{"pod*"}}
}

// kubeProxy6 is kubeProxy for IPv6.
const kubeProxy6 = `
	table ip6 kube-proxy {
		chain destinations {
			type nat hook prerouting priority -100;
			ip6 daddr ` + balancerIP6 + ` tcp dport 80 dnat to [` + pod1IP6 + `]:80
			fib daddr type local tcp dport 30080 dnat to [` + pod1IP6 + `]:80
			fib daddr type local udp dport 30080 dnat to [` + pod1IP6 + `]:80
			fib daddr type local udp dport 30081 dnat to [` + pod1IP6 + `]:81
			fib daddr type local tcp dport 30082 meta mark set meta mark or 0x4000 dnat to [` + pod1IP6 + `]:80
			fib daddr type local tcp dport 30083 dnat to [` + pod0IP6 + `]:80
			ip6 daddr fd00:100::3 tcp dport 80 meta mark set meta mark or 0x4000 dnat to [` + pod1IP6 + `]:80
		}
		chain sources {
			type nat hook postrouting priority 100;
			meta mark and 0x4000 == 0 return
			meta mark set meta mark xor 0x4000
			masquerade
		}
	}`

// kubeProxyText6 is the same in ip6tables' words.
const kubeProxyText6 = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d ` + balancerIP6 + ` -p tcp -m tcp --dport 80 -j DNAT --to-destination [` + pod1IP6 + `]:80
-A KUBE-SERVICES -d fd00:100::3 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d fd00:100::3 -p tcp -m tcp --dport 80 -j DNAT --to-destination [` + pod1IP6 + `]:80
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j DNAT --to-destination [` + pod1IP6 + `]:80
-A KUBE-NODEPORTS -p udp -m udp --dport 30080 -j DNAT --to-destination [` + pod1IP6 + `]:80
-A KUBE-NODEPORTS -p udp -m udp --dport 30081 -j DNAT --to-destination [` + pod1IP6 + `]:81
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30082 -j KUBE-MARK-MASQ
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30082 -j DNAT --to-destination [` + pod1IP6 + `]:80
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30083 -j DNAT --to-destination [` + pod0IP6 + `]:80
COMMIT
`

// nodePort6 shows that what entered by the primary ENI is answered by it, and that all else of IPv6 leaves by the container's own
// ENI with its own address; the VPC drops what does otherwise.
func nodePort6(t *testing.T, w *world) {
	t.Helper()
	if w.backend == netconf.IPTables {
		w.in(w.node, func() { commandWith(w.t, kubeProxyText6, "ip6tables-restore", "--noflush") })
	} else {
		w.rules(kubeProxy6)
	}
	for _, tt := range []struct {
		name     string
		policies []Policy
		answered bool
	}{
		{"IPv4 alone", []Policy{policyOf(true, true)}, false},
		{"both families", []Policy{policyOf(true, true), podnet6(w.backend)}, true},
		{"without node ports", []Policy{policyOf(true, false), func() Policy { p := podnet6(w.backend); p.NodePort = false; return p }()}, false},
		{"IPv6 alone", []Policy{policyOf(true, true).off(), podnet6(w.backend)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, p := range tt.policies {
				w.policy(p)
			}
			// The answer of a container on the secondary ENI leaves by that, from the primary's address, if nobody cares.
			client := func(ip string) string {
				if tt.answered {
					return ip
				}
				return "nothing"
			}
			w.walks(t,
				walk{"from the internet", w.internet, "tcp", at(nodeIP6, 30080), client(internetIP6)},
				walk{"from the internet, UDP", w.internet, "udp", at(nodeIP6, 30080), client(internetIP6)},
				walk{"from the VPC", w.vpcHost, "tcp", at(nodeIP6, 30080), client(vpcHostIP6)},
				walk{"to a balancer's address", w.internet, "tcp", at(balancerIP6, 80), client(internetIP6)},
				// Masqueraded with the host's address that is most like the container's (RFC 6724, rule 8).
				walk{"masqueraded", w.internet, "tcp", at(nodeIP6, 30082), client(eth1IP6)},
				walk{"container on the primary ENI", w.internet, "tcp", at(nodeIP6, 30083), internetIP6},
				walk{"ICMP error of the container", w.internet, "udp", at(nodeIP6, 30081), client("refused")},
				walk{"the node itself", w.internet, "tcp", at(nodeIP6, 80), internetIP6},
				walk{"to a container's own address", w.internet, "tcp", at(pod1IP6, 80), internetIP6},
				walk{"to a container's own address on the primary ENI", w.internet, "tcp", at(pod0IP6, 80), internetIP6},
				walk{"the container's own connections", w.pod1, "tcp", at(internetIP6, 80), pod1IP6},
				walk{"those of a container on the primary ENI", w.pod0, "udp", at(internetIP6, 80), pod0IP6},
				walk{"to the VPC", w.pod1, "udp", at(vpcHostIP6, 80), pod1IP6},
				walk{"to another container", w.pod1, "tcp", at(pod0IP6, 80), pod1IP6},
				walk{"to the node", w.pod1, "tcp", at(nodeIP6, 80), pod1IP6},
				walk{"node port of its own node", w.pod0, "tcp", at(nodeIP6, 30080), pod0IP6},
				walk{"itself through a Service", w.pod1, "tcp", at("fd00:100::3", 80), eth1IP6},
				walk{"from the node to a container", w.node, "udp", at(pod1IP6, 80), eth1IP6},
				walk{"from what is no container", w.bridged, "tcp", at(internetIP6, 80), bridgedIP6},
			)
		})
	}
}

// TestIPv6Heals damages what a backend has of IPv6, and wants Check to name the damage with its family, and Apply to mend it;
// and the other family's to stay as it is.
func TestIPv6Heals(t *testing.T) {
	mangle := "ip6tables' table mangle"
	const rule = `IPv6 rule "1024: from all fwmark 0x80/0x80 lookup main" is missing`
	tests := map[string][]struct{ damage, want string }{
		netconf.NFTables: {
			{"nft delete table ip6 enichain", "table ip6 enichain is missing"},
			{"nft add table ip6 enichain { flags dormant\\; }", "table ip6 enichain is dormant"},
			{"nft flush set ip6 enichain containers-podnet", `set containers-podnet of table ip6 enichain lacks "pod*"`},
			{"nft flush chain ip6 enichain mark-podnet", "chain mark-podnet of table ip6 enichain lacks its rule 1: iifname"},
			{"nft delete chain ip6 enichain snat-podnet", "chain snat-podnet of table ip6 enichain is missing"},
			{
				`nft insert rule ip6 enichain snat-podnet iifname @containers-podnet accept`,
				"chain snat-podnet of table ip6 enichain has another rule 1 than: iifname @containers-podnet oifname != @containers-podnet",
			},
			{"nft add set ip6 enichain keep-podnet { type ipv6_addr\\; }", "set keep-podnet of table ip6 enichain is not wanted"},
			{"ip -6 rule del pref 1024", rule},
		},
		netconf.IPTables: {
			{"ip6tables -t mangle -F; ip6tables -t mangle -X", "chain ENI-PRE-podnet of " + mangle + " is missing"},
			{"ip6tables -t mangle -D ENI-POD-podnet 1", "chain ENI-POD-podnet of " + mangle + " lacks its rule 1: -m connmark"},
			{"ip6tables -t mangle -D FORWARD 1", "chain FORWARD of " + mangle + " lacks"},
			{"ip6tables -t mangle -N ENI-DST-podnet", "chain ENI-DST-podnet of " + mangle + " is not wanted"},
			{"ip -6 rule del pref 1024", rule},
		},
	}
	onBackends(t, func(t *testing.T, backend string) {
		inside(t, nstest.New(t), func(h *netstate.Handle) {
			p, four := podnet6(backend), podnet()
			four.Backend = backend
			apply(t, h, four)
			if !apply(t, h, p) || apply(t, h, p) || apply(t, h, four) {
				t.Error("not the first apply alone wrote, or one family undid the other's")
			}
			sound := everything(t)
			for _, tt := range tests[backend] {
				command(t, "sh", "-c", tt.damage)
				if d := check(t, h, p); !strings.Contains(d, tt.want) {
					t.Errorf("%s: check says %q, want ...%s...", tt.damage, d, tt.want)
				}
				if d := check(t, h, four); d != "" {
					t.Errorf("%s: check of IPv4 says %q", tt.damage, d)
				}
				apply(t, h, p)
				if d := check(t, h, p); d != "" {
					t.Errorf("%s: check after apply says %q", tt.damage, d)
				}
				if diff := cmp.Diff(sound, everything(t)); diff != "" {
					t.Errorf("%s: apply made others:\n%s", tt.damage, diff)
				}
			}
		})
	})
}

// everything lists what all backends have of eni-snat in both families, in any order, and the policy rules.
func everything(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, line := range lines(command(t, "sh", "-c", `
		nft list tables ip | grep -q enichain && nft list table ip enichain | sed s/^/4/
		nft list tables ip6 | grep -q enichain && nft list table ip6 enichain | sed s/^/6/
		for p in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do $p-save | grep -e ENI- -e enichain | sed "s/^/$p /"; done
		ip -4 rule | sed s/^/4/; ip -6 rule | sed s/^/6/`)) {
		out = append(out, strings.TrimSpace(line))
	}
	return sorted(strings.Join(out, "\n"))
}

// TestIPv6OfNetworks shows that networks leave each other's part of IPv6 alone, that they may come at once, and that nothing
// is left of one that is switched off, in whatever backend it was.
func TestIPv6OfNetworks(t *testing.T) {
	onBackends(t, func(t *testing.T, backend string) {
		ns := nstest.New(t)
		other := podnet6(backend)
		other.Network, other.Containers, other.Closed = "other", []string{"oth*"}, true
		four := podnet()
		four.Backend = backend
		all := []Policy{podnet6(backend), other, four}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				inside(t, ns, func(h *netstate.Handle) {
					if _, err := Apply(t.Context(), h, all[i%3]); err != nil {
						t.Errorf("apply of %s: %v", all[i%3], err)
					}
				})
			})
		}
		wg.Wait()
		inside(t, ns, func(h *netstate.Handle) {
			for _, p := range all {
				if apply(t, h, p) {
					t.Errorf("%s is not settled", p)
				}
			}
			rules, err := h.Rules()
			if err != nil {
				t.Fatal(err)
			}
			marks := map[family.Family]int{}
			for _, r := range rules {
				if r.Pref == layout.PrefMark {
					marks[r.Family()]++
				}
			}
			if marks[family.IPv4] != 1 || marks[family.IPv6] != 1 {
				t.Errorf("rules of preference %d: %v, want one a family", layout.PrefMark, marks)
			}
			apply(t, h, podnet6(backend).off())
			for _, p := range all[1:] {
				if d := check(t, h, p); d != "" {
					t.Errorf("check of %s after another was switched off says %q", p, d)
				}
			}
			for _, line := range everything(t) {
				six := strings.HasPrefix(line, "6") || strings.HasPrefix(line, "ip6")
				if six && strings.Contains(line, "podnet") {
					t.Errorf("left of the network that was switched off: %s", line)
				}
			}
		})
	})
}
