package supply_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/vpcsim"
)

// giveBoth is the section of a network that gives both families, with more fields.
func giveBoth(more map[string]any) map[string]any {
	section := map[string]any{"families": []string{"ipv4", "ipv6"}, "cooldown": "0s", "prefixes": false}
	maps.Copy(section, more)
	return section
}

// A family that lacks nothing costs no call when another one grows.
func TestAFamilyThatLacksNothingAsksNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.warm(3, map[string]any{"prefixes": false})
	w.learn6()
	before := w.Calls("DescribeInstanceTypes") // once for each look at what there is
	w.add("c1", giveBoth(nil))
	if n := w.Calls("DescribeInstanceTypes") - before; n > 0 {
		t.Errorf("%d times more than needed", n)
	}
}

// An ADD that can have both is not refused because the pool of one cannot be filled up to what is to be kept.
func TestAFamilyThatIsNotFilledUpKeepsNoneBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.warm(2, map[string]any{"prefixes": false, "batch": 1})
	if err := w.FillSubnet("subnet-0", 0); err != nil {
		t.Fatal(err)
	}
	w.add("c1", giveBoth(map[string]any{"warm": map[string]int{"min": 4, "target": 4}}))
}

// A refill fills the one family where the other has no more.
func TestARefillOfAFamilyBesideAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.warm(2, map[string]any{"prefixes": false, "batch": 1})
	if err := w.FillSubnet("subnet-0", 0); err != nil {
		t.Fatal(err)
	}
	err := w.supply(giveBoth(map[string]any{"warm": map[string]int{"min": 4, "target": 4}})).Refill(t.Context())
	if err == nil {
		t.Error("it does not say that the subnet is full")
	}
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) != 1 {
		t.Errorf("of IPv6 it got %v", ranges)
	}
}

// Drain deletes an ENI whose prefix others took, when its last container is gone.
func TestDrainOfAnENIWhosePrefixIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	network := map[string]any{"families": []string{"ipv6"}, "cooldown": "0s", "firstDeviceIndex": 1}
	a := w.add("c1", network)
	if err := w.RemoveIPv6Prefix(a.ENI, a.Prefix); err != nil {
		t.Fatal(err)
	}
	w.ahead += 2 * time.Minute
	w.learn6()
	w.del("c1", network)
	w.ahead += 2 * time.Minute
	if d, err := w.supply(network).Drain(t.Context(), a.ENI); err != nil || !d.Deleted {
		t.Errorf("%+v, %v", d, err)
	}
}

// A network whose IPv6 no subnet has does not keep one of IPv4 on the same node from another ENI.
func TestIPv6ThatNoSubnetHasIsNoReasonToMakeNoENI(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, vpcsim.Config{}, "m5.large", 1, "10.0.0.0/24")
	if _, err := w.allocate("six", give6()); cloud.ClassOf(err) != cloud.Unsupported { // no address that comes free is of help
		t.Errorf("of IPv6: %v", err)
	}
	calls := w.Calls("DescribeSubnets")
	if _, err := w.allocate("six-again", give6()); err == nil || w.Calls("DescribeSubnets") != calls {
		t.Errorf("%d calls for what rests: %v", w.Calls("DescribeSubnets")-calls, err)
	}
	for i := range 12 { // more than the primary ENI has
		w.add(fmt.Sprint("c", i), map[string]any{"prefixes": false})
	}
}

// An owner that has an address of one family already waits for the other alone: no more is asked for of what it has.
func TestWhoHasOneFamilyWaitsForTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.add("c1", map[string]any{"prefixes": false, "batch": 1})
	calls := w.Calls("AssignPrivateIpAddresses")
	w.add("c1", giveBoth(map[string]any{"batch": 1}))
	if n := w.Calls("AssignPrivateIpAddresses") - calls; n > 0 {
		t.Errorf("%d calls for an address of IPv4 that nobody wants", n)
	}
}

// Nothing is asked for of one family where who waits cannot have the other.
func TestAFamilyInVain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.add("c1", map[string]any{"maxIPs": 1, "batch": 1, "prefixes": false})
	_, err := w.allocate("c2", giveBoth(map[string]any{"maxIPs": 1}))
	if cloud.ClassOf(err) != cloud.Quota {
		t.Errorf("an ADD that can have no IPv4: %v", err)
	}
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) > 0 {
		t.Errorf("of IPv6 it asked for %v", ranges)
	}
}

// A network that begins to give a family on a node which has an address of it uses that first.
func TestAFamilyThatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	_, has, err := w.AddIPv6(w.ENIs(w.instance.ID)[0].ID, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.add("c1", map[string]any{"prefixes": false})
	if six := w.add("c2", give6()); six.Prefix != has[0] {
		t.Errorf("given %s of %s, and the ENI had %s", six.IP, six.Prefix, has)
	}
	if n := w.Calls("AssignIpv6Addresses"); n > 0 {
		t.Errorf("%d calls for more", n)
	}
}
