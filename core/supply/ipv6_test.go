package supply_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/vpcsim"
)

// give6 is the section of a network that gives IPv6.
func give6() map[string]any { return map[string]any{"families": []string{"ipv6"}, "cooldown": "0s"} }

// learn6 asks the cloud, in such a network.
func (w *world) learn6() {
	w.t.Helper()
	if err := w.supply(give6()).Learn(w.t.Context()); err != nil {
		w.t.Fatalf("learn: %v", err)
	}
}

// A prefix that others took away is forgotten where nobody has an address of it; a container that has one keeps it, and others
// get none.
func TestAPrefixOfIPv6ThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	a := w.add("c1", give6())
	if err := w.RemoveIPv6Prefix(a.ENI, a.Prefix); err != nil {
		t.Fatal(err)
	}
	w.learn6()
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) != 1 || ranges[0].Lost {
		t.Errorf("a list that may be older than the prefix makes them %+v", ranges)
	}
	w.ahead += 2 * time.Minute
	w.learn6()
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) != 1 || !ranges[0].Lost {
		t.Errorf("the ranges are %+v", ranges)
	}
	if again := w.add("c1", give6()); again.IP != a.IP {
		t.Errorf("its container has %s, and then %s", a.IP, again.IP)
	}
	other := w.add("c2", give6())
	if a.Prefix.Contains(other.IP) {
		t.Errorf("%s is given of a prefix that is gone", other.IP)
	}
	w.del("c1", give6())
	w.ahead += 2 * time.Minute
	w.learn6()
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) != 1 || ranges[0].Prefix != other.Prefix {
		t.Errorf("when nobody has an address of it: %+v", ranges)
	}
}

// A list without a prefix may be wrong for once: the next that has it puts it back to use.
func TestAPrefixOfIPv6ThatIsFoundAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 2, "10.0.0.0/24", "10.0.1.0/24")
	a := w.add("c1", give6())
	err := w.store.Update(t.Context(), func(tx *store.Tx) error { return tx.LoseRange(a.Prefix, true) })
	if err != nil {
		t.Fatal(err)
	}
	w.learn6()
	if b := w.add("c2", give6()); b.Prefix != a.Prefix {
		t.Errorf("given %s of %s, and %s is there", b.IP, b.Prefix, a.Prefix)
	}
}

// A store that lost its prefix to another ENI follows it, with the containers that have addresses of it.
func TestAPrefixOfIPv6OnAnotherENI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 2, "10.0.0.0/24", "10.0.1.0/24")
	a := w.add("c1", give6())
	enis := w.ENIs(w.instance.ID)
	at := slices.IndexFunc(enis, func(e vpcsim.ENI) bool { return e.ID != a.ENI })
	err := w.store.Update(t.Context(), func(tx *store.Tx) error { return tx.AddPrefixes(enis[at].ID, []netip.Prefix{a.Prefix}) })
	if err != nil {
		t.Fatal(err)
	}
	w.learn6()
	now := w.add("c1", give6())
	if now.IP != a.IP || now.ENI != a.ENI {
		t.Errorf("it is %s of %s, which the cloud has on %s", now.IP, now.ENI, a.ENI)
	}
}

// A network of IPv4 neither takes what an ENI has of IPv6, nor forgets what another network of the node uses.
func TestANetworkOfIPv4LeavesIPv6Alone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	eni := w.ENIs(w.instance.ID)[0].ID
	if _, _, err := w.AddIPv6(eni, 2, 1); err != nil {
		t.Fatal(err)
	}
	w.add("c1", nil)
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) > 0 {
		t.Errorf("it took %v", ranges)
	}
	six := w.add("c2", give6())
	w.ahead += 2 * time.Minute
	w.learn()
	if again := w.add("c2", give6()); again.IP != six.IP {
		t.Errorf("c2 had %s, and has %s", six.IP, again.IP)
	}
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) != 1 || ranges[0].Lost {
		t.Errorf("after a network of IPv4 asked the cloud: %+v", ranges)
	}
}

// An ENI whose IPv6 the cloud does not tell for once keeps what is known of it.
func TestIPv6ThatIsNotToldIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.add("c1", give6())
	before := read(w, (*store.Tx).ENIs)[0]
	err := w.store.Update(t.Context(), func(tx *store.Tx) error {
		e := before
		e.Subnet6, e.Gateway6, e.Limit6 = store.ENI{}.Subnet6, store.ENI{}.Gateway6, 0
		return tx.PutENI(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := read(w, (*store.Tx).ENIs)[0]; after != before || !after.Gateway6.IsValid() {
		t.Errorf("%+v became %+v", before, after)
	}
}

// What is open of IPv6 when a process dies is settled by the next that asks the cloud.
func TestOpenChangesOfIPv6(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{"not done": false, "done": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
			eni := w.ENIs(w.instance.ID)[0].ID
			if _, err := w.AddOwnIPv6(eni); err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.AddIPv6(eni, 3, 0); err != nil {
				t.Fatal(err)
			}
			w.learn6()
			marked := read(w, func(tx *store.Tx) ([]store.Intent, error) {
				ips, err := tx.MarkReleasing(eni, "ipv6", 2)
				if err == nil {
					_, err = tx.Begin(store.Intent{Op: store.OpUnassign, ENI: eni, Addresses: ips})
				}
				return []store.Intent{{Addresses: ips}}, err
			})[0].Addresses
			if done {
				if err := w.RemoveIPv6(eni, marked...); err != nil {
					t.Fatal(err)
				}
			}
			w.learn6()
			if left := w.ENIs(w.instance.ID)[0].IPv6; len(left) != 1 || slices.Contains(marked, left[0]) {
				t.Errorf("of those that were to go, %v, are left %v", marked, left)
			}
			if open := read(w, (*store.Tx).Intents); len(open) > 0 {
				t.Errorf("left open: %+v", open)
			}
		})
	}
}

// What a process assigned that died is found by the next of any network, for nobody else may come.
func TestAnAssignmentOfIPv6IsSettledByANetworkOfIPv4(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.add("c1", nil)
	eni := w.ENIs(w.instance.ID)[0].ID
	err := w.store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Begin(store.Intent{Op: store.OpAssign, ENI: eni, CountPrefixes6: 1})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, prefixes, err := w.AddIPv6(eni, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.learn()
	if ranges := read(w, (*store.Tx).Ranges); len(ranges) != 1 || ranges[0].Prefix != prefixes[0] {
		t.Errorf("of %v the store has %+v", prefixes, ranges)
	}
	if open := read(w, (*store.Tx).Intents); len(open) > 0 {
		t.Errorf("left open: %+v", open)
	}
}

// What others gave another ENI while it was on its way back is in use there: whoever settles the release lets it be.
func TestAReleaseOfWhatMovedToAnotherENI(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]string{"release": store.OpUnassign, "deletion of the ENI": store.OpDeleteENI} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
			first := w.ENIs(w.instance.ID)[0].ID
			if _, err := w.AddOwnIPv6(first); err != nil {
				t.Fatal(err)
			}
			second, err := w.AddENI(w.instance.ID, "subnet-0", 1, netip.Addr{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Tag(second.ID, map[string]string{supply.TagOwner: "enichain", supply.TagInstance: w.instance.ID}); err != nil {
				t.Fatal(err)
			}
			ips, prefixes, err := w.AddIPv6(second.ID, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			w.learn6()
			for _, i := range []store.Intent{{Prefixes: prefixes}, {Addresses: ips}} {
				i.Op, i.ENI = op, second.ID
				err := w.store.Update(t.Context(), func(tx *store.Tx) error {
					_, err := tx.Begin(i)
					return errors.Join(err, tx.MarkReleasingAll(second.ID))
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := w.MoveIPv6(second.ID, first, ips, prefixes); err != nil {
				t.Fatal(err)
			}
			w.learn6()
			err = w.store.View(t.Context(), func(tx *store.Tx) error {
				for _, ip := range []netip.Addr{ips[0], prefixes[0].Addr().Next()} {
					if a, _, err := tx.Address(ip); err != nil || a.ENI != first || a.State != store.Free {
						t.Errorf("%s is %s on %q, %v", ip, a.State, a.ENI, err)
					}
				}
				intents, err := tx.Intents()
				if len(intents) > 0 {
					t.Errorf("left open: %+v", intents)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// AWS lists the addresses of a primary ENI in an order that it does not promise: the host's own stays the one that is known.
func TestTheHostsOwnIPv6Stays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t2.medium", 1, "10.0.0.0/24")
	eni := w.ENIs(w.instance.ID)[0].ID
	own, err := w.AddOwnIPv6(eni)
	if err != nil {
		t.Fatal(err)
	}
	a := w.add("c1", give6())
	w.driver = shuffled{w.driver}
	w.learn6()
	e := read(w, (*store.Tx).ENIs)[0]
	again := w.add("c1", give6())
	if e.PrimaryIP6 != own || again.IP != a.IP {
		t.Errorf("the host's own was %s and is %s, c1's was %s and is %s", own, e.PrimaryIP6, a.IP, again.IP)
	}
	for i := range 4 {
		if ip := w.add(fmt.Sprint("d", i), give6()).IP; ip == own {
			t.Errorf("a container was given the host's own %s", ip)
		}
	}
}

// shuffled is a driver that takes the last address of IPv6 for the host's.
type shuffled struct{ cloud.Driver }

func (d shuffled) ENIs(ctx context.Context, instance string) ([]cloud.ENI, error) {
	enis, err := d.Driver.ENIs(ctx, instance)
	for i, e := range enis {
		if n := len(e.IPv6); n > 0 {
			enis[i].PrimaryIP6, enis[i].IPv6 = e.IPv6[n-1], append([]netip.Addr{e.PrimaryIP6}, e.IPv6[:n-1]...)
		}
	}
	return enis, err
}

// An instance type that had no IPv6, by what the cloud said once, has it when the cloud says so.
func TestLimitsOfIPv6MayChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.learn6()
	err := w.store.Update(t.Context(), func(tx *store.Tx) error {
		n, _, err := tx.Node()
		n.NoIPv6, n.NoPrefixes = true, true
		return errors.Join(err, tx.SetNode(n))
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := w.add("c1", give6()); !a.Prefix.IsValid() {
		t.Errorf("given %+v", a)
	}
}
