package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
	"github.com/enichain/enichain/test/vpcsim"
)

// Hosts as they are: set up by others, before us and beside us.

// sh runs a command line on a host.
func sh(t *testing.T, h *lab.Host, line string) {
	t.Helper()
	if out, err := h.Output(t.Context(), nil, "sh", "-c", line); err != nil {
		t.Fatalf("%s: %s: %v\n%s", h.Name, line, err, out)
	}
}

// enictl runs the operator's tool in a node, which may find something amiss, and returns what it says.
func enictl(t *testing.T, n *lab.Node, args ...string) string {
	t.Helper()
	out, err := n.Output(t.Context(), n.Env(), bin.Path("enictl"), args...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("enictl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// A node whose filter drops what is forwarded, as Docker's does: containers are reached and reach others, by whatever variant
// of iptables the policy was set.
func TestAForwardPolicyOfDrop(t *testing.T) { onClouds(t, aForwardPolicyOfDrop) }

func aForwardPolicyOfDrop(t *testing.T, cloud string) {
	for _, program := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(program, func(t *testing.T) {
			l := upLab(t, lab.Options{Cloud: cloud})
			n := l.Nodes[0]
			sh(t, &n.Host, program+" -P FORWARD DROP")
			bare := onNode(t, n, on(cloud, fmt.Sprintf(whole, `, "manage": "all"`, `, "forward": false`)))
			runIn(t, bare, "bare")
			if _, err := ping(t, n.Container("bare"), node2Primary, probe.From{}); err == nil {
				t.Error("the policy drops nothing")
			}
			if said := enictl(t, n, "doctor"); !strings.Contains(said, "BAD   chain FORWARD of ") {
				t.Errorf("doctor does not say it:\n%s", said)
			}
			r := onNode(t, n, on(cloud, fmt.Sprintf(whole, `, "manage": "all"`, "")))
			ip := runIn(t, r, "c1")
			mustPing(t, n.Container("c1"), node2Primary, probe.From{})
			mustPing(t, n.Container("c1"), internet, probe.From{})
			mustPing(t, &l.Nodes[1].Host, ip, probe.From{})
			if err := r.Check(t.Context(), "c1"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A host whose ip_forward is 1 and whose interfaces do not forward all the same: so the kernel leaves it now and then where
// two processes switch forwarding on at once.
func TestForwardingThatIsNotInEffect(t *testing.T) {
	if err := bin.AddOutside("github.com/containernetworking/plugins/plugins/ipam/static"); err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	for name, plugins := range map[string]string{
		"ENIs": fmt.Sprintf(whole, `, "manage": "all"`, ""),
		"other IPAM": `{"cniVersion": "1.0.0", "name": "enichain", "plugins": [{"type": "eni-ptp", "ipam": {"type": "static",
			"addresses": [{"address": "10.19.0.99/32"}]}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			l := upLab(t, lab.Options{})
			n := l.Nodes[0]
			sh(t, &n.Host, "sysctl -qw net.ipv4.ip_forward=1; for i in default lo eth0 eth1 eth2; do sysctl -qw net.ipv4.conf.$i.forwarding=0; done")
			runIn(t, onNode(t, n, plugins), "c1")
			// What comes in at the uplink and at the container's interface is passed on.
			sh(t, &n.Host, "for i in eth0 $(ip -o link | sed -n 's/.* \\(pod[0-9a-f]*\\)@.*/\\1/p'); do test $(sysctl -n net.ipv4.conf.$i.forwarding) = 1; done")
			if name == "ENIs" {
				mustPing(t, n.Container("c1"), node2Primary, probe.From{})
				mustPing(t, n.Container("c1"), internet, probe.From{})
			}
		})
	}
}

// Rules of others at our preferences are named by doctor and stay as they are, whatever comes and goes.
func TestRulesOfOthersAtOurPreferences(t *testing.T) { onClouds(t, rulesOfOthers) }

func rulesOfOthers(t *testing.T, cloud string) {
	l := upLab(t, lab.Options{Cloud: cloud})
	n := l.Nodes[0]
	foreign := []string{"512: from all to 192.0.2.7 lookup 77", "1024: from all fwmark 0x1/0x1 lookup 77", "1536: from 192.0.2.8 lookup 77"}
	sh(t, &n.Host, "ip rule add pref 512 to 192.0.2.7 lookup 77; ip rule add pref 1024 fwmark 1/1 lookup 77; ip rule add pref 1536 from 192.0.2.8 lookup 77")
	r := onNode(t, n, on(cloud, fmt.Sprintf(whole, `, "manage": "all", "firstDeviceIndex": 1`, "")))
	result, err := r.Run(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	mustPing(t, n.Container("c1"), internet, probe.From{})
	mustPing(t, &l.Nodes[1].Host, chain.IP(result), probe.From{})
	said := enictl(t, n, "doctor")
	for _, rule := range foreign {
		if !strings.Contains(said, fmt.Sprintf("BAD   the rule %q is not enichain's", rule)) {
			t.Errorf("doctor does not name %s:\n%s", rule, said)
		}
	}
	enictl(t, n, "reconcile")
	if err := r.Remove(t.Context(), "c1"); err != nil {
		t.Error(err)
	}
	rules, err := chain.IPCommand(t.Context(), &n.Host, "rule")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range foreign {
		if !slices.Contains(rules, rule) {
			t.Errorf("%s is gone: %q", rule, rules)
		}
	}
}

// udev names an interface after it has appeared, and may do so again: ENIs are known by their MACs.
func TestARenamedInterface(t *testing.T) { onClouds(t, aRenamedInterface) }

func aRenamedInterface(t *testing.T, cloud string) {
	l := upLab(t, lab.Options{Cloud: cloud})
	n := l.Nodes[0]
	r := onNode(t, n, on(cloud, fmt.Sprintf(whole, "", "")))
	ip := assign(t, l, n, 1, 2)
	first := runIn(t, r, "first", chain.WithIP(ip[0]))
	rename := func(from, to string) {
		t.Helper()
		err := n.Do(func() error {
			link, err := netlink.LinkByName(from)
			if err != nil {
				return err
			}
			return errors.Join(netlink.LinkSetDown(link), netlink.LinkSetName(link, to), netlink.LinkSetUp(link))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rename("eth1", "ens6") // down: its table is empty now
	second := runIn(t, r, "second", chain.WithIP(ip[1]))
	for id, ip := range map[string]netip.Addr{"first": first, "second": second} {
		capture := startCapture(t, &n.Host)
		mustPing(t, n.Container(id), node2Primary, probe.From{})
		mustPing(t, &l.Nodes[1].Host, ip, probe.From{})
		mustPing(t, n.Container(id), internet, probe.From{})
		if err := r.Check(t.Context(), id); err != nil {
			t.Error(err)
		}
		seen := devices(t, capture, func(p probe.Packet) bool { return p.Src.Addr() == ip && p.Dst.Addr() == node2Primary })
		if !strings.Contains(seen, "ens6") {
			t.Errorf("%s leaves by %q, want ens6", id, seen)
		}
	}
}

// ENIs of several MTUs, jumbo frames among them, on one node: a container has its ENI's MTU, and large packets find their way.
func TestMTUsOfSeveralENIs(t *testing.T) { onClouds(t, mtusOfSeveralENIs) }

func mtusOfSeveralENIs(t *testing.T, cloud string) {
	l := upLab(t, lab.Options{Cloud: cloud})
	n := l.Nodes[0]
	sh(t, &n.Host, "ip link set eth1 mtu 1400")
	r := onNode(t, n, on(cloud, fmt.Sprintf(whole, "", "")))
	small := runIn(t, r, "small", chain.WithIP(assign(t, l, n, 1, 1)[0]))
	large := runIn(t, r, "large", chain.WithIP(assign(t, l, n, 2, 1)[0]))
	for id, mtu := range map[string]int{"small": 1400, "large": map[string]int{vpcsim.AWS: 9001, vpcsim.TencentCloud: 1500}[cloud]} {
		lines, err := chain.IPCommand(t.Context(), n.Container(id), "-o", "link", "show", "eth0")
		if err != nil || len(lines) != 1 || !strings.Contains(lines[0], fmt.Sprintf(" mtu %d ", mtu)) {
			t.Errorf("%s: %q %v, want MTU %d", id, lines, err, mtu)
		}
	}
	payload := make([]byte, 60000)
	for _, walk := range []struct {
		from string
		to   netip.Addr
		host *lab.Host
	}{{"large", small, n.Container("small")}, {"small", large, n.Container("large")}, {"large", node2Primary, &l.Nodes[1].Host}} {
		serve(t, walk.host, walk.to, servicePort)
		err := n.Container(walk.from).Do(func() error {
			_, err := probe.CallTCP(t.Context(), netip.AddrPortFrom(walk.to, servicePort), probe.From{}, payload)
			return err
		})
		if err != nil {
			t.Errorf("%s sends %d bytes to %s: %v", walk.from, len(payload), walk.to, err)
		}
	}
}
