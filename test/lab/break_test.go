package lab_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// unheard proves that a ping gets no answer, and returns how many packets the fabric dropped meanwhile, by reason.
func unheard(t *testing.T, l *lab.Lab, h *lab.Host, to string, from probe.From) (spoofed, noPublic uint64) {
	t.Helper()
	spoofedBefore, noPublicBefore := drops(t, l)
	var reply probe.Reply
	var failed error
	if err := within(t, h, silence, func(ctx context.Context) error {
		reply, failed = probe.Ping(ctx, netip.MustParseAddr(to), from)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if failed == nil {
		t.Errorf("%s: ping %s was answered: %+v", h.Name, to, reply)
	}
	spoofedAfter, noPublicAfter := drops(t, l)
	return spoofedAfter - spoofedBefore, noPublicAfter - noPublicBefore
}

func spoofers(t *testing.T, l *lab.Lab) []lab.Spoofer {
	t.Helper()
	found, err := l.Spoofers()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func hasSpoofer(found []lab.Spoofer, port, source string, packets uint64) bool {
	return slices.Contains(found, lab.Spoofer{Port: port, Source: netip.MustParseAddr(source), Packets: packets})
}

func TestASpoofedSourceIsDroppedAndCounted(t *testing.T) {
	l := up(t, lab.Options{})
	n := &l.Node("node1").Host
	const invented = "10.19.5.5"
	do(t, n, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(lo, &netlink.Addr{IPNet: hostNet(invented)})
	})
	for _, to := range []string{node2Eth0, internet} {
		spoofed, noPublic := unheard(t, l, n, to, probe.From{Address: netip.MustParseAddr(invented)})
		if spoofed == 0 || noPublic != 0 {
			t.Errorf("to %s: %d packets counted as spoofed and %d for want of a public address", to, spoofed, noPublic)
		}
	}
	total, _ := drops(t, l)
	if found := spoofers(t, l); !hasSpoofer(found, "node1-eth0", invented, total) {
		t.Errorf("of %d spoofed packets the fabric tells %+v", total, found)
	}
}

func TestTheWrongENIIsNoticed(t *testing.T) {
	l := up(t, lab.Options{})
	n := l.Node("node1")
	prepare(t, n, "eth1", node1Eth1, "10.19.16.1", 2)
	eth1 := probe.From{Address: netip.MustParseAddr(node1Eth1)}
	if _, err := ping(t, &n.Host, node2Eth0, eth1); err != nil {
		t.Fatal(err)
	}
	// Without its rule the address leaves by main, and so by eth0.
	do(t, &n.Host, func() error { return netlink.RuleDel(fromRule(node1Eth1, 2)) })
	spoofed, _ := unheard(t, l, &n.Host, node2Eth0, eth1)
	if found := spoofers(t, l); spoofed == 0 || !hasSpoofer(found, "node1-eth0", node1Eth1, spoofed) {
		t.Errorf("%d packets counted as spoofed: %+v", spoofed, found)
	}
	do(t, &n.Host, func() error { return netlink.RuleAdd(fromRule(node1Eth1, 2)) })
	if _, err := ping(t, &n.Host, node2Eth0, eth1); err != nil {
		t.Error(err)
	}
}

func TestAMissingRouteIsSilent(t *testing.T) {
	l := up(t, lab.Options{})
	n := &l.Node("node1").Host
	if _, err := ping(t, n, node2Eth0, probe.From{}); err != nil {
		t.Fatal(err)
	}
	do(t, l.Router, func() error {
		return netlink.RouteDel(&netlink.Route{Dst: hostNet(node2Eth0), Scope: unix.RT_SCOPE_LINK})
	})
	if spoofed, noPublic := unheard(t, l, n, node2Eth0, probe.From{}); spoofed+noPublic != 0 {
		t.Errorf("%d and %d packets counted as dropped, with nothing wrong about their source", spoofed, noPublic)
	}
}

func TestOnlyPublicAddressesReachTheInternet(t *testing.T) {
	l := up(t, lab.Options{})
	n := l.Node("node1")
	prepare(t, n, "eth1", node1Eth1, "10.19.16.1", 2)
	spoofed, noPublic := unheard(t, l, &n.Host, internet, probe.From{Address: netip.MustParseAddr(node1Eth1)})
	if spoofed != 0 || noPublic == 0 {
		t.Errorf("%d packets counted as spoofed and %d for want of a public address", spoofed, noPublic)
	}
	if _, err := ping(t, &n.Host, internet, probe.From{}); err != nil {
		t.Error(err)
	}
}

func TestTheInternetKnowsNoRouteIntoTheVPC(t *testing.T) {
	l := up(t, lab.Options{})
	prepare(t, l.Node("node1"), "eth1", node1Eth1, "10.19.16.1", 2)
	unheard(t, l, l.Internet, node1Eth1, probe.From{})
	// Nor does the gateway pass what is sent to it all the same.
	do(t, l.Internet, func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: hostNet(node1Eth1), Gw: hostNet("198.51.100.1").IP})
	})
	capture := captureICMP(t, &l.Node("node1").Host)
	unheard(t, l, l.Internet, node1Eth1, probe.From{})
	packets, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if len(packets) != 0 {
		t.Errorf("the internet reached an address without a public association: %s", packets[0])
	}
}
