package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/test/clouds"
)

func TestTheFirstADDLearnsAndAssignsABatch(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24", "10.0.1.0/24")
		ip := node.Add("c1", map[string]any{"batch": 4})
		if known := node.Agree(); len(known) != 4 || !slices.Contains(known, ip) {
			t.Errorf("given %s of %v, want one of a batch of 4", ip, known)
		}
		for _, id := range []string{"c1", "c2", "c3", "c4"} {
			node.Add(id, map[string]any{"batch": 4})
		}
		if n := node.Calls(c.Action(clouds.Assign)); n != 1 {
			t.Errorf("%d calls for as many containers as the batch, want 1", n)
		}
		node.Add("c5", map[string]any{"batch": 4})
		if n := node.Calls(c.Action(clouds.Assign)); n != 2 {
			t.Errorf("%d calls for one more, want 2", n)
		}
		node.Agree()
	})
}

func TestAddressesThatAreThereAreUsedFirst(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		other := node.Anew() // what was assigned before this boot
		other.Add("before", nil)
		n := node.Calls(c.Action(clouds.Assign))
		node.Add("c1", nil)
		if got := node.Calls(c.Action(clouds.Assign)); got != n {
			t.Errorf("%d more calls although the ENI had free addresses", got-n)
		}
		node.Agree()
	})
}

func TestFirstDeviceIndexKeepsContainersOffThePrimary(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24", "10.0.1.0/24")
		if ip := node.Add("c1", map[string]any{"firstDeviceIndex": 1}); !netip.MustParsePrefix("10.0.1.0/24").Contains(ip) {
			t.Errorf("given %s, which is the primary's", ip)
		}
	})
}

func TestSubnetAddressing(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		result, failed := node.Run("ADD", "c1", map[string]any{"addressing": "subnet"})
		if failed != nil {
			t.Fatal(failed)
		}
		if ip := result.IPs[0]; !strings.HasSuffix(ip.Address.String(), "/24") || ip.Gateway.String() != "10.0.0.1" {
			t.Errorf("given %s by %s, want the subnet's mask and gateway", ip.Address.String(), ip.Gateway)
		}
	})
}

func TestAFullENIGivesWayToTheNextAndTheLastSaysSo(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24", "10.0.1.0/24")
		two := map[string]any{"maxENIs": 2}
		for i := range 2 * c.Small.Each {
			node.Add(fmt.Sprint("c", i), two)
		}
		_, failed := node.Run("ADD", "one-too-many", two)
		if failed == nil || failed.Code != cnierr.TryAgainLater {
			t.Fatalf("beyond the limit: %+v, want code 11", failed)
		}
		for _, want := range []string{node.First[0].ID + " is full with 5", node.First[1].ID + " is full with 5", node.Instance.ID, c.Small.Type, `"maxENIs" is 2`} {
			if !strings.Contains(failed.Msg, want) {
				t.Errorf("%q does not say %q", failed.Msg, want)
			}
		}
		node.Agree()
		node.Del("c3", map[string]any{"cooldown": "0s"})
		node.Add("one-too-many", nil)
	})
}

func TestAFullSubnetGivesWayToTheNext(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Large, "10.0.0.0/28", "10.0.1.0/24")
		var subnets []string
		for i := range 16 - c.Kept + 3 { // one is the ENI's own
			ip := node.Add(fmt.Sprint("c", i), map[string]any{"batch": 1})
			subnets = append(subnets, ip.String()[:7])
		}
		if slices.Sort(subnets); subnets[0] != "10.0.0." || subnets[len(subnets)-1] != "10.0.1." {
			t.Errorf("containers are in %v, want both subnets", subnets)
		}
		node.Agree()
	})
}

func TestFiftyAtOnceOnAColdNode(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		const containers = 50
		node := up(t, c, c.Large, "10.0.0.0/24", "10.0.1.0/24")
		given := make([]netip.Addr, containers)
		var all sync.WaitGroup
		for i := range containers {
			all.Go(func() {
				result, failed := node.Run("ADD", fmt.Sprint("c", i), nil)
				if failed != nil {
					t.Errorf("c%d: %v", i, failed)
					return
				}
				ip, _ := netip.AddrFromSlice(result.IPs[0].Address.IP)
				given[i] = ip.Unmap()
			})
		}
		all.Wait()
		slices.SortFunc(given, netip.Addr.Compare)
		if n := len(slices.Compact(given)); n != containers {
			t.Errorf("%d addresses for %d containers", n, containers)
		}
		if n := node.Calls(""); n > 3 {
			t.Errorf("%d calls that change something, want 3 at the most", n)
		}
		node.Agree()
	})
}

func TestFiftyAtOnceWithoutCredentials(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		const containers = 50
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Inject(clouds.Always(c.Fault(clouds.AnyCall, clouds.NotAllowed)))
		failures := make([]string, containers)
		var all sync.WaitGroup
		for i := range containers {
			all.Go(func() {
				_, failed := node.Run("ADD", fmt.Sprint("c", i), nil)
				if failed == nil {
					t.Errorf("c%d has an address", i)
					return
				}
				failures[i] = failed.Msg
			})
		}
		all.Wait()
		for i, msg := range failures {
			if !strings.Contains(msg, "UnauthorizedOperation") {
				t.Errorf("c%d: %q does not say why", i, msg)
			}
		}
		// They come one after the other, and each batch of those who wait together shares one attempt.
		if n := node.Calls(c.Action(clouds.Assign)); n > containers/2 {
			t.Errorf("%d calls that were refused for %d containers", n, containers)
		}
	})
}

func TestALostAnswerLeaksNothing(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Inject(c.Lost(clouds.Assign))
		node.Add("c1", map[string]any{"batch": 2}) // settled within the same ADD
		if known := node.Agree(); len(known) != 2 {
			t.Errorf("after a lost answer the pool has %v, want the 2 that were asked for", known)
		}
	})
}

func TestALostAnswerThatCannotBeSettledYet(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		node.Inject(c.Lost(clouds.Assign))
		node.Inject(clouds.Always(c.Fault(clouds.List, clouds.Broken)))
		if _, failed := node.Run("ADD", "c1", map[string]any{"batch": 2, "timeout": "3s"}); failed == nil {
			t.Fatal("an address was given that nobody knows to be assigned")
		}
		node.ClearFaults()
		n := node.Calls(c.Action(clouds.Assign))
		node.Add("c1", map[string]any{"batch": 2})
		if got := node.Calls(c.Action(clouds.Assign)); got != n {
			t.Errorf("assigned again (%d calls) before it was found out what the first call did", got-n)
		}
		if known := node.Agree(); len(known) != 3 {
			t.Errorf("the pool has %v, want 3", known)
		}
	})
}

func TestMetadataAddsAndNeverRemoves(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.StaleMetadata(true) // it shows no secondary address from here on
		first := node.Add("c1", map[string]any{"batch": 1})
		node.Add("c2", map[string]any{"batch": 1})
		if again := node.Add("c1", nil); again != first {
			t.Errorf("c1 has %s, had %s", again, first)
		}
		node.Agree()
	})
}

// An address that the metadata service shows is used where the API tells nothing of it.
func TestMetadataAddsWhatTheAPIDoesNotTell(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Small, "10.0.0.0/24")
		node.IPAM["maxENIs"] = 1
		for i := range c.Small.Each - 1 {
			node.Add(fmt.Sprint("c", i), map[string]any{"batch": c.Small.Each - 1})
		}
		added, err := node.AddAddresses(node.First[0].ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		node.Inject(clouds.Always(c.Fault(clouds.List, clouds.NotAllowed)))
		if got := node.Add("late", map[string]any{"batch": 1}); got != added[0] {
			t.Errorf("given %s, want what the metadata service shows, %s", got, added[0])
		}
		node.Agree()
	})
}

// AWS's metadata service is enough for a node that knows nothing yet; Tencent Cloud's names no ENI.
func TestMetadataOfAWSServesWhileTheAPIDoesNot(t *testing.T) {
	t.Parallel()
	c := clouds.AWS()
	node := up(t, c, c.Medium, "10.0.0.0/24")
	assignBehindOurBack(t, node, 8)
	node.Inject(clouds.Always(c.Fault(clouds.AnyCall, clouds.Refused)))
	node.Add("c1", nil)
}

// An address that was assigned behind our back is found when it is asked for.
func TestRequestedAddressIsFoundAtTheCloud(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24")
		node.Add("c0", map[string]any{"batch": 1})
		other := node.Anew()
		other.Add("by-hand", nil)
		want := other.Add("by-hand-too", map[string]any{"batch": 1})
		asking := *node
		asking.Args = "IgnoreUnknown=1;IP=" + want.String()
		if got := asking.Add("c1", nil); got != want {
			t.Errorf("asked for %s, given %s", want, got)
		}
		asking.Args = "IP=10.0.0.250"
		if _, failed := asking.Run("ADD", "c2", nil); failed == nil || failed.Code != cnierr.RequestedAddress {
			t.Errorf("asked for what no ENI has: %+v, want code %d", failed, cnierr.RequestedAddress)
		}
		node.Agree()
	})
}

func TestRequestedAddressOfAnENIThatIsNotForContainers(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		node := up(t, c, c.Medium, "10.0.0.0/24", "10.0.1.0/24")
		held := node.Add("c0", map[string]any{"batch": 2})
		spare := slices.DeleteFunc(node.Agree(), func(ip netip.Addr) bool { return ip == held })[0]
		asking := *node
		asking.Args = "IP=" + spare.String()
		_, failed := asking.Run("ADD", "c1", map[string]any{"firstDeviceIndex": 1})
		if failed == nil || failed.Code != cnierr.RequestedAddress ||
			!strings.Contains(failed.Msg, node.First[0].ID+`, which has it, is device 0, and "firstDeviceIndex" is 1`) {
			t.Errorf("asked for an address of the primary ENI: %+v, want code %d and why", failed, cnierr.RequestedAddress)
		}
		asking.Args = "IP=" + held.String()
		if got := asking.Add("c0", map[string]any{"firstDeviceIndex": 1}); got != held {
			t.Errorf("c0 has %s, had %s", got, held) // who has one already keeps it
		}
	})
}
