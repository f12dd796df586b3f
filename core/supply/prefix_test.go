package supply_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/vpcsim"
)

const assigning, unassigning = "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"

func TestAPrefixServesSixteen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", 1, "10.0.0.0/24") // 3 ENIs with 5 places each
	seen := map[netip.Addr]bool{}
	for i := range 17 {
		seen[w.add(fmt.Sprint("c", i), nil).IP] = true
	}
	if len(seen) != 17 {
		t.Errorf("17 containers have %d addresses", len(seen))
	}
	w.agree(2, 0)
}

// What an ENI has of IPv6 leaves the pool of IPv4 as it is: a /80 has more addresses than can be listed.
func TestIPv6OfAnENIIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	if _, _, err := w.AddIPv6(w.ENIs(w.instance.ID)[0].ID, 0, 1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.AddIPv6(w.ENIs(w.instance.ID)[0].ID, 3, 0); err != nil {
		t.Fatal(err)
	}
	w.learn()
	w.add("c", nil)
	w.agree(1, 0)
}

// Full ENIs give way to a new one, and the last says how full they are.
func TestAllPlacesTakePrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", 1, "10.0.0.0/22")
	w.warm(15*16, nil)
	w.agree(15, 0)
	if n := w.Calls(assigning); n != 1 {
		t.Errorf("%d calls to assign, want 1: new ENIs come with their prefixes", n)
	}
	if _, err := w.supply(nil).WarmTo(t.Context(), 241); err == nil || !strings.Contains(err.Error(), "is full with 5") {
		t.Errorf("one more: %v", err)
	}
}

// What is asked for stays below the operator's limit, and who wants one more is told so at once.
func TestMaxIPs(t *testing.T) {
	t.Parallel()
	for _, prefixes := range []bool{true, false} {
		w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
		most := map[string]any{"maxIPs": 20, "prefixes": prefixes}
		for i := range 20 {
			w.add(fmt.Sprint("c", i), most)
		}
		if prefixes {
			w.agree(1, 4)
		} else {
			w.agree(0, 20)
		}
		calls := w.Calls("DescribeNetworkInterfaces")
		if _, err := w.allocate("one-too-many", most); err == nil || !strings.Contains(err.Error(), `"maxIPs" is 20`) {
			t.Errorf("one more: %v", err)
		}
		if n := w.Calls("DescribeNetworkInterfaces") - calls; n > 2 {
			t.Errorf("%d calls to find that there is none", n)
		}
	}
}

// The call is never repeated blindly: it has no token, and would give as many again.
func TestALostAnswerWithPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.Inject(vpcsim.Fault{Action: assigning, Times: 1, AfterEffect: true})
	w.add("c1", nil)
	w.agree(1, 0)
}

func TestALostAnswerWithPrefixesThatIsSettledLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.learn()
	w.Inject(vpcsim.Fault{Action: assigning, Times: 1, AfterEffect: true})
	w.Inject(vpcsim.Fault{Action: "DescribeNetworkInterfaces", Code: "AuthFailure", Status: 401, Message: "refused", Times: -1})
	if a, err := w.allocate("c1", nil); err == nil {
		t.Fatalf("given %s, of which nobody knows whether it is assigned", a.IP)
	}
	if open := read(w, (*store.Tx).Intents); len(open) != 1 || open[0].CountPrefixes != 1 || open[0].Count != 0 {
		t.Errorf("journalled: %+v", open)
	}
	w.ClearFaults()
	w.add("c1", nil)
	w.agree(1, 0)
	if n := w.Calls(assigning); n != 1 {
		t.Errorf("%d calls to assign", n)
	}
}

func TestALostAnswerToMakingAnENIWithPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", 1, "10.0.0.0/22")
	w.warm(80, nil)
	w.Inject(vpcsim.Fault{Action: "CreateNetworkInterface", Times: 1, AfterEffect: true})
	w.warm(96, nil)
	w.agree(6, 0)
	if n := len(w.AllENIs()); n != 2 {
		t.Errorf("%d ENIs in the account, want 2", n)
	}
}

// fragment leaves no room for a prefix in a subnet.
func (w *world) fragment(subnet string) {
	w.t.Helper()
	if err := w.FragmentSubnet(subnet); err != nil {
		w.t.Fatal(err)
	}
}

// A subnet without room for a prefix gives addresses in the same ADD, and is not asked again for a while; the ENI of another
// subnet gets prefixes.
func TestAFragmentedSubnetGivesAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", 2, "10.0.0.0/24", "10.0.1.0/24")
	w.fragment("subnet-0")
	one := map[string]any{"batch": 1}
	for i := range 5 {
		if a := w.add(fmt.Sprint("c", i), one); a.Prefix.IsValid() {
			t.Errorf("given %+v", a)
		}
	}
	if n := w.Calls(assigning); n != 6 {
		t.Errorf("%d calls for 5 addresses and one prefix that was not there", n)
	}
	rest, rests := read(w, (*store.Tx).Rests)["prefixes/subnet-0"]
	if !rests || rest.Class != string(cloud.SubnetFull) || !strings.Contains(rest.Reason, "InsufficientCidrBlocks") {
		t.Errorf("resting: %+v", rest)
	}
	if a := w.add("c5", one); !a.Prefix.IsValid() || !netip.MustParsePrefix("10.0.1.0/24").Contains(a.IP) {
		t.Errorf("the ENI of the other subnet gave %+v", a)
	}
	w.agree(1, 5)
	w.EmptySubnets()
	w.ahead += 11 * time.Minute
	w.del("c0", map[string]any{"cooldown": "0s"})
	w.refill(breathing())
	w.warm(40, nil)
	for _, e := range w.ENIs(w.instance.ID) {
		if len(e.Prefixes) == 0 {
			t.Errorf("%s has no prefix, when the subnet has room again", e.ID)
		}
	}
}

// Where a prefix is left but not as many as are wanted, that one is taken.
func TestTheLastPrefixOfASubnet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/26") // four blocks, of which the first has the reserved addresses
	w.warm(50, nil)
	w.agree(2, 50-32) // the last block holds the broadcast address
}

func TestANewENIInAFragmentedSubnet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		subnets          []string
		prefixes, single int
	}{
		{"another has prefixes", []string{"subnet-0", "subnet-1"}, 1, 5},
		{"none has", []string{"subnet-0", "subnet-2"}, 0, 6},
	} {
		w := newWorld(t, "t3.medium", 1, "10.0.0.0/24", "10.0.1.0/25", "10.0.2.0/26")
		w.fragment("subnet-0")
		w.fragment("subnet-2")
		for i := range 6 {
			w.add(fmt.Sprint("c", i), map[string]any{"batch": 1, "subnets": tt.subnets})
		}
		w.agree(tt.prefixes, tt.single)
		_, rest := read(w, (*store.Tx).Rests)["prefixes"]
		if enis := w.ENIs(w.instance.ID); len(enis) != 2 || rest != (tt.prefixes == 0) {
			t.Errorf("%s: %d ENIs, prefixes of new ENIs rest: %v", tt.name, len(enis), rest)
		}
	}
}

// A subnet does not say how many prefixes it has: fewer than are wanted are better than none.
func TestANewENIWithFewerPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", 1, "10.0.0.0/24", "10.0.1.0/26")
	w.add("c1", map[string]any{"batch": 48, "firstDeviceIndex": 1, "subnets": []string{"subnet-1"}})
	w.agree(1, 0)
	if enis := w.ENIs(w.instance.ID); len(enis) != 2 || len(enis[1].Prefixes) != 1 {
		t.Errorf("%+v, want a second one, with a prefix", enis)
	}
}

func TestAnInstanceTypeWithoutPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t2.medium", 1, "10.0.0.0/24") // of a generation that takes none
	for i := range 6 {
		w.add(fmt.Sprint("c", i), map[string]any{"batch": 1})
	}
	w.agree(0, 6)
	if n := w.Calls(assigning); n != 5 {
		t.Errorf("%d calls for 5 addresses: prefixes were asked for", n)
	}
	w.Inject(vpcsim.Fault{Action: "DescribeInstanceTypes", Code: "UnauthorizedOperation", Status: 403, Message: "no", Times: -1})
	w.learn()
	w.add("c6", map[string]any{"batch": 1}) // what was known of the type still is
	w.agree(0, 7)
}

func TestStaleMetadataTakesNoPrefix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.learn()
	w.StaleMetadata(true) // it shows none from here on
	a := w.add("c1", nil)
	w.ahead += time.Hour
	w.learn()
	w.agree(1, 0)
	if _, err := w.AddPrefixes(a.ENI, 1); err != nil {
		t.Fatal(err)
	}
	w.learn()
	w.agree(2, 0) // by the API, which is never stale
	w.Inject(vpcsim.Fault{Code: "AuthFailure", Status: 401, Message: "refused", Times: -1})
	w.learn() // from the metadata service alone
	if now, held := w.places()[a.IP]; !held || now.Prefix != a.Prefix || len(w.places()) != 32 {
		t.Errorf("%s is at %v now, among %d", a.IP, now, len(w.places()))
	}
}

// Prefixes that the metadata service names serve while the API does not answer.
func TestMetadataNamesPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	p, err := w.AddPrefixes(w.ENIs(w.instance.ID)[0].ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.Inject(vpcsim.Fault{Code: "AuthFailure", Status: 401, Message: "refused", Times: -1})
	if a := w.add("c1", nil); a.Prefix != p[0] {
		t.Errorf("given %+v, want one of %s", a, p)
	}
}

// A prefix that is taken away leaves containers their addresses; what nobody has of it is forgotten, and so is the rest
// when they are gone.
func TestAPrefixThatIsTakenAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	a := w.add("c1", nil)
	if err := w.RemovePrefix(a.ENI, a.Prefix); err != nil {
		t.Fatal(err)
	}
	w.learn()
	if n := len(w.places()); n != 16 {
		t.Errorf("%d are left of what may be too new for the list", n)
	}
	w.ahead += 2 * time.Minute
	w.learn()
	if at := w.places(); len(at) != 1 || at[a.IP].Prefix != a.Prefix {
		t.Errorf("left: %v, want %s, which a container has", at, a.IP)
	}
	w.add("c2", nil) // of another prefix
	w.del("c1", map[string]any{"cooldown": "0s"})
	w.refill(nil) // thaws
	w.ahead += 2 * time.Minute
	w.learn()
	w.agree(1, 0)
}

// Whatever an ENI has is used, whoever asked for it, and the option may be switched with containers there.
func TestTheOptionIsSwitched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/22")
	on, off := map[string]any{"batch": 1}, map[string]any{"batch": 1, "prefixes": false}
	has := map[string]store.Address{}
	for i := range 60 {
		conf := on
		if i%4 < 2 {
			conf = off
		}
		id := fmt.Sprint("c", i)
		has[id] = w.add(id, conf)
	}
	p, s := 0, 0
	for _, e := range w.ENIs(w.instance.ID) {
		p, s = p+len(e.Prefixes), s+len(e.Secondary)
	}
	if p == 0 || s == 0 {
		t.Errorf("%d prefixes and %d addresses: want both", p, s)
	}
	w.agree(p, s)
	for id, a := range has {
		for _, conf := range []map[string]any{on, off} {
			if again := w.add(id, conf); again.IP != a.IP {
				t.Errorf("%s has %s now, had %s", id, again.IP, a.IP)
			}
		}
	}
	owners := slices.Collect(maps.Values(has))
	slices.SortFunc(owners, func(a, b store.Address) int { return a.IP.Compare(b.IP) })
	if len(slices.CompactFunc(owners, func(a, b store.Address) bool { return a.IP == b.IP })) != 60 {
		t.Error("an address has two owners")
	}
	for id := range has {
		w.del(id, map[string]any{"cooldown": "0s"})
	}
	w.refill(breathing())
	w.refill(breathing())
	if len(w.ENIs(w.instance.ID)) != 1 {
		t.Errorf("%d ENIs are left", len(w.ENIs(w.instance.ID)))
	}
	w.agree(0, 0)
}

// Others took addresses and gave their range as a prefix: containers keep them.
func TestAnAddressBecomesAPrefixs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/26")
	eni := w.ENIs(w.instance.ID)[0].ID
	first := w.add("c1", map[string]any{"prefixes": false, "batch": 1})
	if err := w.RemoveAddress(first.IP); err != nil {
		t.Fatal(err)
	}
	p, err := w.AddPrefixes(eni, 2)
	if err != nil {
		t.Fatal(err)
	}
	read(w, func(tx *store.Tx) (any, error) { // as if that one had been of the range
		return nil, tx.AddAddresses(eni, []netip.Addr{p[0].Addr().Next()})
	})
	w.learn()
	if at := w.places()[p[0].Addr().Next()]; at.Prefix != p[0] {
		t.Errorf("it is at %v, want %s", at, p[0])
	}
	w.del("c1", map[string]any{"cooldown": "0s"})
	w.refill(nil)
	w.ahead += 2 * time.Minute
	w.learn()
	w.agree(2, 0)
}
