package neighbours

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

// tunedMAC is the address that tuning gives a container's interface; hostPort is the port that portmap opens.
const (
	tunedMAC      = "c2:b0:57:49:47:f1"
	hostPort      = 18080
	containerPort = 8080
)

// neighbour is a plugin of others, chained behind ours.
type neighbour struct {
	conf string
	// works shows that the plugin did its work for the container, which is at ip, for that address.
	works func(t *testing.T, s *site, c *lab.Host, ip netip.Addr)
}

func neighbours() map[string]neighbour {
	return map[string]neighbour{
		"portmap":   {`{"type": "portmap", "capabilities": {"portMappings": true}}`, portIsMapped},
		"bandwidth": {`{"type": "bandwidth", "capabilities": {"bandwidth": true}}`, bandwidthIsBounded},
		"tuning":    {`{"type": "tuning", "capabilities": {"mac": true}, "mtu": 1400, "sysctl": {"net.ipv4.tcp_keepalive_time": "77"}}`, isTuned},
		"firewall":  {`{"type": "firewall", "backend": "iptables"}`, passesTheFirewall},
		"sbr":       {`{"type": "sbr"}`, isRoutedBySource},
	}
}

// order is that of the plugins all together.
func order() []string { return []string{"portmap", "bandwidth", "firewall", "tuning", "sbr"} }

// capabilities are what a runtime hands to all of them.
func capabilities() []chain.Option {
	return []chain.Option{
		chain.WithCapability("portMappings", []map[string]any{{"hostPort": hostPort, "containerPort": containerPort, "protocol": "tcp"}}),
		chain.WithCapability("bandwidth", map[string]any{
			"ingressRate": bandwidth, "ingressBurst": burst, "egressRate": bandwidth, "egressBurst": burst,
		}),
		chain.WithCapability("mac", tunedMAC),
	}
}

// Each of the reference plugins behind ours, with addresses of both families, and all of them, with IPv4 alone too: each does
// its work, the container talks as without it, CHECK passes, and DEL and GC leave nothing.
func TestChained(t *testing.T) {
	t.Parallel()
	const all, allOfBoth = "all", "all, both families"
	// The rules per ENI need a program on the veth, where bandwidth has a qdisc, or nftables.
	layouts := map[string]string{
		", per-eni by tcx": `"routing": "per-eni", "marking": "tcx"`, ", per-eni by nftables": `"routing": "per-eni", "marking": "nftables"`,
	}
	tests := append(order(), all, allOfBoth)
	for layout := range layouts {
		tests = append(tests, allOfBoth+layout, "bandwidth"+layout)
	}
	for _, name := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layout := ""
			for suffix, is := range layouts {
				if short, has := strings.CutSuffix(name, suffix); has {
					name, layout = short, is
				}
			}
			chained, main := []string{name}, both(eniPTP)
			switch name {
			case all:
				chained, main = order(), eniPTP
			case allOfBoth:
				chained = order()
			}
			s := newSite(t, lab.Options{IPv6: true})
			// Without eni-snat's own opening of a node's filter: firewall is to open it.
			ptp := main
			if layout != "" {
				ptp = strings.Replace(main, `"type": "eni-ptp"`, `"type": "eni-ptp", `+layout, 1)
			}
			plugins := []string{ptp, `{"type": "eni-snat", "forward": false}`}
			for _, n := range chained {
				plugins = append(plugins, neighbours()[n].conf)
			}
			r := s.network(t, list("enichain", plugins...))
			// On a node that has filters of its own: firewall opens them for its containers.
			filtered := slices.Contains(chained, "firewall")
			if filtered {
				sh(t, &s.node.Host, "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP")
			}
			ip := s.assign(t, 1, 1)[0]
			s.warm(t, r, append(capabilities(), chain.WithIP(ip))...)
			if filtered {
				// It opens nothing for what comes in: the chain for that is the operator's.
				sh(t, &s.node.Host, "iptables -A CNI-ADMIN -d 10.19.16.0/20 -j ACCEPT")
				if main != eniPTP {
					sh(t, &s.node.Host, "ip6tables -A CNI-ADMIN -d 2001:db8:19:b::/64 -j ACCEPT")
				}
			}
			before := s.state(t)
			c := s.node.Container("c")
			ips := chain.IPs(runIn(t, r, "c", append(capabilities(), chain.WithIP(ip))...))
			if dual := len(ips) == 2; dual != (main != eniPTP) {
				t.Fatalf("the container has %s", ips)
			}
			for _, ip := range ips {
				s.wantVPC(t, c, ip)
				reach(t, c, s.Internet, s.of(ip).internet, ip, s.of(ip).seen)
				for _, n := range chained {
					neighbours()[n].works(t, s, c, ip)
				}
			}
			check(t, r, "c", capabilities()...)
			if err := r.Status(t.Context()); err != nil {
				t.Error(err)
			}
			del(t, r, "c", capabilities()...)
			del(t, r, "c")
			s.unchanged(t, before)
			s.gcOfTheDead(t, r, ip, before)
		})
	}
}

// gcOfTheDead lets a container's namespace go without a DEL, and collects it. libcni's GC runs DEL for what its cache knows,
// from the last plugin to the first, which is ours, and stops where one fails, as sbr does without a namespace (cni#924);
// then GC, by which ours goes all the same. The reference plugins have none.
func (s *site) gcOfTheDead(t *testing.T, r *chain.Runtime, ip netip.Addr, before []string) {
	t.Helper()
	if _, err := r.Run(t.Context(), "dead", append(capabilities(), chain.WithIP(ip))...); err != nil {
		t.Fatal(err)
	}
	if err := s.node.DelNetns("dead"); err != nil {
		t.Fatal(err)
	}
	valid := types.GCAttachment{ContainerID: "live", IfName: chain.IfName}
	err := r.GC(t.Context(), valid)
	switch {
	case err == nil:
		s.settles(t, before)
	case strings.Contains(err.Error(), "sbr"):
		if diff := cmp.Diff(withoutOthers(before), withoutOthers(s.state(t))); diff != "" {
			t.Errorf("GC left (-before +after):\n%s", diff)
		}
	default:
		t.Error(err)
	}
	if got := chain.IPs(runIn(t, r, "live", append(capabilities(), chain.WithIP(ip))...))[0]; got != ip {
		t.Errorf("after GC a container gets %s, not %s", got, ip)
	}
}

// withoutOthers leaves out of a state what portmap, firewall and bandwidth make.
func withoutOthers(state []string) []string {
	return slices.DeleteFunc(slices.Clone(state), func(line string) bool {
		return strings.HasPrefix(line, "nft: ") || strings.Contains(line, ": bwp")
	})
}

// portIsMapped calls the port of the node from the VPC and from the internet; both are seen as they are.
func portIsMapped(t *testing.T, s *site, c *lab.Host, ip netip.Addr) {
	t.Helper()
	labtest.Serve(t, c, ip, containerPort)
	p := s.of(ip)
	for from, at := range map[*lab.Host]netip.Addr{s.far(): p.far, s.Internet: p.internet} {
		got, err := labtest.Call(t, from, netip.AddrPortFrom(p.node, hostPort), probe.From{})
		if err != nil || got != at {
			t.Errorf("%s calls the mapped port and is seen as %s: %v", from.Name, got, err)
		}
	}
}

// The bound of each way, in bits per second and bits. A burst must hold a packet of 9001 bytes.
const (
	bandwidth = 8 << 20
	burst     = 256 << 10
)

// bandwidthIsBounded sends to and fro, and wants the time that the bound makes it take. The limit is each way's own.
func bandwidthIsBounded(t *testing.T, s *site, c *lab.Host, ip netip.Addr) {
	t.Helper()
	for _, way := range []struct {
		from, to *lab.Host
		at       netip.Addr
		bind     probe.From
	}{{s.far(), c, ip, probe.From{}}, {c, s.far(), s.of(ip).far, probe.From{Address: ip}}} {
		const bytes = 384 << 10
		server := labtest.Serve(t, way.to, way.at, 0)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := way.from.Do(func() error {
			_, err := probe.CallTCP(ctx, server.Addr(), way.bind, make([]byte, bytes))
			return err
		})
		least := time.Duration(float64(bytes*8-2*burst) / bandwidth * float64(time.Second) / 2)
		if took := time.Since(begin); err != nil || took < least {
			t.Errorf("%d bytes from %s at %d bit/s took %v, want %v at the least: %v", bytes, way.from.Name, bandwidth, took, least, err)
		}
	}
}

// isTuned looks for the MAC, the MTU and the sysctl that tuning was told to set.
func isTuned(t *testing.T, _ *site, c *lab.Host, _ netip.Addr) {
	t.Helper()
	link := sh(t, c, "ip -o link show eth0")
	if !strings.Contains(link, tunedMAC) || !strings.Contains(link, "mtu 1400 ") {
		t.Errorf("not tuned: %s", link)
	}
	if got := sh(t, c, "cat /proc/sys/net/ipv4/tcp_keepalive_time"); got != "77" {
		t.Errorf("tcp_keepalive_time is %s", got)
	}
}

// passesTheFirewall shows that the node's filter drops what firewall did not open.
func passesTheFirewall(t *testing.T, s *site, c *lab.Host, ip netip.Addr) {
	t.Helper()
	far, iptables := s.of(ip).far, "iptables"
	if ip.Is6() {
		iptables = "ip6tables"
	}
	labtest.MustPing(t, c, far, probe.From{Address: ip})
	rule := fmt.Sprintf("CNI-FORWARD -s %s -j ACCEPT", ip)
	sh(t, &s.node.Host, iptables+" -D "+rule)
	if _, err := labtest.Ping(t, c, far, probe.From{Address: ip}); err == nil {
		t.Error("the node's filter drops nothing: this test shows nothing")
	}
	sh(t, &s.node.Host, iptables+" -A "+rule)
}

// isRoutedBySource shows sbr's table in the place of main.
func isRoutedBySource(t *testing.T, s *site, c *lab.Host, ip netip.Addr) {
	t.Helper()
	show, gateway, table := "ip route", "169.254.1.1", 100
	if ip.Is6() {
		show, gateway, table = "ip -6 route", "fe80::1", 101 // a table an address
	}
	if got := sh(t, c, fmt.Sprintf("%s show table %d", show, table)); !strings.Contains(got, "default via "+gateway+" dev eth0") {
		t.Errorf("sbr's table is %q", got)
	}
	if got := sh(t, c, show+" show default"); got != "" {
		t.Errorf("sbr left in main: %s", got)
	}
	labtest.MustPing(t, c, s.of(ip).far, probe.From{Address: ip})
}

// All of them behind a second interface, whose routes sbr takes for its own: CHECK passes, each address works as before, and the
// first network knows nothing of it.
func TestChainedOnASecondInterface(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Options{})
	sh(t, &s.node.Host, "iptables -P FORWARD DROP")
	var chained []string
	for _, n := range order() {
		chained = append(chained, neighbours()[n].conf)
	}
	first := s.network(t, list("first", eniPTP, eniSNAT, neighbours()["firewall"].conf))
	routed := strings.Replace(eniPTP, `"ipam"`, `"routes": [{"dst": "172.30.0.0/16"}], "ipam"`, 1)
	r, err := first.Network(list("second", append([]string{routed, eniSNAT}, chained...)...))
	if err != nil {
		t.Fatal(err)
	}
	p1, p2 := s.assign(t, 1, 1)[0], s.assign(t, 2, 1)[0]
	options := append(capabilities(), chain.As(second), chain.WithIP(p2))
	s.warm(t, r, options...)
	sh(t, &s.node.Host, "iptables -A CNI-ADMIN -d 10.19.0.0/16 -j ACCEPT; iptables -A CNI-ADMIN -s 10.19.0.11 -j ACCEPT")
	runIn(t, first, "c", chain.WithIP(p1))
	addTo(t, r, "c", options...)
	c := s.node.Container("c")
	for _, ip := range []netip.Addr{p1, p2} {
		s.wantVPC(t, c, ip)
		reach(t, c, s.Internet, internet, ip, node1Primary)
	}
	for _, n := range []string{"portmap", "bandwidth"} {
		neighbours()[n].works(t, s, c, p2)
	}
	check(t, r, "c", options...)
	check(t, first, "c")
	del(t, r, "c", options...)
	s.wantVPC(t, c, p1)
	check(t, first, "c")
}
