package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// Addresses of the recipes.
const (
	node1Eth0 = "10.19.0.22"
	node1Eth1 = "10.19.16.17"
	node1Eth2 = "10.19.0.24"
	node2Eth0 = "10.19.0.11"
	internet  = "198.51.100.10"
)

const (
	patience = 5 * time.Second        // how long a test waits for what is to come
	silence  = 300 * time.Millisecond // and for what is not to come
)

func up(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// within runs fn in the host, with a time limit.
func within(t *testing.T, h *lab.Host, limit time.Duration, fn func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return h.Do(func() error { return fn(ctx) })
}

func ping(t *testing.T, h *lab.Host, to string, from probe.From) (probe.Reply, error) {
	t.Helper()
	var reply probe.Reply
	err := within(t, h, patience, func(ctx context.Context) (err error) {
		reply, err = probe.Ping(ctx, netip.MustParseAddr(to), from)
		return err
	})
	return reply, err
}

func drops(t *testing.T, l *lab.Lab) (spoofed, noPublic uint64) {
	t.Helper()
	spoofed, noPublic, err := l.Drops()
	if err != nil {
		t.Fatal(err)
	}
	return spoofed, noPublic
}

// do runs steps in the host until one fails.
func do(t *testing.T, h *lab.Host, steps ...func() error) {
	t.Helper()
	err := h.Do(func() error {
		for n, step := range steps {
			if err := step(); err != nil {
				return fmt.Errorf("step %d: %w", n+1, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func hostNet(ip string) *net.IPNet {
	return &net.IPNet{IP: net.ParseIP(ip).To4(), Mask: net.CIDRMask(32, 32)}
}

// fromRule is `ip rule add from IP lookup TABLE pref 1536`.
func fromRule(ip string, table int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Src, rule.Table, rule.Priority = hostNet(ip), table, 1536
	return rule
}

// prepare configures a secondary ENI by hand, as recipe 3.1 does.
func prepare(t *testing.T, n *lab.Node, name, ip, gateway string, table int) {
	t.Helper()
	var link netlink.Link
	do(
		t, &n.Host,
		func() (err error) { link, err = netlink.LinkByName(name); return err },
		func() error { return netlink.LinkSetUp(link) },
		func() error { return netlink.AddrAdd(link, &netlink.Addr{IPNet: hostNet(ip)}) },
		func() error {
			return netlink.RouteAdd(&netlink.Route{
				LinkIndex: link.Attrs().Index, Dst: hostNet(gateway), Scope: unix.RT_SCOPE_LINK, Table: table,
			})
		},
		func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: hostNet(gateway).IP, Table: table})
		},
		func() error { return netlink.RuleAdd(fromRule(ip, table)) },
	)
}

func TestNodesReachEachOtherAndTheInternet(t *testing.T) {
	l := up(t, lab.Options{})
	for _, to := range []string{node2Eth0, "10.19.0.1", "10.19.16.1", internet} {
		reply, err := ping(t, &l.Node("node1").Host, to, probe.From{})
		if err != nil {
			t.Error(err)
		} else if reply.TTL != 64 {
			t.Errorf("ping %s: TTL %d at its return; the fabric is to be no hop", to, reply.TTL)
		}
	}
	if _, err := ping(t, l.Internet, node1Eth0, probe.From{}); err != nil {
		t.Error(err)
	}
	if spoofed, noPublic := drops(t, l); spoofed != 0 || noPublic != 0 {
		t.Errorf("good traffic was dropped: %d as spoofed, %d for want of a public address", spoofed, noPublic)
	}
}

func TestSecondaryENIsReachOthers(t *testing.T) {
	l := up(t, lab.Options{})
	n := l.Node("node1")
	prepare(t, n, "eth1", node1Eth1, "10.19.16.1", 2)
	prepare(t, n, "eth2", node1Eth2, "10.19.0.1", 3)
	for name, ip := range map[string]string{"eth1": node1Eth1, "eth2": node1Eth2} {
		capture := captureICMP(t, &n.Host)
		if _, err := ping(t, &n.Host, node2Eth0, probe.From{Address: netip.MustParseAddr(ip)}); err != nil {
			t.Error(err)
		}
		packets, err := capture.Stop()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets {
			if p.Interface != name {
				t.Errorf("%s's traffic was seen elsewhere: %s", ip, p)
			}
		}
		if len(packets) < 2 {
			t.Errorf("%d packets on %s, want a request and a reply", len(packets), name)
		}
	}
}

func captureICMP(t *testing.T, h *lab.Host) *probe.Capture {
	t.Helper()
	var capture *probe.Capture
	do(t, h, func() (err error) {
		capture, err = probe.StartCapture(func(p probe.Packet) bool { return p.Protocol == "icmp" }, 0)
		return err
	})
	return capture
}

func TestTCPAndUDPKeepTheirSource(t *testing.T) {
	l := up(t, lab.Options{})
	for at, target := range map[string]*lab.Host{node2Eth0: &l.Node("node2").Host, internet: l.Internet} {
		var tcp, udp *probe.Server
		anyPort := netip.AddrPortFrom(netip.MustParseAddr(at), 0)
		do(
			t, target,
			func() (err error) { tcp, err = probe.ServeTCP(t.Context(), anyPort); return err },
			func() (err error) { udp, err = probe.ServeUDP(t.Context(), anyPort); return err },
		)
		payload := []byte(strings.Repeat("0123456789", 20_000)) // many segments
		err := within(t, &l.Node("node1").Host, patience, func(ctx context.Context) error {
			byTCP, err := probe.CallTCP(ctx, tcp.Addr(), probe.From{}, payload)
			if err != nil {
				return err
			}
			byUDP, err := probe.CallUDP(ctx, udp.Addr(), probe.From{}, payload[:5000]) // more than the internet takes at once
			if err != nil {
				return err
			}
			for _, seen := range []probe.Seen{byTCP, byUDP} {
				if seen.Peer != seen.Local || seen.Peer.Addr().String() != node1Eth0 {
					t.Errorf("%s saw %s, sent by %s", at, seen.Peer, seen.Local)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for _, s := range []*probe.Server{tcp, udp} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestLinksComeAsFromACloud(t *testing.T) {
	l := up(t, lab.Options{Nodes: 3})
	for _, n := range l.Nodes {
		enis := l.VPC.ENIs(n.InstanceID)
		if len(enis) != 3 {
			t.Fatalf("%s has %d ENIs", n.Name, len(enis))
		}
		for _, eni := range enis {
			var link netlink.Link
			var addrs []netlink.Addr
			do(
				t, &n.Host,
				func() (err error) { link, err = netlink.LinkByName(fmt.Sprintf("eth%d", eni.DeviceIndex)); return err },
				func() (err error) { addrs, err = netlink.AddrList(link, unix.AF_INET); return err },
			)
			a := link.Attrs()
			if a.HardwareAddr.String() != eni.MAC.String() || a.MTU != 9001 {
				t.Errorf("%s %s: %s mtu %d, want %s mtu 9001", n.Name, a.Name, a.HardwareAddr, a.MTU, eni.MAC)
			}
			primary := eni.DeviceIndex == 0
			if isUp := a.Flags&net.FlagUp != 0; isUp != primary || (len(addrs) == 1) != primary {
				t.Errorf("%s %s: up %v with addresses %v", n.Name, a.Name, isUp, addrs)
			}
		}
	}
}

func TestReversePathFilterIsAsAsked(t *testing.T) {
	for asked, want := range map[int]string{0: "1", 1: "1", 2: "2", -1: "0"} {
		l := up(t, lab.Options{Nodes: 1, RPFilter: asked})
		for key, want := range map[string]string{"all": "0", "eth0": want, "eth1": want} {
			var got []byte
			do(t, &l.Nodes[0].Host, func() (err error) {
				got, err = os.ReadFile("/proc/sys/net/ipv4/conf/" + key + "/rp_filter")
				return err
			})
			if strings.TrimSpace(string(got)) != want {
				t.Errorf("RPFilter %d: rp_filter of %s is %q, want %s", asked, key, got, want)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []lab.Options{{Cloud: "azure"}, {Nodes: -1}, {Nodes: 51}, {ENIs: -1}, {RPFilter: 3}, {InstanceType: "z9.huge"}, {ENIs: 4}} {
		if l, err := lab.Up(t.Context(), o); err == nil {
			t.Errorf("%+v: no error", o)
			_ = l.Down()
		}
	}
}

// A thread is in its host from call to call, and is the same.
func TestThread(t *testing.T) {
	l := up(t, lab.Options{Nodes: 1, ENIs: 1})
	thread, err := l.Nodes[0].Thread()
	if err != nil {
		t.Fatal(err)
	}
	defer thread.Close()
	var first int
	for range 3 {
		if err := thread.Do(func() error {
			link, err := netlink.LinkByName("eth0")
			if err == nil && link.Attrs().MTU != 9001 {
				t.Errorf("eth0 has an MTU of %d: it is another host's", link.Attrs().MTU)
			}
			if first == 0 {
				first = unix.Gettid()
			}
			if id := unix.Gettid(); id != first {
				t.Errorf("thread %d, and before that %d", id, first)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	if err := thread.Do(func() error { return os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("an error became %v", err)
	}
	if _, err := l.Nodes[0].Container("none").Thread(); err == nil {
		t.Error("a thread is in a container that is not there")
	}
}
