package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/vpcsim"
)

// eventually waits until what a detached process does has come about.
func (w *world) eventually(t *testing.T, what string, is func(free int, enis []vpcsim.ENI) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		free := 0
		w.update(t, func(tx *store.Tx) error {
			all, err := tx.Addresses()
			for _, a := range all {
				if a.State == store.Free {
					free++
				}
			}
			return err
		})
		enis := w.ENIs(w.instance.ID)
		if is(free, enis) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never came about: %s; %d are free, on %d ENIs", what, free, len(enis))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestANodeWhoseENIsAreFullMakesTheNext(t *testing.T) {
	w := newWorld(t, "t3.medium", "10.0.0.0/24") // 3 ENIs with 5 secondary addresses each
	for i := range 15 {
		w.add(t, fmt.Sprint("c", i), nil)
	}
	enis := w.ENIs(w.instance.ID)
	if len(enis) != 3 {
		t.Fatalf("%d ENIs for 15 containers, want 3", len(enis))
	}
	for _, e := range enis[1:] {
		if !e.DeleteOnTermination || e.Tags["enichain/instance"] != w.instance.ID || e.Tags["enichain/owner"] != "enichain" {
			t.Errorf("%s: deleted with the instance: %v, tags %v", e.ID, e.DeleteOnTermination, e.Tags)
		}
	}
	w.agree(t)
	_, failed := w.run(t, "ADD", "the-sixteenth", nil)
	if failed == nil || failed.Code != cnierr.TryAgainLater || !strings.Contains(failed.Msg, "t3.medium takes 3 ENIs") {
		t.Errorf("beyond what the type takes: %+v, want code 11 and the limit", failed)
	}
}

func TestFiftyAtOnceBeyondCapacity(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24") // 3 ENIs with 9 secondary addresses each
	var all sync.WaitGroup
	var mu sync.Mutex
	given, refused := []netip.Addr{}, 0
	for i := range 50 {
		all.Go(func() {
			result, failed := w.run(t, "ADD", fmt.Sprint("c", i), map[string]any{"timeout": "30s"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed == nil:
				ip, _ := netip.AddrFromSlice(result.IPs[0].Address.IP)
				given = append(given, ip)
			case failed.Code == cnierr.TryAgainLater && strings.Contains(failed.Msg, "m5.large takes 3 ENIs"):
				refused++
			default:
				t.Errorf("c%d: %v", i, failed)
			}
		})
	}
	all.Wait()
	slices.SortFunc(given, netip.Addr.Compare)
	if len(slices.Compact(given)) != 27 || refused != 23 {
		t.Errorf("%d were served and %d refused, want 27 and 23", len(given), refused)
	}
	w.agree(t)
}

func TestWarmAddressesAreRefilledBehindTheADD(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	warm := map[string]any{"batch": 1, "warm": map[string]int{"min": 2, "target": 4}}
	w.add(t, "c1", warm)
	w.eventually(t, "4 are free", func(free int, _ []vpcsim.ENI) bool { return free == 4 })
	calls := w.Calls("AssignPrivateIpAddresses")
	w.add(t, "c2", warm) // out of what is warm, and 3 are left, which is above min
	if got := w.Calls("AssignPrivateIpAddresses"); got != calls {
		t.Errorf("the cloud was asked %d times more, with warm addresses there", got-calls)
	}
	w.agree(t)
}

func TestThePoolGivesBackWhatIsTooMuch(t *testing.T) {
	w := newWorld(t, "t3.medium", "10.0.0.0/24")
	breathing := map[string]any{
		"batch": 5, "cooldown": "0s", "eniIdle": "0s", "warm": map[string]int{"min": 1, "target": 2, "max": 4},
	}
	for i := range 12 {
		w.add(t, fmt.Sprint("c", i), breathing)
	}
	for i := range 12 {
		if _, failed := w.run(t, "DEL", fmt.Sprint("c", i), breathing); failed != nil {
			t.Fatal(failed)
		}
	}
	// What cools down is freed by whoever comes next.
	for i := range 3 {
		w.add(t, fmt.Sprint("late", i), breathing)
		w.run(t, "DEL", fmt.Sprint("late", i), breathing)
	}
	w.eventually(t, "one ENI with 4 at the most", func(free int, enis []vpcsim.ENI) bool {
		return len(enis) == 1 && len(enis[0].Secondary) <= 5
	})
	w.settled(t)
	if left := w.AllENIs(); len(left) != 1 {
		t.Errorf("%d ENIs are left in the account, want the primary alone", len(left))
	}
}

// settled waits until no intent is open, and then compares cloud and store.
func (w *world) settled(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		var open []store.Intent
		w.update(t, func(tx *store.Tx) (err error) { open, err = tx.Intents(); return err })
		if len(open) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still open: %+v", open)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.agree(t)
}

func TestForeignENIsAreUntouched(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24", "10.0.1.0/24") // the second is nobody's of ours
	for i := range 12 {
		w.add(t, fmt.Sprint("c", i), map[string]any{"manage": []string{}})
	}
	for _, e := range w.ENIs(w.instance.ID) {
		if e.ID == w.enis[1].ID && len(e.Secondary) > 0 {
			t.Errorf("the foreign ENI has %v", e.Secondary)
		}
	}
	if n := len(w.ENIs(w.instance.ID)); n != 3 {
		t.Errorf("%d ENIs, want 3: the primary, the foreign one and ours", n)
	}
}

func TestALostAnswerToCreatingAnENI(t *testing.T) {
	for _, action := range []string{"CreateNetworkInterface", "AttachNetworkInterface", "ModifyNetworkInterfaceAttribute"} {
		t.Run(action, func(t *testing.T) {
			w := newWorld(t, "t3.medium", "10.0.0.0/24")
			for i := range 5 {
				w.add(t, fmt.Sprint("c", i), nil)
			}
			w.Inject(vpcsim.Fault{Action: action, Times: 1, AfterEffect: true})
			w.add(t, "c5", nil)
			if all := w.AllENIs(); len(all) != 2 {
				t.Errorf("%d ENIs in the account, want 2", len(all))
			}
			w.agree(t)
		})
	}
}

func TestThrottledADDsProgress(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	w.Throttle(vpcsim.Bucket{Action: "AssignPrivateIpAddresses", Burst: 1, PerSecond: 1})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 300 * time.Millisecond) // one after the other, so that each needs a call
			if _, failed := w.run(t, "ADD", fmt.Sprint("t", i), map[string]any{"batch": 1, "timeout": "60s"}); failed != nil {
				t.Errorf("t%d: %v", i, failed)
			}
		})
	}
	all.Wait()
	if n := w.Throttled(); n > 12 {
		t.Errorf("%d calls were throttled for 4 that were needed", n)
	}
	w.agree(t)
}

func TestModes(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	if _, failed := w.run(t, "ADD", "c1", map[string]any{"mode": "offline"}); failed == nil || !strings.Contains(failed.Msg, "offline") {
		t.Errorf("offline, with nothing in the pool: %+v", failed)
	}
	if n := w.Calls(""); n > 0 {
		t.Errorf("%d calls while offline", n)
	}
	w.add(t, "c1", map[string]any{"batch": 9})
	for i := range 8 {
		w.add(t, fmt.Sprint("d", i), map[string]any{"mode": "offline"})
	}
	only := map[string]any{"mode": "allocate-only", "cooldown": "0s", "warm": map[string]int{"max": 1}}
	for i := range 8 {
		w.run(t, "DEL", fmt.Sprint("d", i), only)
	}
	w.add(t, "e", only)
	w.run(t, "DEL", "e", only)
	time.Sleep(300 * time.Millisecond) // for what must not happen
	if n := w.Calls("UnassignPrivateIpAddresses"); n > 0 {
		t.Errorf("%d calls to give addresses back in mode allocate-only", n)
	}
	w.agree(t)
}
