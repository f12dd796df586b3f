package chaos

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// What the schedules found, each by itself.

// worldWith is a node with as many containers as the primary ENI and more hold: five an ENI.
func worldWith(t *testing.T, c clouds.Cloud, containers int) *node {
	t.Helper()
	conf := map[string]any{"batch": 1, "eniIdle": "0s", "manage": "all"}
	n := newNode(newWorld(t, c, c.Small, conf, "10.0.0.0/24"), nil)
	n.addAll(t, containers)
	return n
}

func (n *node) addAll(t *testing.T, containers int) {
	t.Helper()
	for range containers {
		if err := n.add(t, n.newID(), netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *node) mustLearn(t *testing.T) {
	t.Helper()
	if err := n.supply(n.conf).Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// second is the ENI at device 1.
func (n *node) second(t *testing.T) vpcsim.ENI {
	t.Helper()
	enis := n.ENIs(n.instanceID)
	if len(enis) != 2 {
		t.Fatalf("%d ENIs, want 2", len(enis))
	}
	return enis[1]
}

func TestAnENIThatIsGoneIsNotAssignedTo(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for _, stale := range []bool{false, true} {
			t.Run(fmt.Sprint("stale metadata ", stale), func(t *testing.T) {
				n := worldWith(t, c, 6)
				n.StaleMetadata(stale)
				gone := n.second(t)
				if err := n.DetachENI(gone.ID); err != nil {
					t.Fatal(err)
				}
				n.excuse(gone.Secondary, nil)
				n.mustLearn(t)
				n.StaleMetadata(false) // else a new one would never show up
				n.addAll(t, 3)         // EC2 would assign them to an ENI that is attached to nothing
				n.check(t)
			})
		}
	})
}

func TestAnENIThatIsGoneHasNothingForWhoAsksForIt(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		n := worldWith(t, c, 6)
		gone := n.second(t)
		n.del(t, "c6")
		if err := n.DetachENI(gone.ID); err != nil {
			t.Fatal(err)
		}
		n.pass(40 * time.Second) // cooled down, but not for so long that it is forgotten
		n.mustLearn(t)
		if err := n.add(t, n.newID(), gone.Secondary[0]); err == nil {
			t.Errorf("%s was given, of %s, which is gone", gone.Secondary[0], gone.ID)
		}
	})
}

func TestWhatWasReleasedDoesNotComeBackByMetadata(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		n := worldWith(t, c, 2)
		n.StaleMetadata(true)
		for _, id := range ids(n.live) {
			n.del(t, id)
		}
		n.conf.Warm.Max = 1
		n.pass(time.Minute)
		n.refill(t)
		n.conf.Warm.Max = 0
		n.pass(time.Hour)
		n.Inject(vpcsim.Fault{Action: "DescribeNetworkInterfaces", Code: "UnauthorizedOperation", Status: 403, Times: -1})
		n.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Code: "PrivateIpAddressLimitExceeded", Times: -1})
		n.Inject(vpcsim.Fault{Action: n.Action(clouds.CreateENI), Code: "NetworkInterfaceLimitExceeded", Times: -1})
		for range 3 {
			_ = n.add(t, n.newID(), netip.Addr{}) // none is refused that can be served
		}
		n.check(t)
	})
}

func TestAnAddressThatMovesToAnotherENI(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		n := worldWith(t, c, 6)
		second := n.second(t)
		moved := n.live["c6"][0]
		n.del(t, "c6")
		if err := n.RemoveAddress(moved); err != nil {
			t.Fatal(err)
		}
		err := n.store.Update(t.Context(), func(tx *store.Tx) error { // as if it had been the first's
			if err := tx.Remove([]netip.Addr{moved}); err != nil {
				return err
			}
			return tx.AddAddresses(n.ENIs(n.instanceID)[0].ID, []netip.Addr{moved})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.FillSubnet("subnet-0", 1); err != nil {
			t.Fatal(err)
		}
		if added, err := n.AddAddresses(second.ID, 1); err != nil || added[0] != moved {
			t.Fatalf("added %v, %v, want %s", added, err, moved)
		}
		n.mustLearn(t)
		n.agree(t)
	})
}

func TestWhatMetadataOmitsAndTheAPIHas(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		n := worldWith(t, c, 5)
		n.StaleMetadata(true) // of before there was a second ENI
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := n.supply(n.conf).Allocate(ctx, warm.Request{Owner: owner("sixth")}); err != nil {
			t.Fatal(err)
		}
		n.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", AfterEffect: true})
		if _, err := n.supply(n.conf).Allocate(ctx, warm.Request{Owner: owner("seventh")}); err != nil {
			t.Errorf("the answer was lost, and its address not found: %v", err)
		}
		n.agree(t)
	})
}

func TestWhatHasCooledDownGoesBackWithoutAnADD(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		n := worldWith(t, c, 6)
		for _, id := range ids(n.live) {
			n.del(t, id)
		}
		n.conf.Warm.Max = 1
		n.settle(t)
		n.agree(t)
		if all := n.AllENIs(); len(all) != 1 {
			t.Errorf("%d ENIs are left, want the primary alone", len(all))
		}
	})
}

// A release without an answer may be carried out later: nobody has its addresses until then.
func TestAReleaseIsNotTakenBack(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		n := worldWith(t, c, 3)
		for _, id := range ids(n.live) {
			n.del(t, id)
		}
		n.pass(time.Minute)
		n.conf.Warm.Max = 1
		n.Inject(vpcsim.Fault{Action: "UnassignPrivateIpAddresses", Status: 503, Code: "Unavailable"})
		n.refill(t)
		if s := n.snapshot(t); len(s.intents) != 1 {
			t.Fatalf("open: %+v, want the release", s.intents)
		}
		n.mustLearn(t)
		if s := n.snapshot(t); len(s.intents) > 0 || len(s.addresses) > 0 || len(s.cloud.Listed) > 0 {
			t.Errorf("open %+v, in the store %v, in the cloud %v, want none", s.intents, s.addresses, s.cloud)
		}
	})
}

func TestARefusalIsSettledAndRefusesNobody(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		n := worldWith(t, c, 4)
		err := n.store.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Begin(store.Intent{Op: store.OpCreateENI, Subnet: "subnet-gone", Count: 1, Token: "token"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		n.addAll(t, 1)
		n.agree(t)
	})
}

// An ENI that is to be deleted and to which others add is deleted only as long as no container has what they added.
func TestADeletionHeedsWhatWasAddedMeanwhile(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprint("used ", used), func(t *testing.T) {
				n := worldWith(t, c, 6)
				second := n.second(t)
				n.del(t, "c6")
				n.pass(time.Minute)
				n.mustLearn(t)
				n.Inject(vpcsim.Fault{Action: "DetachNetworkInterface", Code: "Unavailable", Status: 503, Times: 4})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := n.supply(n.conf).DeleteENI(ctx, n.cloud, second.ID); err == nil {
					t.Fatal("deleted with no answer")
				}
				n.ClearFaults()
				added, err := n.AddAddresses(second.ID, 1)
				if err != nil {
					t.Fatal(err)
				}
				err = n.store.Update(t.Context(), func(tx *store.Tx) error { // as a learn that died after it
					if err := tx.AddAddresses(second.ID, added); err != nil || !used {
						return err
					}
					_, err := tx.TakeThis(added[0], owner("quick"), store.Sandbox{})
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if used {
					n.live["quick"] = added[:1]
				}
				n.mustLearn(t)
				n.check(t)
				n.agree(t)
				if enis := n.ENIs(n.instanceID); (len(enis) == 2) != used {
					t.Errorf("%d ENIs, and a container on the second: %v", len(enis), used)
				}
			})
		}
	})
}
