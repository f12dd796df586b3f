package snat

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/core/netstate/nstest"
)

// walk is one request, and what the far end is to see of it.
type walk struct {
	name    string
	from    *nstest.NS
	network string
	to      string
	want    string
}

// walks makes each walk. Those that no answer is to come to are waited for together.
func (w *world) walks(t *testing.T, walks ...walk) {
	t.Helper()
	var silent sync.WaitGroup
	for _, k := range walks {
		if k.want == "nothing" {
			silent.Go(func() { w.walk(t, k, silence) })
			continue
		}
		w.walk(t, k, enough)
	}
	silent.Wait()
}

func (w *world) walk(t *testing.T, k walk, wait time.Duration) {
	t.Helper()
	if got := w.ask(k.from, k.network, k.to, wait); got != k.want {
		t.Errorf("%s: %s to %s: the far end saw %s, want %s", k.name, k.network, k.to, got, k.want)
	}
}

// policyOf is a policy for the world's VPC.
func policyOf(snat, nodePort bool) Policy {
	p := podnet()
	p.SNAT, p.NodePort = snat, nodePort
	p.Keep = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	return p
}

// TestTraffic shows, on each backend, what becomes of packets. The tests share a world: that its links carry packets takes
// longer than most of them.
func TestTraffic(t *testing.T) {
	onBackends(t, func(t *testing.T, backend string) {
		shared := newWorld(t, backend)
		for _, tt := range []struct {
			name string
			test func(*testing.T, *world)
		}{
			{"outbound", outbound},
			{"destinations", keepAndInclude},
			{"services", services},
			{"node ports", nodePort},
			{"foreign bits", foreignBits},
			{"established", established},
			{"IPv6", nodePort6},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w := *shared
				w.t = t
				w.clean()
				tt.test(t, &w)
			})
		}
	})
}

// outbound is the recipe "Pod to External", and what must not change beside it.
func outbound(t *testing.T, w *world) {
	t.Helper()
	w.walks(t,
		walk{"before: the VPC drops it", w.pod1, "udp", internetIP + ":80", "nothing"},
		walk{"before: from the primary ENI it finds no way back", w.pod0, "udp", internetIP + ":80", "nothing"},
	)
	w.policy(policyOf(true, true))
	for _, network := range []string{"tcp", "udp"} {
		w.walks(t,
			walk{"to the internet, secondary ENI", w.pod1, network, internetIP + ":80", nodeIP},
			walk{"to the internet, primary ENI", w.pod0, network, internetIP + ":80", nodeIP},
			walk{"to a peer beyond the VPC", w.pod1, network, peerIP + ":80", nodeIP},
			walk{"to a VPC host, secondary ENI", w.pod1, network, vpcHostIP + ":80", pod1IP},
			walk{"to a VPC host, primary ENI", w.pod0, network, vpcHostIP + ":80", pod0IP},
			walk{"to another container", w.pod1, network, pod0IP + ":80", pod1IP},
			walk{"to the node", w.pod1, network, nodeIP + ":80", pod1IP},
			walk{"from the node to a container", w.node, network, pod1IP + ":80", nodeIP},
			walk{"from a VPC host to a container", w.vpcHost, network, pod1IP + ":80", vpcHostIP},
			walk{"from beyond the VPC to a container's own address", w.peer, network, pod1IP + ":80", peerIP},
			walk{"from the node to the internet", w.node, network, internetIP + ":80", nodeIP},
			walk{"from what is no container", w.bridged, network, peerIP + ":80", bridgedIP},
		)
	}
	w.walks(t,
		walk{"to the metadata service", w.pod1, "tcp", metadataIP + ":80", nodeIP},
		walk{"ping the internet", w.pod1, "icmp", internetIP, "answered"},
		walk{"ping the VPC", w.pod1, "icmp", vpcHostIP, "answered"},
		walk{"an ICMP error comes back", w.pod1, "udp", internetIP + ":81", "refused"},
		walk{"a reset comes back", w.pod1, "tcp", internetIP + ":81", "refused"},
	)
}

// keepAndInclude shows the lists of destinations.
func keepAndInclude(t *testing.T, w *world) {
	t.Helper()
	prefix := netip.MustParsePrefix
	p := policyOf(true, false)
	p.Keep = append(p.Keep, prefix("172.16.0.0/24"))
	w.policy(p)
	w.walks(t,
		walk{"excluded", w.pod1, "tcp", peerIP + ":80", pod1IP},
		walk{"not excluded", w.pod1, "tcp", internetIP + ":80", nodeIP},
	)
	p.Include, p.Keep = []netip.Prefix{prefix("172.16.0.0/24"), prefix("10.0.2.0/24")}, nil
	w.policy(p)
	w.walks(t,
		walk{"included", w.pod1, "tcp", peerIP + ":80", nodeIP},
		walk{"included, in the VPC", w.pod1, "tcp", vpcHostIP + ":80", nodeIP},
		walk{"not included", w.pod1, "tcp", internetIP + ":80", "nothing"},
	)
	p.Keep = []netip.Prefix{prefix(vpcHostIP + "/32")}
	w.policy(p)
	w.walks(t,
		walk{"included but for one", w.pod1, "tcp", vpcHostIP + ":80", pod1IP},
		walk{"included", w.pod1, "tcp", peerIP + ":80", nodeIP},
	)
}

// kubeProxy is what kube-proxy makes of Services, in either of its modes: destinations are translated at -100, and what
// was marked with 0x4000 is masqueraded at 100.
const kubeProxy = `
	table ip kube-proxy {
		chain destinations {
			type nat hook prerouting priority -100;
			ip daddr 10.100.0.1 tcp dport 80 dnat to ` + internetIP + `:80
			ip daddr 10.100.0.1 udp dport 80 dnat to ` + internetIP + `:80
			ip daddr 10.100.0.2 tcp dport 80 dnat to ` + vpcHostIP + `:80
			ip daddr 172.20.0.1 tcp dport 80 dnat to ` + vpcHostIP + `:80
			ip daddr ` + balancerIP + ` tcp dport 80 dnat to ` + pod1IP + `:80
			fib daddr type local tcp dport 30080 dnat to ` + pod1IP + `:80
			fib daddr type local udp dport 30080 dnat to ` + pod1IP + `:80
			fib daddr type local udp dport 30081 dnat to ` + pod1IP + `:81
			fib daddr type local tcp dport 30082 meta mark set meta mark or 0x4000 dnat to ` + pod1IP + `:80
			fib daddr type local tcp dport 30083 dnat to ` + pod0IP + `:80
			ip daddr 10.100.0.3 tcp dport 80 meta mark set meta mark or 0x4000 dnat to ` + pod1IP + `:80
		}
		chain sources {
			type nat hook postrouting priority 100;
			meta mark and 0x4000 == 0 return
			meta mark set meta mark xor 0x4000
			masquerade
		}
	}`

// kubeProxyText is the same in iptables' words, with the names and the order of kube-proxy and portmap.
const kubeProxyText = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d 10.100.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination ` + internetIP + `:80
-A KUBE-SERVICES -d 10.100.0.1/32 -p udp -m udp --dport 80 -j DNAT --to-destination ` + internetIP + `:80
-A KUBE-SERVICES -d 10.100.0.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination ` + vpcHostIP + `:80
-A KUBE-SERVICES -d 172.20.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination ` + vpcHostIP + `:80
-A KUBE-SERVICES -d ` + balancerIP + `/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination ` + pod1IP + `:80
-A KUBE-SERVICES -d 10.100.0.3/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d 10.100.0.3/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination ` + pod1IP + `:80
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p udp -m udp --dport 30080 -j DNAT --to-destination ` + pod1IP + `:80
-A KUBE-NODEPORTS -p udp -m udp --dport 30081 -j DNAT --to-destination ` + pod1IP + `:81
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30082 -j KUBE-MARK-MASQ
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30082 -j DNAT --to-destination ` + pod1IP + `:80
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30083 -j DNAT --to-destination ` + pod0IP + `:80
-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 30080 -j DNAT --to-destination ` + pod1IP + `:80
COMMIT
`

// proxies are the ways in which Services come to a node.
func (w *world) proxies() map[string]func() {
	return map[string]func(){
		"kube-proxy on nftables": func() { w.rules(kubeProxy) },
		"kube-proxy on iptables": func() {
			w.in(w.node, func() { commandWith(w.t, kubeProxyText, "iptables-restore", "--noflush") })
		},
	}
}

// services shows that the decision is made of the real destination, whoever comes first.
func services(t *testing.T, w *world) {
	t.Helper()
	for _, first := range []bool{true, false} {
		for name, proxy := range w.proxies() {
			t.Run(fmt.Sprintf("%s, first: %v", name, first), func(t *testing.T) {
				w.clean()
				if first {
					proxy()
				}
				w.policy(policyOf(true, true))
				if !first {
					proxy()
				}
				w.walks(t,
					walk{"Service address in the VPC's range, endpoint beyond", w.pod1, "tcp", "10.100.0.1:80", nodeIP},
					walk{"the same, where no packet is sent twice", w.pod1, "udp", "10.100.0.1:80", nodeIP},
					walk{"the same, primary ENI", w.pod0, "tcp", "10.100.0.1:80", nodeIP},
					walk{"endpoint in the VPC", w.pod1, "tcp", "10.100.0.2:80", pod1IP},
					walk{"Service address beyond the VPC, endpoint in it", w.pod1, "tcp", "172.20.0.1:80", pod1IP},
					// The reply needs a source to be masqueraded with: eth0's, the only one of global scope that routing offers.
					walk{"itself through a Service", w.pod1, "tcp", "10.100.0.3:80", nodeIP},
					walk{"node port of its own node", w.pod0, "tcp", nodeIP + ":30080", pod0IP},
					walk{"from the internet to a node port", w.internet, "tcp", nodeIP + ":30080", internetIP},
					walk{"to a balancer's address", w.internet, "tcp", balancerIP + ":80", internetIP},
				)
			})
		}
	}
}

// nodePort is the recipe's other half: what entered by the primary ENI is answered by it, wherever the container is.
func nodePort(t *testing.T, w *world) {
	t.Helper()
	w.proxies()["kube-proxy on "+w.backend]()
	for _, tt := range []struct {
		name           string
		snat, nodePort bool
	}{{"both", true, true}, {"without SNAT", false, true}, {"without node ports", true, false}} {
		t.Run(tt.name, func(t *testing.T) {
			w.policy(policyOf(tt.snat, tt.nodePort))
			// The answer of a container on the secondary ENI leaves by that, from the primary's address, if nobody cares.
			client := func(ip string) string {
				if tt.nodePort {
					return ip
				}
				return "nothing"
			}
			refused, outside := client("refused"), "nothing"
			if tt.snat {
				outside = nodeIP
			}
			w.walks(t,
				walk{"from the internet", w.internet, "tcp", nodeIP + ":30080", client(internetIP)},
				walk{"from the internet, UDP", w.internet, "udp", nodeIP + ":30080", client(internetIP)},
				walk{"from the VPC", w.vpcHost, "tcp", nodeIP + ":30080", client(vpcHostIP)},
				walk{"to a balancer's address", w.internet, "tcp", balancerIP + ":80", client(internetIP)},
				walk{"masqueraded", w.internet, "tcp", nodeIP + ":30082", client(nodeIP)},
				walk{"container on the primary ENI", w.internet, "tcp", nodeIP + ":30083", internetIP},
				walk{"ICMP error of the container", w.internet, "udp", nodeIP + ":30081", refused},
				walk{"the node itself", w.internet, "tcp", nodeIP + ":80", internetIP},
				walk{"the container's own connections", w.pod1, "tcp", internetIP + ":80", outside},
				walk{"to the VPC", w.pod1, "tcp", vpcHostIP + ":80", pod1IP},
			)
		})
	}
}

// foreignBits shows that other bits of both marks survive, in both directions, and that multicast is not marked.
func foreignBits(t *testing.T, w *world) {
	t.Helper()
	w.rules(kubeProxy, `
		table ip foreign {
			counter out { }
			counter back { }
			counter entered { }
			counter answered { }
			counter multicast { }
			chain before {
				type filter hook prerouting priority -160;
				meta mark set 0x00340000
				ct state new ct mark set 0xabcd0001
			}
			chain routed {
				type filter hook prerouting priority -80;
				ip daddr 224.0.0.251 ct mark == 0xabcd0001 meta mark == 0x00340000 counter name multicast
			}
			chain after {
				type filter hook postrouting priority 300;
				iifname "pod*" oifname "eth0" ip daddr `+internetIP+` ct direction original ct mark == 0xabcd0081 meta mark == 0x00340080 counter name out
				iifname "eth0" oifname "pod*" ip saddr `+internetIP+` ct direction reply ct mark == 0xabcd0081 meta mark == 0x00340000 counter name back
				iifname "eth0" oifname "pod*" ip saddr `+vpcHostIP+` ct direction original ct mark == 0xabcd0081 meta mark == 0x00340000 counter name entered
				iifname "pod*" oifname "eth0" ip daddr `+vpcHostIP+` ct direction reply ct mark == 0xabcd0081 meta mark == 0x00340080 counter name answered
			}
		}`)
	w.policy(policyOf(true, true))
	w.walks(t,
		walk{"to the internet", w.pod1, "udp", internetIP + ":80", nodeIP},
		walk{"to the node port", w.vpcHost, "udp", nodeIP + ":30080", vpcHostIP},
		walk{"multicast", w.pod1, "udp", "224.0.0.251:80", "nothing"},
	)
	for _, name := range []string{"out", "back", "entered", "answered", "multicast"} {
		var counted string
		w.in(w.node, func() { counted = nft(t, "list", "counter", "ip", "foreign", name) })
		if strings.Contains(counted, "packets 0 ") {
			t.Errorf("no packet %q had the marks wanted:\n%s", name, counted)
		}
	}
}

// established shows that connections outlive a table that is written anew, and that an address that comes into the
// VPC later does not tear what goes to it.
func established(t *testing.T, w *world) {
	t.Helper()
	w.policy(policyOf(true, true))
	ask := w.conversation(w.pod1, peerIP+":80")
	if got := ask(); got != nodeIP {
		t.Fatalf("the peer saw %s, want %s", got, nodeIP)
	}
	w.damage()
	p := policyOf(true, true)
	p.Keep = append(p.Keep, netip.MustParsePrefix("172.16.0.0/16"))
	w.policy(p)
	if got := ask(); got != nodeIP {
		t.Errorf("later the peer saw %s, want %s", got, nodeIP)
	}
	w.walks(t, walk{"a new connection", w.pod1, "udp", peerIP + ":80", pod1IP})
}
