package e2e

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// startCapture captures in a host until the test ends or devices stops it.
func startCapture(t *testing.T, h *lab.Host) *probe.Capture {
	t.Helper()
	var c *probe.Capture
	if err := h.Do(func() (err error) { c, err = probe.StartCapture(nil, 128); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Stop() })
	return c
}

// devices stops the capture and returns the interfaces that matching packets were on, in order and once each.
func devices(t *testing.T, c *probe.Capture, match func(probe.Packet) bool) string {
	t.Helper()
	packets, err := c.Stop()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range packets {
		if p.Protocol != "arp" && match(p) {
			names = append(names, p.Interface)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// serve runs a TCP echo server in a host until the test ends.
func serve(t *testing.T, h *lab.Host, at netip.Addr, port uint16) *probe.Server {
	t.Helper()
	var s *probe.Server
	err := h.Do(func() (err error) {
		s, err = probe.ServeTCP(context.Background(), netip.AddrPortFrom(at, port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// call connects from a host and returns the address that the far end says it sees.
func call(t *testing.T, from *lab.Host, to netip.AddrPort) (netip.Addr, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var seen probe.Seen
	err := from.Do(func() (err error) { seen, err = probe.CallTCP(ctx, to, probe.From{}, []byte("hello")); return err })
	return seen.Peer.Addr(), err
}

// tcpPeer connects from a host to an address of another and returns whom that one sees.
func tcpPeer(t *testing.T, from, to *lab.Host, at netip.Addr) netip.Addr {
	t.Helper()
	s := serve(t, to, at, 0)
	peer, err := call(t, from, s.Addr())
	if err != nil {
		t.Errorf("%s calls %s: %v", from.Name, s.Addr(), err)
	}
	return peer
}

// sortedByDestination puts routes into the order in which the kernel lists them.
func sortedByDestination(routes string) string {
	lines := strings.Split(routes, "\n")
	destination := func(line string) netip.Addr {
		text, _, _ := strings.Cut(strings.Fields(line)[0], "/")
		ip, _ := netip.ParseAddr(text) // zero for "default"
		return ip
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Or(destination(a).Compare(destination(b)), 0) })
	return strings.Join(lines, "\n")
}
