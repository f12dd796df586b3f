package load

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/enichain/enichain/core/netstate/nstest"
)

func TestMain(m *testing.M) {
	runtime.LockOSThread() // the main thread must not be one that a test throws away
	m.Run()
}

// loopback is a server on the loopback of a namespace.
func loopback(t *testing.T) (*nstest.NS, *Server) {
	t.Helper()
	ns := nstest.New(t)
	var s *Server
	ns.Do(func() (err error) { s, err = Serve(netip.MustParseAddr("127.0.0.1")); return err })
	return ns, s
}

// All packets of a flood arrive, and it ends at the number or at the time.
func TestFlood(t *testing.T) {
	ns, s := loopback(t)
	for _, tt := range []struct {
		packets int
		limit   time.Duration
	}{{10 * Batch, time.Minute}, {1 << 40, 20 * time.Millisecond}} {
		ns.Do(func() error {
			before, err := Received("lo")
			if err != nil {
				return err
			}
			sent, took, err := Flood(s.At(), tt.packets, tt.limit)
			if err != nil {
				return err
			}
			after, err := Received("lo")
			if int(after-before) != sent || sent < Batch || sent > tt.packets || took <= 0 {
				t.Errorf("%d of %d packets arrived, in %s; %d were wanted", after-before, sent, took, tt.packets)
			}
			return err
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestConnects(t *testing.T) {
	ns, s := loopback(t)
	ns.Do(func() error {
		made, took, err := Connects(s.At(), 20*time.Millisecond)
		if made < 1 || took < 20*time.Millisecond {
			t.Errorf("%d connections in %s", made, took)
		}
		return err
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	ns.Do(func() error {
		if made, _, err := Connects(s.At(), time.Minute); err == nil || made > 0 {
			t.Errorf("%d connections to nobody: %v", made, err)
		}
		return nil
	})
}

func TestReceivedOfNoLink(t *testing.T) {
	if n, err := Received("none0"); err == nil {
		t.Errorf("a link that is not there has received %d", n)
	}
}
