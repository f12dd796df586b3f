package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
)

// What others did to the account comes into the store, and a dry run only says it.
func TestReconcileWithTheCloud(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, map[string]any{"batch": 2})
		w.Add("c1", nil)
		eni := w.ENIs()[0].ID
		added, err := w.AddAddresses(eni, 1)
		if err != nil {
			t.Fatal(err)
		}
		err = w.Store().Update(t.Context(), func(tx *store.Tx) error {
			marked, err := tx.MarkReleasing(eni, family.IPv4, 1) // as a process that died before it gave it back
			if err != nil {
				return err
			}
			_, err = tx.Begin(store.Intent{Op: store.OpUnassign, ENI: eni, Addresses: marked, PID: 4711})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if held := w.ENIs()[0].Secondary; len(held) != 3 {
			t.Fatalf("the ENI has %v to begin with", held)
		}
		dry := w.ctl(1, "reconcile", "-dry-run") // status 1: the ENI has no link here
		has(t, dry, "would have got "+added[0].String()+" of "+eni, "would settle: give back")
		if s := w.snapshot(); len(s.intents) != 1 || len(s.addresses) != 2 {
			t.Errorf("a dry run changed the store: %+v", s)
		}
		if left, _ := filepath.Glob(filepath.Join(w.Dir, "enictl-*")); len(left) > 0 {
			t.Errorf("a dry run left %v", left)
		}
		if held := w.ENIs()[0].Secondary; len(held) != 3 {
			t.Errorf("a dry run changed the account: %v", held)
		}
		done := w.ctl(1, "reconcile")
		has(t, done, "the store got "+added[0].String()+" of "+eni, "settled what process 4711 began: give back",
			"the store gave back ", eni+" has no link on this host")
		if s := w.snapshot(); len(s.intents) != 0 || len(s.addresses) != 2 || s.counts[family.IPv4][eni].Free != 1 {
			t.Errorf("the store is not as the cloud: %+v", s)
		}
	})
}

// Where the cloud's API does not answer, what the metadata service says is learnt, and that is said.
func TestReconcileWithoutTheAPI(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, map[string]any{"mode": "offline"})
		has(t, w.ctl(0, "reconcile"), "the cloud is not asked", "the kernel is as the store says")
		w.IPAM["mode"] = "normal"
		w.configure()
		w.Add("c1", nil) // Tencent Cloud's metadata service names no ENI, and the store does
		w.Inject(clouds.Always(c.Fault(clouds.AnyCall, clouds.Refused)))
		has(t, w.ctl(1, "reconcile"), "the cloud's API did not answer", "has no link on this host")
	})
}

// A loop ends with a signal, and with status 0.
func TestReconcileWatches(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		var out strings.Builder
		tool := &tool{out: &out, progress: &out}
		w := newWorld(t, c, c.Medium, map[string]any{"mode": "offline"})
		tool.where = place{confDir: w.Dir, cniPath: bin.Dir}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		tool.ctx = ctx
		w.NS.Do(func() error { return tool.reconcile([]string{"-watch", "1ms"}) })
		if n := strings.Count(out.String(), "the kernel is as the store says"); n < 2 {
			t.Errorf("it ran %d times:\n%s", n, out.String())
		}
	})
}

func TestWhatAReconcileLearnt(t *testing.T) {
	ip := netip.MustParseAddr
	of := func(text, eni string, state store.State) store.Address {
		return store.Address{IP: ip(text), ENI: eni, State: state}
	}
	before := &snapshot{
		enis: []store.ENI{{ID: "eni-1"}, {ID: "eni-2"}, {ID: "eni-3"}},
		addresses: []store.Address{
			of("10.0.0.4", "eni-1", store.Releasing), // taken by the cloud, as was begun
			of("10.0.0.5", "eni-1", store.Free),      // taken away by others
			of("10.0.0.6", "eni-1", store.Releasing), // the cloud refused to take it
			of("10.0.0.7", "eni-2", store.Releasing), // gone with its ENI
		},
		intents: []store.Intent{
			{Number: 3, Op: store.OpUnassign, ENI: "eni-1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.16/28")}, PID: 4713},
			{Number: 1, Op: store.OpUnassign, ENI: "eni-1", Addresses: []netip.Addr{ip("10.0.0.4"), ip("10.0.0.6")}, PID: 4711},
			{Number: 2, Op: store.OpDeleteENI, ENI: "eni-2", PID: 4712},
		},
	}
	before.addresses = append(before.addresses, ofPrefix("10.0.1.16/28", 16)...)
	before.addresses = append(before.addresses, ofPrefix("10.0.1.32/28", 9)...) // what nobody has of it
	after := &snapshot{
		enis:      []store.ENI{{ID: "eni-1"}},
		addresses: append([]store.Address{of("10.0.0.6", "eni-1", store.Free)}, ofPrefix("10.0.1.48/28", 16)...),
	}
	want := []string{
		"got 10.0.1.48/28 of eni-1",
		"gave back 10.0.0.4 of eni-1",
		"lost 10.0.0.5 of eni-1: the cloud does not have it there",
		"put 10.0.0.6 of eni-1 back to use: it was to be given back, and was not",
		"gave back 10.0.0.7 of eni-2",
		"gave back 10.0.1.16/28 of eni-1",
	}
	for _, a := range ofPrefix("10.0.1.32/28", 9) {
		want = append(want, fmt.Sprintf("lost %s of eni-1: the cloud does not have it there", a.IP))
	}
	want = append(want,
		"gave back eni-2: it is deleted",
		"lost eni-3: the cloud does not have it here",
		"settled what process 4713 began: give back [10.0.1.16/28] of eni-1",
		"settled what process 4711 began: give back [10.0.0.4 10.0.0.6] of eni-1",
		"settled what process 4712 began: delete eni-2",
	)
	if d := cmp.Diff(want, learnt(before, after)); d != "" {
		t.Error(d)
	}
}

// ofPrefix is the first n addresses of a prefix, on eni-1.
func ofPrefix(prefix string, n int) (some []store.Address) {
	p := netip.MustParsePrefix(prefix)
	for ip := range store.AddressesIn(p) {
		if len(some) < n {
			some = append(some, store.Address{IP: ip, ENI: "eni-1", Prefix: p, State: store.Free})
		}
	}
	return some
}

func TestLostAddresses(t *testing.T) {
	now := time.Hour
	owner := &store.Owner{Network: "net", ContainerID: "c", IfName: "eth0"}
	of := func(ip, eni string, since time.Duration) store.Address {
		return store.Address{IP: netip.MustParseAddr(ip), ENI: eni, State: store.Assigned, Owner: owner, Since: since}
	}
	s := &snapshot{now: int64(now), addresses: []store.Address{
		of("10.0.0.4", "eni-1", 0),
		of("10.0.0.5", "eni-1", 0),
		of("10.0.0.6", "eni-1", 0),
		of("10.0.0.7", "eni-1", now-time.Second), // the list may lag
		of("10.0.0.17", "eni-2", 0),              // of a prefix
	}}
	listed := []cloud.ENI{
		{ID: "eni-1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}},
		{
			ID: "eni-2", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.6")},
			Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.16/28")},
		},
	}
	got := strings.Join(lostAddresses(s, s, listed), "\n")
	has(t, got, "10.0.0.5 of eth0 of c in net is not on eni-1", "10.0.0.6")
	if strings.Count(got, "\n") != 1 {
		t.Errorf("more than two are lost:\n%s", got)
	}
}
