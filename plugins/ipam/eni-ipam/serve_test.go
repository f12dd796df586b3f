package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/vpcsim"
)

// These tests are of one promise: an ADD that the pool or the cloud could serve is not refused.

func TestTheLastAddressesOfASubnetAreFewerThanABatch(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/28") // 11 addresses, one of them the ENI's; the limit is 10
	for i := range 9 {
		w.add(t, fmt.Sprint("c", i), map[string]any{"batch": 8})
	}
	w.agree(t)
	full := newWorld(t, "c5.4xlarge", "10.0.0.0/28")
	for i := range 10 {
		full.add(t, fmt.Sprint("c", i), map[string]any{"batch": 8})
	}
	full.agree(t)
}

func TestALimitThatTheCloudDoesNotSay(t *testing.T) {
	w := newWorld(t, "t3.medium", "10.0.0.0/24", "10.0.1.0/24") // 5 secondary addresses an ENI
	w.Inject(vpcsim.Fault{Action: "DescribeInstanceTypes", Code: "UnauthorizedOperation", Status: 403, Message: "no", Times: -1})
	for i := range 10 {
		w.add(t, fmt.Sprint("c", i), map[string]any{"batch": 4})
	}
	w.agree(t)
}

func TestAddressesOfOthersInAPoolThatSeemsToHaveRoom(t *testing.T) {
	w := newWorld(t, "t3.medium", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	w.assignBehindOurBack(t, 4)
	for i := range 4 {
		w.add(t, fmt.Sprint("c", 1+i), nil)
	}
	w.agree(t)
}

// assignBehindOurBack assigns addresses that the store does not learn of.
func (w *world) assignBehindOurBack(t *testing.T, n int) {
	t.Helper()
	other := *w
	other.dataDir = t.TempDir()
	taken := len(w.ENIs(w.instance.ID)[0].Secondary)
	for i := range taken + 1 {
		other.add(t, fmt.Sprint("behind", i), map[string]any{"batch": n})
	}
}

func TestADetachedENIDoesNotKeepTheOthersFromGrowing(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	w.update(t, func(tx *store.Tx) error {
		gone := netip.MustParseAddr("10.0.9.1")
		if err := tx.PutENI(store.ENI{ID: "eni-gone", DeviceIndex: 1, Limit: 10}); err != nil {
			return err
		}
		for i := range 4 {
			gone = gone.Next()
			if err := tx.AddAddresses("eni-gone", []netip.Addr{gone}); err != nil {
				return err
			}
			if _, err := tx.TakeThis(gone, store.Owner{Network: "net", ContainerID: fmt.Sprint("gone", i), IfName: "eth0"}, store.Sandbox{}); err != nil {
				return err
			}
		}
		return nil
	})
	w.add(t, "c1", nil)
}

// update changes the store behind the plugin's back.
func (w *world) update(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := store.At(w.dataDir).Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestWaitersThatDiedTakeNothing(t *testing.T) {
	w := newWorld(t, "t3.medium", "10.0.0.0/24")
	w.assignBehindOurBack(t, 5)
	w.update(t, func(tx *store.Tx) error {
		for i := range 10 {
			dead := store.Owner{Network: "net", ContainerID: fmt.Sprint("dead", i), IfName: "eth0"}
			if err := tx.Wait(dead, store.SinceBoot()+time.Minute); err != nil {
				return err
			}
		}
		return nil
	})
	w.add(t, "c1", nil)
}

// Whoever comes without having waited may take what another's growth has just brought.
func TestWhoGrowsAndIsRobbedGrowsAgain(t *testing.T) {
	w := newWorld(t, "c5.4xlarge", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	ctx, cancel := context.WithCancel(t.Context())
	robbed := make(chan string)
	var robbers sync.WaitGroup
	for i := range 4 {
		robbers.Go(func() { w.rob(ctx, fmt.Sprint("robber", i), robbed) })
	}
	const enough, rounds = 4, 24
	var robberies []string
	for round := 0; len(robberies) < enough && round < rounds; round++ {
		added := make(chan struct{})
		go func() {
			defer close(added)
			if _, failed := w.run(t, "ADD", fmt.Sprint("c", 1+round), map[string]any{"batch": 1}); failed != nil {
				t.Errorf("c%d: %v", 1+round, failed)
			}
		}()
		for waiting := true; waiting; {
			select {
			case who := <-robbed:
				robberies = append(robberies, who)
			case <-added:
				waiting = false
			}
		}
	}
	cancel()
	robbers.Wait()
	if len(robberies) == 0 {
		t.Error("nothing was robbed, so this has shown nothing")
	}
	w.agree(t)
}

// rob takes one address as soon as there is any, and then says so.
func (w *world) rob(ctx context.Context, id string, robbed chan<- string) {
	robber := store.Owner{Network: "net", ContainerID: id, IfName: "eth0"}
	for ctx.Err() == nil {
		err := store.At(w.dataDir).Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Take(robber, store.Sandbox{}, func(store.ENI) bool { return true })
			return err
		})
		if err != nil {
			continue
		}
		select {
		case robbed <- id:
		case <-ctx.Done():
		}
		return
	}
}

func TestAnAddressThatComesFreeWhileAnotherGrows(t *testing.T) {
	w := newWorld(t, "t3.medium", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	release, err := store.At(w.dataDir).LockGrowth(t.Context()) // one who grows, and has no answer
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, failed := w.run(t, "DEL", "c0", map[string]any{"cooldown": "500ms"}); failed != nil {
		t.Fatal(failed)
	}
	w.add(t, "c1", map[string]any{"timeout": "2s"})
}

func TestAFailureForWantOfTimeIsNotSharedWithWhoHasTime(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	w.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Delay: 4 * time.Second})
	w.Inject(vpcsim.Fault{Action: "DescribeNetworkInterfaces", Delay: 4 * time.Second})
	w.firstAndSecond(t,
		func() {
			if _, failed := w.run(t, "ADD", "hurried", map[string]any{"timeout": "2s"}); failed == nil {
				t.Error("the cloud took 4s, the timeout was 2s, and there is an address")
			}
		},
		func() {
			if _, failed := w.run(t, "ADD", "patient", map[string]any{"timeout": "30s"}); failed != nil {
				t.Error(failed)
			}
		})
	w.agree(t)
}

// The API's silence is the reason, and not the pool's emptiness that comes of it.
func TestASilentAPIIsNamed(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.Inject(vpcsim.Fault{Delay: 10 * time.Second, Times: -1})
	_, failed := w.run(t, "ADD", "c1", map[string]any{"timeout": "1500ms"})
	if failed == nil || failed.Code != cnierr.TryAgainLater || !strings.Contains(failed.Msg, w.ec2.URL) {
		t.Errorf("%+v, want code 11 and the API's endpoint %s", failed, w.ec2.URL)
	}
}

// firstAndSecond runs two ADDs so that the second has begun and waits when the first begins to grow the pool.
func (w *world) firstAndSecond(t *testing.T, first, second func()) {
	t.Helper()
	release, err := store.At(w.dataDir).LockGrowth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for i, run := range []func(){first, second} {
		both.Go(run)
		for waiting := 0; waiting <= i; time.Sleep(time.Millisecond) {
			w.update(t, func(tx *store.Tx) (err error) { waiting, err = tx.Waiting(); return err })
		}
		time.Sleep(50 * time.Millisecond) // from being counted to being in the queue of the lock
	}
	release()
	both.Wait()
}

func TestOneNetworksFailureIsNotAnothers(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	other := *w
	other.network = "other"
	w.firstAndSecond(t,
		func() {
			if _, failed := w.run(t, "ADD", "c1", map[string]any{"firstDeviceIndex": 1}); failed == nil {
				t.Error("there is no such ENI")
			}
		},
		func() {
			if _, failed := other.run(t, "ADD", "c2", nil); failed != nil {
				t.Error(failed)
			}
		})
}

// What an ADD refuses, its DEL cleans up: the runtime repeats a DEL until it succeeds.
func TestDELWithAConfigurationThatADDRefuses(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.add(t, "c1", nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []map[string]any{{"batch": -1}, {"addressing": "bridge"}, {"cloud": ""}, {"cloud": "static"}, {"dataDir": file}} {
		if _, failed := w.run(t, "ADD", "c2", wrong); failed == nil {
			t.Errorf("ADD with %v succeeded", wrong)
		}
		for _, id := range []string{"c2", "c1"} {
			if _, failed := w.run(t, "DEL", id, wrong); failed != nil {
				t.Errorf("DEL of %s with %v: %v", id, wrong, failed)
			}
		}
	}
}
