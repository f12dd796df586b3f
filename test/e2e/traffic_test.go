package e2e

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

func startCapture(t *testing.T, h *lab.Host) *probe.Capture {
	t.Helper()
	return labtest.Capture(t, h)
}

func devices(t *testing.T, c *probe.Capture, match func(probe.Packet) bool) string {
	t.Helper()
	return labtest.Devices(t, c, match)
}

func serve(t *testing.T, h *lab.Host, at netip.Addr, port uint16) *probe.Server {
	t.Helper()
	return labtest.Serve(t, h, at, port)
}

func call(t *testing.T, from *lab.Host, to netip.AddrPort) (netip.Addr, error) {
	t.Helper()
	return labtest.Call(t, from, to, probe.From{})
}

func tcpPeer(t *testing.T, from, to *lab.Host, at netip.Addr) netip.Addr {
	t.Helper()
	return labtest.Peer(t, from, to, at, probe.From{})
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
