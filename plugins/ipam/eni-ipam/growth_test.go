package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/test/vpcsim"
)

func TestTheFirstADDLearnsAndAssignsABatch(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24", "10.0.1.0/24")
	ip := w.add(t, "c1", map[string]any{"batch": 4})
	if known := w.agree(t); len(known) != 4 || !slices.Contains(known, ip) {
		t.Errorf("given %s of %v, want one of a batch of 4", ip, known)
	}
	for _, id := range []string{"c1", "c2", "c3", "c4"} {
		w.add(t, id, map[string]any{"batch": 4})
	}
	if n := w.Calls("AssignPrivateIpAddresses"); n != 1 {
		t.Errorf("%d calls for as many containers as the batch, want 1", n)
	}
	w.add(t, "c5", map[string]any{"batch": 4})
	if n := w.Calls("AssignPrivateIpAddresses"); n != 2 {
		t.Errorf("%d calls for one more, want 2", n)
	}
	w.agree(t)
}

func TestAddressesThatAreThereAreUsedFirst(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	other := *w
	other.dataDir = t.TempDir() // what was assigned before this boot
	other.add(t, "before", nil)
	n := w.Calls("AssignPrivateIpAddresses")
	w.add(t, "c1", nil)
	if got := w.Calls("AssignPrivateIpAddresses"); got != n {
		t.Errorf("%d more calls although the ENI had free addresses", got-n)
	}
	w.agree(t)
}

func TestFirstDeviceIndexKeepsContainersOffThePrimary(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24", "10.0.1.0/24")
	if ip := w.add(t, "c1", map[string]any{"firstDeviceIndex": 1}); !netip.MustParsePrefix("10.0.1.0/24").Contains(ip) {
		t.Errorf("given %s, which is the primary's", ip)
	}
}

func TestSubnetAddressing(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	result, failed := w.run(t, "ADD", "c1", map[string]any{"addressing": "subnet"})
	if failed != nil {
		t.Fatal(failed)
	}
	if ip := result.IPs[0]; !strings.HasSuffix(ip.Address.String(), "/24") || ip.Gateway.String() != "10.0.0.1" {
		t.Errorf("given %s by %s, want the subnet's mask and gateway", ip.Address.String(), ip.Gateway)
	}
}

func TestAFullENIGivesWayToTheNextAndTheLastSaysSo(t *testing.T) {
	w := newWorld(t, "t3.medium", "10.0.0.0/24", "10.0.1.0/24") // 5 secondary addresses an ENI
	two := map[string]any{"maxENIs": 2}
	for i := range 10 {
		w.add(t, fmt.Sprint("c", i), two)
	}
	_, failed := w.run(t, "ADD", "one-too-many", two)
	if failed == nil || failed.Code != cnierr.TryAgainLater {
		t.Fatalf("beyond the limit: %+v, want code 11", failed)
	}
	for _, want := range []string{w.enis[0].ID + " is full with 5", w.enis[1].ID + " is full with 5", w.instance.ID, "t3.medium", `"maxENIs" is 2`} {
		if !strings.Contains(failed.Msg, want) {
			t.Errorf("%q does not say %q", failed.Msg, want)
		}
	}
	w.agree(t)
	if _, failed := w.run(t, "DEL", "c3", map[string]any{"cooldown": "0s"}); failed != nil {
		t.Fatal(failed)
	}
	w.add(t, "one-too-many", nil)
}

func TestAFullSubnetGivesWayToTheNext(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/28", "10.0.1.0/24") // 11 addresses, one of them the ENI's
	var subnets []string
	for i := range 14 {
		ip := w.add(t, fmt.Sprint("c", i), map[string]any{"batch": 1})
		subnets = append(subnets, ip.String()[:7])
	}
	if slices.Sort(subnets); subnets[0] != "10.0.0." || subnets[13] != "10.0.1." {
		t.Errorf("containers are in %v, want both subnets", subnets)
	}
	w.agree(t)
}

func TestFiftyAtOnceOnAColdNode(t *testing.T) {
	const containers = 50
	w := newWorld(t, "c5.4xlarge", "10.0.0.0/24", "10.0.1.0/24")
	given := make([]netip.Addr, containers)
	var all sync.WaitGroup
	for i := range containers {
		all.Go(func() {
			result, failed := w.run(t, "ADD", fmt.Sprint("c", i), nil)
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
	if n := w.Calls("AssignPrivateIpAddresses"); n > 4 {
		t.Errorf("%d calls to assign addresses", n)
	}
	w.agree(t)
}

func TestFiftyAtOnceWithoutCredentials(t *testing.T) {
	const containers = 50
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.Inject(vpcsim.Fault{Code: "UnauthorizedOperation", Status: 403, Message: "You are not authorized.", Times: 1000})
	failures := make([]string, containers)
	var all sync.WaitGroup
	for i := range containers {
		all.Go(func() {
			_, failed := w.run(t, "ADD", fmt.Sprint("c", i), nil)
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
	if n := w.Calls("AssignPrivateIpAddresses"); n > containers/2 {
		t.Errorf("%d calls that were refused for %d containers", n, containers)
	}
}

func TestALostAnswerLeaksNothing(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Times: 1, AfterEffect: true})
	w.add(t, "c1", map[string]any{"batch": 2}) // settled within the same ADD
	if known := w.agree(t); len(known) != 2 {
		t.Errorf("after a lost answer the pool has %v, want the 2 that were asked for", known)
	}
}

func TestALostAnswerThatCannotBeSettledYet(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	w.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Times: 1, AfterEffect: true})
	w.Inject(vpcsim.Fault{Action: "DescribeNetworkInterfaces", Code: "InternalError", Status: 500, Message: "down", Times: 20})
	if _, failed := w.run(t, "ADD", "c1", map[string]any{"batch": 2}); failed == nil {
		t.Fatal("an address was given that nobody knows to be assigned")
	}
	w.ClearFaults()
	n := w.Calls("AssignPrivateIpAddresses")
	w.add(t, "c1", map[string]any{"batch": 2})
	if got := w.Calls("AssignPrivateIpAddresses"); got != n {
		t.Errorf("assigned again (%d calls) before it was found out what the first call did", got-n)
	}
	if known := w.agree(t); len(known) != 3 {
		t.Errorf("the pool has %v, want 3", known)
	}
}

func TestMetadataAddsAndNeverRemoves(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.StaleMetadata(true) // it shows no secondary address from here on
	first := w.add(t, "c1", map[string]any{"batch": 1})
	w.add(t, "c2", map[string]any{"batch": 1})
	if again := w.add(t, "c1", nil); again != first {
		t.Errorf("c1 has %s, had %s", again, first)
	}
	w.agree(t)
}

func TestMetadataServesWhileTheAPIDoesNot(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	other := *w
	other.dataDir = t.TempDir()
	other.add(t, "before", nil)
	w.Inject(vpcsim.Fault{Code: "AuthFailure", Status: 401, Message: "refused", Times: 1000})
	w.add(t, "c1", nil)
}

// An address that was assigned behind our back is found when it is asked for.
func TestRequestedAddressIsFoundAtTheCloud(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24")
	w.add(t, "c0", map[string]any{"batch": 1})
	other := *w
	other.dataDir = t.TempDir()
	other.add(t, "by-hand", nil)
	want := other.add(t, "by-hand-too", map[string]any{"batch": 1})
	asking := *w
	asking.args = "IgnoreUnknown=1;IP=" + want.String()
	if got := asking.add(t, "c1", nil); got != want {
		t.Errorf("asked for %s, given %s", want, got)
	}
	asking.args = "IP=10.0.0.250"
	if _, failed := asking.run(t, "ADD", "c2", nil); failed == nil || failed.Code != cnierr.RequestedAddress {
		t.Errorf("asked for what no ENI has: %+v, want code %d", failed, cnierr.RequestedAddress)
	}
	w.agree(t)
}

func TestRequestedAddressOfAnENIThatIsNotForContainers(t *testing.T) {
	w := newWorld(t, "m5.large", "10.0.0.0/24", "10.0.1.0/24")
	held := w.add(t, "c0", map[string]any{"batch": 2})
	spare := slices.DeleteFunc(w.agree(t), func(ip netip.Addr) bool { return ip == held })[0]
	asking := *w
	asking.args = "IP=" + spare.String()
	_, failed := asking.run(t, "ADD", "c1", map[string]any{"firstDeviceIndex": 1})
	if failed == nil || failed.Code != cnierr.RequestedAddress ||
		!strings.Contains(failed.Msg, w.enis[0].ID+`, which has it, is device 0, and "firstDeviceIndex" is 1`) {
		t.Errorf("asked for an address of the primary ENI: %+v, want code %d and why", failed, cnierr.RequestedAddress)
	}
	asking.args = "IP=" + held.String()
	if got := asking.add(t, "c0", map[string]any{"firstDeviceIndex": 1}); got != held {
		t.Errorf("c0 has %s, had %s", got, held) // who has one already keeps it
	}
}
