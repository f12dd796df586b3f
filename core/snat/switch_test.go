package snat

import (
	"strings"
	"testing"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/xtables"
)

// TestSwitch goes from each backend to each other and back, and shows that connections in both directions lose no packet,
// and that nothing is left of the first.
func TestSwitch(t *testing.T) {
	backends := map[string]func(t *testing.T) string{
		netconf.NFTables:  func(*testing.T) string { return netconf.NFTables },
		"iptables-nft":    func(t *testing.T) string { t.Helper(); install(t, xtables.NFT); return netconf.IPTables },
		"iptables-legacy": func(t *testing.T) string { t.Helper(); install(t, xtables.Legacy); return netconf.IPTables },
	}
	for from, use := range backends {
		t.Run("from "+from, func(t *testing.T) {
			w := newWorld(t, use(t))
			w.rules(kubeProxy, kubeProxy6)
			w.policies()
			out, in := w.conversation(w.pod1, internetIP+":80"), w.conversation(w.internet, nodeIP+":30080")
			in6 := w.conversation(w.internet, at(nodeIP6, 30080))
			for to, next := range backends {
				if to == from {
					continue
				}
				for _, step := range []func(*testing.T) string{next, use} {
					w.backend = step(t)
					w.talkDuring(t, w.policies, out, in, in6)
				}
				w.backend = next(t)
				w.policies()
				w.nothingOf(t, from)
				w.backend = use(t)
				w.policies()
				w.nothingOf(t, to)
			}
		})
	}
}

// policies applies those of both families.
func (w *world) policies() {
	w.t.Helper()
	w.policy(policyOf(true, true))
	w.policy(podnet6(w.backend))
}

// talkDuring runs f while the conversations go on: out must be seen as the node, in and in6 as the internet.
func (w *world) talkDuring(t *testing.T, f func(), out, in, in6 func() string) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		if got := out(); got != nodeIP {
			t.Errorf("the internet saw %s, want %s", got, nodeIP)
		}
		if got := in(); got != internetIP {
			t.Errorf("the container saw %s, want %s", got, internetIP)
		}
		if got := in6(); got != internetIP6 {
			t.Errorf("the container saw %s, want %s", got, internetIP6)
		}
	}
}

// nothingOf wants nothing of a backend to be on the node.
func (w *world) nothingOf(t *testing.T, backend string) {
	t.Helper()
	w.in(w.node, func() {
		left := ""
		if backend == netconf.NFTables {
			if tables := nft(t, "list", "tables"); strings.Contains(tables, Table) {
				left = tables
			}
		} else {
			for line := range strings.Lines(command(t, backend+"-save") + command(t, strings.Replace(backend, "ip", "ip6", 1)+"-save")) {
				if strings.Contains(line, "ENI-") || strings.Contains(line, "enichain") {
					left += line
				}
			}
		}
		if left != "" {
			t.Errorf("left of %s:\n%s", backend, left)
		}
	})
	if w.backend != netconf.NFTables {
		return
	}
	inside(t, w.node, func(h *netstate.Handle) {
		if left := rulesOfNew(t, h); len(left) > 0 {
			t.Errorf("left of %s: %q", backend, left)
		}
	})
}
