package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enichain/enichain/core/family"
)

func block(prefixes ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range prefixes {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// checkPrefixes compares the prefixes' records with what their addresses say, and adds what that makes of the pools' counts
// and of the index.
func checkPrefixes(tx *Tx, prefixes, pools map[string]Counts, indexed map[string]bool) error {
	var wrong []error
	for key, want := range prefixes {
		var got Counts
		if _, err := tx.get(bucketPrefixes, []byte(key), &got); err != nil || got != want {
			wrong = append(wrong, fmt.Errorf("%q counts %+v, has %+v: %w", key, got, want, err))
		}
		for pool, n := range pools {
			rest, ok := strings.CutPrefix(key, pool+"\x00")
			if !ok {
				continue
			}
			p, _, err := splitPacking(append([]byte{0, 0}, rest...))
			wrong = append(wrong, err)
			n.addPrefix(p, want, 1)
			pools[pool] = n
			if want.Free > 0 {
				indexed[string(bucketPacking)+string(packingKey(strings.TrimSuffix(pool, "/6"), p, want.Free))] = true
			}
		}
	}
	wrong = append(wrong, tx.b.Bucket(bucketPrefixes).ForEach(func(k, _ []byte) error {
		if _, ok := prefixes[string(k)]; !ok {
			return fmt.Errorf("prefix %q has no addresses", k)
		}
		return nil
	}))
	return errors.Join(wrong...)
}

// prefixed returns a store whose ENI has prefixes and addresses, and the clock that it reads.
func prefixed(t *testing.T, prefixes []netip.Prefix, addresses []netip.Addr) (*Store, *time.Duration) {
	t.Helper()
	s, clock := At(ramDir(t)), time.Hour
	s.now = func() time.Duration { return clock }
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutENI(ENI{ID: "a"}), tx.AddPrefixes("a", prefixes), tx.AddAddresses("a", addresses))
	})
	return s, &clock
}

// counts returns what the ENI has; the indexes must be right.
func counts(t *testing.T, s *Store) Counts {
	t.Helper()
	var n Counts
	update(t, s, func(tx *Tx) (err error) { n, err = tx.Counts("a", family.IPv4); return errors.Join(err, check(tx)) })
	n.Changed = 0
	return n
}

func TestAPrefixTakesOnePlace(t *testing.T) {
	s, _ := prefixed(t, block("10.0.0.16/28", "10.0.0.32/28"), ips("10.0.0.5", 3))
	if n := counts(t, s); n.Places() != 5 || n.Total() != 35 || n.FreePrefixes != 2 || n.Scattered != 0 {
		t.Errorf("two prefixes and three addresses: %+v, %d places", n, n.Places())
	}
	for i := range 4 { // into a prefix only when the addresses are gone
		a := take(t, s, owner(i))
		if want := i == 3; a.Prefix.IsValid() != want {
			t.Errorf("the address %d is %+v", i, a)
		}
	}
	if n := counts(t, s); n.Places() != 5 || n.Free != 31 || n.FreePrefixes != 1 || n.Scattered != 15 {
		t.Errorf("with four in use: %+v, %d places", n, n.Places())
	}
}

// The first and the last address of a prefix are usable too, and the prefix that is in use is filled up first.
func TestPrefixesAreFilledOneAfterTheOther(t *testing.T) {
	s, clock := prefixed(t, block("10.0.0.0/28", "10.0.0.16/28"), nil)
	got := map[netip.Prefix][]netip.Addr{}
	var first Address
	for i := range 32 {
		a := take(t, s, owner(i))
		got[a.Prefix] = append(got[a.Prefix], a.IP)
		if i == 0 {
			first = a
		}
		if n := len(got); n != 1+i/16 {
			t.Fatalf("%d containers are in %d prefixes", i+1, n)
		}
		*clock += time.Second
	}
	for p, ips := range got {
		if slices.SortFunc(ips, netip.Addr.Compare); !slices.Equal(ips, slices.Collect(AddressesIn(p))) {
			t.Errorf("of %s containers got %v", p, ips)
		}
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(20), 0); return err })
	update(t, s, func(tx *Tx) error { // all of the first but one
		for i := range 15 {
			if _, err := tx.Release(owner(1+i), 0); err != nil {
				return err
			}
		}
		return tx.Thaw()
	})
	if a := take(t, s, owner(40)); a.Prefix == first.Prefix {
		t.Errorf("given %s of the emptier prefix %s", a.IP, a.Prefix)
	}
	if n := counts(t, s); n.FreePrefixes != 0 || n.Scattered != 15 {
		t.Errorf("%+v", n)
	}
}

func TestAPrefixGoesBackAsAWhole(t *testing.T) {
	prefixes := block("10.0.0.16/28", "10.0.0.32/28")
	s, clock := prefixed(t, prefixes, nil)
	a := take(t, s, owner(1))
	mark := func() (marked []netip.Prefix) {
		update(t, s, func(tx *Tx) (err error) { marked, err = tx.MarkReleasingPrefixes("a", family.IPv4, 5); return err })
		return marked
	}
	other := prefixes[0]
	if a.Prefix == other {
		other = prefixes[1]
	}
	if marked := mark(); len(marked) != 1 || marked[0] != other {
		t.Errorf("with %s of %s in use, %v go", a.IP, a.Prefix, marked)
	}
	if n := counts(t, s); n.Releasing != 16 || n.Places() != 3 && n.Places() != 2 || n.FreePrefixes != 0 {
		t.Errorf("while one goes: %+v", n)
	}
	update(t, s, func(tx *Tx) error {
		_, err := tx.TakeThis(other.Addr(), owner(2), Sandbox{})
		if !errors.Is(err, ErrNotFree) {
			t.Errorf("an address of a prefix that goes: %v", err)
		}
		singles, err := tx.MarkReleasing("a", family.IPv4, 5)
		if len(singles) > 0 {
			t.Errorf("addresses of a prefix go by themselves: %v", singles)
		}
		return err
	})
	update(t, s, func(tx *Tx) error { return tx.RemovePrefixes(block(other.String())) })
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), time.Minute); return err })
	if marked := mark(); len(marked) > 0 {
		t.Errorf("with an address that cools down, %v go", marked)
	}
	*clock += time.Hour
	update(t, s, (*Tx).Thaw)
	if marked := mark(); len(marked) != 1 {
		t.Errorf("with all of it free, %v go", marked)
	}
	update(t, s, func(tx *Tx) error { return tx.UnreleasePrefixes(prefixes) })
	if n := counts(t, s); n.FreePrefixes != 1 || n.Places() != 1 || n.Total() != 16 {
		t.Errorf("put back to use: %+v", n)
	}
	update(t, s, func(tx *Tx) error { return errors.Join(tx.MarkReleasingAll("a"), tx.RemoveENI("a")) })
	if n := counts(t, s); n != (Counts{}) {
		t.Errorf("the ENI is gone, and has %+v", n)
	}
}

// A prefix that is gone leaves its containers their addresses, and is none that could go back.
func TestWhatIsLeftOfAPrefixIsNoWholeOne(t *testing.T) {
	s, _ := prefixed(t, block("10.0.0.16/28"), nil)
	for i := range 3 {
		take(t, s, owner(i))
	}
	update(t, s, func(tx *Tx) error {
		all, err := tx.Addresses()
		for _, a := range all {
			if a.State == Free {
				err = errors.Join(err, tx.Remove([]netip.Addr{a.IP}))
			}
		}
		for i := range 3 {
			_, releaseErr := tx.Release(owner(i), 0)
			err = errors.Join(err, releaseErr)
		}
		return errors.Join(err, tx.Thaw())
	})
	if n := counts(t, s); n.Free != 3 || n.FreePrefixes != 0 || n.Scattered != 3 || n.Places() != 1 {
		t.Errorf("%+v", n)
	}
}

// An address that was given by itself, and is by a prefix now, goes on to be its owner's.
func TestAnAddressMovesBetweenAPrefixAndNone(t *testing.T) {
	s, _ := prefixed(t, nil, ips("10.0.0.17", 1))
	a := take(t, s, owner(1))
	p := block("10.0.0.16/28")
	update(t, s, func(tx *Tx) error { return tx.AddPrefixes("a", p) })
	for _, want := range []netip.Prefix{p[0], {}} {
		update(t, s, func(tx *Tx) error {
			err := tx.Move(a.IP, "a", want)
			got, _, err2 := tx.Address(a.IP)
			if got.Prefix != want || got.State != Assigned || *got.Owner != owner(1) {
				t.Errorf("moved to %s: %+v", want, got)
			}
			return errors.Join(err, err2, tx.Move(netip.MustParseAddr("10.9.9.9"), "a", want), check(tx))
		})
	}
	if n := counts(t, s); n.Total() != 16 || n.Places() != 2 {
		t.Errorf("%+v", n)
	}
}

func TestAListMayBeOlderThanAPrefixesEnd(t *testing.T) {
	p := block("10.0.0.16/28")
	s, clock := prefixed(t, p, nil)
	update(t, s, func(tx *Tx) error { return errors.Join(tx.RemovePrefixes(p), tx.AddSeenPrefixes("a", p, time.Minute)) })
	if n := counts(t, s); n.Total() != 0 {
		t.Errorf("a list of before brings back %+v", n)
	}
	*clock += time.Minute
	update(t, s, func(tx *Tx) error { return tx.AddSeenPrefixes("a", p, time.Minute) })
	if n := counts(t, s); n.FreePrefixes != 1 {
		t.Errorf("a list of now brings %+v", n)
	}
	err := s.Update(t.Context(), func(tx *Tx) error { return tx.AddPrefixes("a", block("10.0.0.0/8")) })
	if err == nil {
		t.Error("sixteen million addresses are accepted")
	}
}

// Prefixes and addresses come, move, go and are taken in any order: no address has two owners, and the indexes are right.
func TestRandomPrefixes(t *testing.T) {
	s, clock := prefixed(t, nil, nil)
	update(t, s, func(tx *Tx) error { return tx.PutENI(ENI{ID: "b", DeviceIndex: 1}) })
	rnd := rand.New(rand.NewPCG(5, 6))
	all := block("10.0.0.0/29", "10.0.0.8/29", "10.0.0.16/29", "10.0.0.24/29")
	for step := range 1500 {
		*clock += time.Duration(rnd.IntN(2000)) * time.Millisecond
		eni, p := []string{"a", "b"}[rnd.IntN(2)], all[rnd.IntN(len(all)):][:1]
		update(t, s, func(tx *Tx) (err error) {
			switch dice := rnd.IntN(10); dice {
			case 0:
				err = tx.AddPrefixes(eni, p)
			case 1:
				err = tx.AddSeenPrefixes(eni, p, 10*time.Second)
			case 2:
				err = tx.AddSeen(eni, slices.Collect(AddressesIn(p[0]))[:3], 10*time.Second)
			case 3:
				var marked []netip.Prefix
				if marked, err = tx.MarkReleasingPrefixes(eni, family.IPv4, 1+rnd.IntN(2)); err == nil && rnd.IntN(2) == 0 {
					err = tx.RemovePrefixes(marked)
				} else if err == nil {
					err = tx.UnreleasePrefixes(marked)
				}
			case 4:
				var marked []netip.Addr
				if marked, err = tx.MarkReleasing(eni, family.IPv4, 2); err == nil {
					err = tx.Remove(marked)
				}
			case 5:
				err = tx.Move(p[0].Addr(), eni, p[0])
			case 6, 7:
				_, err = tx.Release(owner(rnd.IntN(20)), 5*time.Second)
			default:
				if _, err = tx.Take(owner(rnd.IntN(20)), Sandbox{}, family.IPv4, anyENI); errors.Is(err, ErrExhausted) {
					err = nil
				}
			}
			return err
		})
		if step%10 == 0 {
			update(t, s, check)
		}
	}
}

// A store that an enichain without prefixes wrote is read and goes on, with its containers.
func TestAnOlderStoreIsUpgraded(t *testing.T) {
	s, _ := filled(t, 2)
	a := take(t, s, owner(1))
	db, err := bbolt.Open(s.Path(), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(b *bbolt.Tx) error {
		for _, name := range [][]byte{bucketPrefixes, bucketPacking, bucketFreeOf, bucketRanges} {
			if err := b.DeleteBucket(name); err != nil {
				return err
			}
		}
		return b.Bucket(bucketMeta).Put(keyVersion, []byte("1"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	held := func(tx *Tx) error {
		held, err := tx.AddressesOf(owner(1))
		if len(held) != 1 || held[0].IP != a.IP {
			t.Errorf("held: %v", held)
		}
		return err
	}
	if err := s.View(t.Context(), held); err != nil {
		t.Error(err)
	}
	update(t, s, func(tx *Tx) error {
		return errors.Join(held(tx), tx.AddPrefixes("eni-a", block("10.0.0.32/28")), check(tx))
	})
	take(t, s, owner(2))
}
