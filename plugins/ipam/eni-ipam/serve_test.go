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
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// These tests are of one promise: an ADD that the pool or the cloud could serve is not refused.

func TestTheLastAddressesOfASubnetAreFewerThanABatch(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/28")
		for i := range c.Medium.Each {
			node.Add(fmt.Sprint("c", i), map[string]any{"batch": 8})
		}
		node.Agree()
		full := up(t, c, c.Large, "10.0.0.0/28")
		for i := range 16 - c.Kept - 1 { // one is the ENI's own
			full.Add(fmt.Sprint("c", i), map[string]any{"batch": 8})
		}
		full.Agree()
	})
}

func TestALimitThatTheCloudDoesNotSay(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24", "10.0.1.0/24")
		node.Inject(clouds.Always(c.Fault(clouds.Limits, clouds.NotAllowed)))
		for i := range 2 * c.Small.Each {
			node.Add(fmt.Sprint("c", i), map[string]any{"batch": 4})
		}
		node.Agree()
	})
}

func TestAddressesOfOthersInAPoolThatSeemsToHaveRoom(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		assignBehindOurBack(t, node, 4)
		for i := range 4 {
			node.Add(fmt.Sprint("c", 1+i), nil)
		}
		node.Agree()
	})
}

// assignBehindOurBack assigns addresses that the store does not learn of.
func assignBehindOurBack(t *testing.T, node *clouds.Node, n int) {
	t.Helper()
	if _, err := node.AddAddresses(node.First[0].ID, n); err != nil {
		t.Fatal(err)
	}
}

func TestADetachedENIDoesNotKeepTheOthersFromGrowing(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		node.Update(func(tx *store.Tx) error {
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
		node.Add("c1", nil)
	})
}

func TestWaitersThatDiedTakeNothing(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24")
		assignBehindOurBack(t, node, 5)
		node.Update(func(tx *store.Tx) error {
			for i := range 10 {
				dead := store.Owner{Network: "net", ContainerID: fmt.Sprint("dead", i), IfName: "eth0"}
				if err := tx.Wait(dead, family.All()[:1], store.SinceBoot()+time.Minute); err != nil {
					return err
				}
			}
			return nil
		})
		node.Add("c1", nil)
	})
}

// Whoever comes without having waited may take what another's growth has just brought.
func TestWhoGrowsAndIsRobbedGrowsAgain(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Large, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		ctx, cancel := context.WithCancel(t.Context())
		robbed := make(chan string)
		var robbers sync.WaitGroup
		for i := range 4 {
			robbers.Go(func() { rob(ctx, node, fmt.Sprint("robber", i), robbed) })
		}
		const enough, rounds = 4, 24
		var robberies []string
		for round := 0; len(robberies) < enough && round < rounds; round++ {
			added := make(chan struct{})
			go func() {
				defer close(added)
				if _, failed := node.Run("ADD", fmt.Sprint("c", 1+round), map[string]any{"batch": 1}); failed != nil {
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
		node.Agree()
	})
}

// rob takes one address as soon as there is any, and then says so.
func rob(ctx context.Context, node *clouds.Node, id string, robbed chan<- string) {
	robber := store.Owner{Network: "net", ContainerID: id, IfName: "eth0"}
	for ctx.Err() == nil {
		err := node.Store().Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Take(robber, store.Sandbox{}, family.IPv4, func(store.ENI) int { return 0 })
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
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		release, err := node.Store().LockGrowth(t.Context()) // one who grows, and has no answer
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if _, failed := node.Run("DEL", "c0", map[string]any{"cooldown": "500ms"}); failed != nil {
			t.Fatal(failed)
		}
		node.Add("c1", map[string]any{"timeout": "2s"})
	})
}

func TestAFailureForWantOfTimeIsNotSharedWithWhoHasTime(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		node.Inject(vpcsim.Fault{Action: c.Action(clouds.Assign), Delay: 4 * time.Second})
		node.Inject(clouds.Always(vpcsim.Fault{Action: c.Action(clouds.List), Delay: 4 * time.Second}))
		firstAndSecond(t, node,
			func() {
				if _, failed := node.Run("ADD", "hurried", map[string]any{"timeout": "2s"}); failed == nil {
					t.Error("the cloud took 4s, the timeout was 2s, and there is an address")
				}
				node.ClearFaults()
			},
			func() {
				if _, failed := node.Run("ADD", "patient", map[string]any{"timeout": "30s"}); failed != nil {
					t.Error(failed)
				}
			})
		node.Agree()
	})
}

// The API's silence is the reason, and not the pool's emptiness that comes of it.
func TestASilentAPIIsNamed(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Inject(vpcsim.Fault{Delay: 10 * time.Second, Times: -1})
		_, failed := node.Run("ADD", "c1", map[string]any{"timeout": "3s"})
		if failed == nil || failed.Code != cnierr.TryAgainLater || !strings.Contains(failed.Msg, node.API.URL) {
			t.Errorf("%+v, want code 11 and the API's endpoint %s", failed, node.API.URL)
		}
	})
}

// firstAndSecond runs two ADDs so that the second has begun and waits when the first begins to grow the pool.
func firstAndSecond(t *testing.T, node *clouds.Node, first, second func()) {
	t.Helper()
	release, err := node.Store().LockGrowth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for i, run := range []func(){first, second} {
		both.Go(run)
		for waiting := map[family.Family]int{}; waiting[family.IPv4] <= i; time.Sleep(time.Millisecond) {
			node.Update(func(tx *store.Tx) (err error) { waiting, err = tx.Waiting(); return err })
		}
		time.Sleep(50 * time.Millisecond) // from being counted to being in the queue of the lock
	}
	release()
	both.Wait()
}

func TestOneNetworksFailureIsNotAnothers(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		other := *node
		other.Network = "other"
		firstAndSecond(t, node,
			func() {
				if _, failed := node.Run("ADD", "c1", map[string]any{"firstDeviceIndex": 1, "maxENIs": 1}); failed == nil {
					t.Error("there is no such ENI")
				}
			},
			func() {
				if _, failed := other.Run("ADD", "c2", nil); failed != nil {
					t.Error(failed)
				}
			})
	})
}

// What an ADD refuses, its DEL cleans up: the runtime repeats a DEL until it succeeds.
func TestDELWithAConfigurationThatADDRefuses(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Add("c1", nil)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []map[string]any{{"batch": -1}, {"addressing": "bridge"}, {"cloud": ""}, {"cloud": "static"}, {"dataDir": file}} {
			if _, failed := node.Run("ADD", "c2", wrong); failed == nil {
				t.Errorf("ADD with %v succeeded", wrong)
			}
			for _, id := range []string{"c2", "c1"} {
				if _, failed := node.Run("DEL", id, wrong); failed != nil {
					t.Errorf("DEL of %s with %v: %v", id, wrong, failed)
				}
			}
		}
	})
}
