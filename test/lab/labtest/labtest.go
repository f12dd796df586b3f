// Package labtest is the lab for tests: what it makes goes with the test, what fails fails the test, and nothing waits for
// ever.
package labtest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

const (
	pingTimeout = 3 * time.Second
	callTimeout = 5 * time.Second
)

// Up brings a lab up, in the test's name.
func Up(t testing.TB, o lab.Options) *lab.Lab {
	t.Helper()
	o.Name = t.Name()
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

// Ping pings from a host.
func Ping(t testing.TB, from *lab.Host, to netip.Addr, bind probe.From) (probe.Reply, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pingTimeout)
	defer cancel()
	var r probe.Reply
	err := from.Do(func() (err error) { r, err = probe.Ping(ctx, to, bind); return err })
	return r, err
}

// MustPing is Ping for what must be answered.
func MustPing(t testing.TB, from *lab.Host, to netip.Addr, bind probe.From) probe.Reply {
	t.Helper()
	r, err := Ping(t, from, to, bind)
	if err != nil {
		t.Errorf("%s pings %s: %v", from.Name, to, err)
	}
	return r
}

// Capture captures in a host until the test ends or Devices stops it.
func Capture(t testing.TB, h *lab.Host) *probe.Capture {
	t.Helper()
	var c *probe.Capture
	if err := h.Do(func() (err error) { c, err = probe.StartCapture(nil, 128); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Stop() })
	return c
}

// Devices stops the capture and returns the interfaces that matching packets were on, in order and once each.
func Devices(t testing.TB, c *probe.Capture, match func(probe.Packet) bool) string {
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

// Serve runs a TCP echo server in a host until the test ends.
func Serve(t testing.TB, h *lab.Host, at netip.Addr, port uint16) *probe.Server {
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

// Call connects from a host and returns the address that the far end says it sees.
func Call(t testing.TB, from *lab.Host, to netip.AddrPort, bind probe.From) (netip.Addr, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	var seen probe.Seen
	err := from.Do(func() (err error) { seen, err = probe.CallTCP(ctx, to, bind, []byte("hello")); return err })
	return seen.Peer.Addr(), err
}

// Peer connects from a host to an address of another and returns whom that one sees.
func Peer(t testing.TB, from, to *lab.Host, at netip.Addr, bind probe.From) netip.Addr {
	t.Helper()
	s := Serve(t, to, at, 0)
	peer, err := Call(t, from, s.Addr(), bind)
	if err != nil {
		t.Errorf("%s calls %s: %v", from.Name, s.Addr(), err)
	}
	return peer
}
