package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

func TestANodeWhoseENIsAreFullMakesTheNext(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24")
		for i := range c.Small.All() {
			node.Add(fmt.Sprint("c", i), nil)
		}
		enis := node.ENIs()
		if len(enis) != c.Small.ENIs {
			t.Fatalf("%d ENIs for %d containers, want %d", len(enis), c.Small.All(), c.Small.ENIs)
		}
		for _, e := range enis[1:] {
			if e.DeleteOnTermination != c.Binds || e.Tags["enichain/instance"] != node.Instance.ID || e.Tags["enichain/owner"] != "enichain" {
				t.Errorf("%s: deleted with the instance: %v, tags %v", e.ID, e.DeleteOnTermination, e.Tags)
			}
		}
		node.Agree()
		_, failed := node.Run("ADD", "one-too-many", nil)
		if failed == nil || failed.Code != cnierr.TryAgainLater || !strings.Contains(failed.Msg, fmt.Sprintf("%s takes %d ENIs", c.Small.Type, c.Small.ENIs)) {
			t.Errorf("beyond what the type takes: %+v, want code 11 and the limit", failed)
		}
	})
}

func TestFiftyAtOnceBeyondCapacity(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		limit := fmt.Sprintf("%s takes %d ENIs", c.Medium.Type, c.Medium.ENIs)
		const timeout, busy = 30 * time.Second, 15 * time.Second // a process of 50 may start late
		var all sync.WaitGroup
		var mu sync.Mutex
		given, refused := []netip.Addr{}, 0
		for i := range 50 {
			all.Go(func() {
				began := time.Now()
				result, failed := node.Run("ADD", fmt.Sprint("c", i), map[string]any{"timeout": timeout.String()})
				mu.Lock()
				defer mu.Unlock()
				if took := time.Since(began); took > timeout+busy {
					t.Errorf("c%d: took %v with a timeout of %v", i, took, timeout)
				}
				switch {
				case failed == nil:
					ip, _ := netip.AddrFromSlice(result.IPs[0].Address.IP)
					given = append(given, ip)
				case failed.Code == cnierr.TryAgainLater && strings.Contains(failed.Msg, limit):
					refused++
				default:
					t.Errorf("c%d: %v", i, failed)
				}
			})
		}
		all.Wait()
		slices.SortFunc(given, netip.Addr.Compare)
		if served := len(slices.Compact(given)); served != c.Medium.All() || refused != 50-served {
			t.Errorf("%d were served and %d refused, want %d and the others", served, refused, c.Medium.All())
		}
		node.Agree()
	})
}

func TestWarmAddressesAreRefilledBehindTheADD(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		warm := map[string]any{"batch": 1, "warm": map[string]int{"min": 2, "target": 4}}
		node.Add("c1", warm)
		node.Eventually("4 are free", func(free int, _ []vpcsim.ENI) bool { return free == 4 })
		calls := node.Calls(c.Action(clouds.Assign))
		node.Add("c2", warm) // out of what is warm, and 3 are left, which is above min
		if got := node.Calls(c.Action(clouds.Assign)); got != calls {
			t.Errorf("the cloud was asked %d times more, with warm addresses there", got-calls)
		}
		node.Agree()
	})
}

func TestThePoolGivesBackWhatIsTooMuch(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24")
		breathing := map[string]any{
			"batch": 5, "cooldown": "0s", "eniIdle": "0s", "warm": map[string]int{"min": 1, "target": 2, "max": 4},
		}
		containers := c.Small.All() - 3
		for i := range containers {
			node.Add(fmt.Sprint("c", i), breathing)
		}
		for i := range containers { // those of the ENI that was made go last
			node.Del(fmt.Sprint("c", i), breathing)
		}
		atRest(t, node)
		// What cools down is freed by whoever comes next.
		for i := range 3 {
			node.Add(fmt.Sprint("late", i), breathing)
			node.Run("DEL", fmt.Sprint("late", i), breathing)
			atRest(t, node)
		}
		node.Eventually("one ENI with 4 at the most", func(free int, enis []vpcsim.ENI) bool {
			return len(enis) == 1 && len(enis[0].Secondary) <= 5
		})
		settled(t, node)
		if left := node.AllENIs(); len(left) != 1 {
			t.Errorf("%d ENIs are left in the account, want the primary alone", len(left))
		}
	})
}

// The DEL that looks at the pool counts what has cooled down since anybody looked.
func TestWhatHasCooledDownGoesBack(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		const containers = 6
		for i := range containers {
			node.Add(fmt.Sprint("c", i), map[string]any{"batch": containers})
		}
		for i := range containers - 1 {
			node.Del(fmt.Sprint("c", i), map[string]any{"cooldown": "0s"})
		}
		node.Del(fmt.Sprint("c", containers-1), map[string]any{"cooldown": "30s", "warm": map[string]int{"target": 1, "max": 2}})
		atRest(t, node)
		node.Eventually("1 is free", func(free int, _ []vpcsim.ENI) bool { return free == 1 })
		node.Agree()
	})
}

// atRest waits until no refill runs any more.
func atRest(t *testing.T, node *clouds.Node) {
	t.Helper()
	if err := node.AwaitEnd(); err != nil {
		t.Fatal(err)
	}
}

// settled waits until no intent is open, and then compares cloud and store.
func settled(t *testing.T, node *clouds.Node) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		var open []store.Intent
		node.Update(func(tx *store.Tx) (err error) { open, err = tx.Intents(); return err })
		if len(open) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still open: %+v", open)
		}
		time.Sleep(20 * time.Millisecond)
	}
	node.Agree()
}

func TestForeignENIsAreUntouched(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24", "10.0.1.0/24") // the second is nobody's of ours
		for i := range 12 {
			node.Add(fmt.Sprint("c", i), map[string]any{"manage": []string{}})
		}
		for _, e := range node.ENIs() {
			if e.ID == node.First[1].ID && len(e.Secondary) > 0 {
				t.Errorf("the foreign ENI has %v", e.Secondary)
			}
		}
		if n := len(node.ENIs()); n != 3 {
			t.Errorf("%d ENIs, want 3: the primary, the foreign one and ours", n)
		}
	})
}

func TestALostAnswerToCreatingAnENI(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for _, action := range c.Actions(clouds.CreateENI) {
			t.Run(action, func(t *testing.T) {
				node := up(t, c, c.Small, "10.0.0.0/24")
				for i := range 5 {
					node.Add(fmt.Sprint("c", i), nil)
				}
				node.Inject(vpcsim.Fault{Action: action, Times: 1, AfterEffect: true})
				node.Add("c5", nil)
				if all := node.AllENIs(); len(all) != 2 {
					t.Errorf("%d ENIs in the account, want 2", len(all))
				}
				node.Agree()
			})
		}
	})
}

// What a dead process began is completed though the configuration has changed since: the token brings its ENI back, with the
// tags that it was made with.
func TestAnENIOfAnotherConfigurationIsCompleted(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": c.Small.Each})
		config, err := json.Marshal(node.IPAM["driver"])
		if err != nil {
			t.Fatal(err)
		}
		driver := &cloud.Exec{Path: bin.Path("eni-cloud-" + c.Name), Config: config}
		var made *cloud.ENI
		node.NS.Do(func() (err error) {
			made, err = driver.CreateENI(t.Context(), cloud.CreateENIRequest{
				InstanceID: node.Instance.ID, SubnetID: "subnet-0", Token: "t", Addresses: 2, Tags: map[string]string{"team": "shop"},
			})
			return err
		})
		node.Wait()
		if err := node.DetachENI(made.ID); err != nil {
			t.Fatal(err)
		}
		node.Update(func(tx *store.Tx) error {
			_, err := tx.Begin(store.Intent{Op: store.OpCreateENI, Subnet: "subnet-0", Count: 2, Token: "t"})
			return err
		})
		more := map[string]any{"tags": map[string]string{"team": "till"}, "securityGroups": node.First[0].SecurityGroups}
		for i := range c.Small.Each {
			node.Add(fmt.Sprint("c", i+1), more)
		}
		if all := node.ENIs(); len(node.AllENIs()) != 2 || len(all) != 2 || all[1].ID != made.ID || all[1].Tags["team"] != "shop" {
			t.Errorf("want %s attached, there are %+v", made.ID, node.AllENIs())
		}
		node.Agree()
	})
}

func TestThrottledADDsProgress(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		node.Throttle(vpcsim.Bucket{Action: c.Action(clouds.Assign), Burst: 1, PerSecond: 1})
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond) // one after the other, so that each needs a call
				if _, failed := node.Run("ADD", fmt.Sprint("t", i), map[string]any{"batch": 1, "timeout": "60s"}); failed != nil {
					t.Errorf("t%d: %v", i, failed)
				}
			})
		}
		all.Wait()
		if n := node.Throttled(); n > 12 {
			t.Errorf("%d calls were throttled for 4 that were needed", n)
		}
		node.Agree()
	})
}

func TestModes(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		if _, failed := node.Run("ADD", "c1", map[string]any{"mode": "offline"}); failed == nil || !strings.Contains(failed.Msg, "offline") {
			t.Errorf("offline, with nothing in the pool: %+v", failed)
		}
		if n := node.Calls(""); n > 0 {
			t.Errorf("%d calls while offline", n)
		}
		node.Add("c1", map[string]any{"batch": 9})
		for i := range 8 {
			node.Add(fmt.Sprint("d", i), map[string]any{"mode": "offline"})
		}
		only := map[string]any{"mode": "allocate-only", "cooldown": "0s", "warm": map[string]int{"max": 1}}
		for i := range 8 {
			node.Run("DEL", fmt.Sprint("d", i), only)
		}
		node.Add("e", only)
		node.Run("DEL", "e", only)
		time.Sleep(300 * time.Millisecond) // for what must not happen
		if n := node.Calls(c.Action(clouds.Unassign)); n > 0 {
			t.Errorf("%d calls to give addresses back in mode allocate-only", n)
		}
		node.Agree()
	})
}
