package store

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/enichain/enichain/core/family"
)

// Prefixes of IPv6 as AWS has them.
const (
	slash80   = "2001:db8:0:1:5::/80"
	another80 = "2001:db8:0:1:6::/80"
)

// take6 is take for IPv6.
func take6(t *testing.T, s *Store, o Owner) Address {
	t.Helper()
	var a Address
	update(t, s, func(tx *Tx) (err error) { a, err = tx.Take(o, Sandbox{}, family.IPv6, anyENI); return err })
	return a
}

// counts6 is counts for IPv6.
func counts6(t *testing.T, s *Store, eni string) Counts {
	t.Helper()
	var n Counts
	update(t, s, func(tx *Tx) (err error) { n, err = tx.Counts(eni, family.IPv6); return errors.Join(err, check(tx)) })
	n.Changed = 0
	return n
}

func TestARangeListsWhatIsInUse(t *testing.T) {
	s, clock := prefixed(t, block(slash80), nil)
	if n := counts6(t, s, "a"); n.Free != 65535 || n.Places() != 1 || n.FreePrefixes != 1 {
		t.Errorf("a prefix of IPv6: %+v, %d places", n, n.Places())
	}
	first, second := take6(t, s, owner(1)), take6(t, s, owner(2))
	if first.IP.String() != "2001:db8:0:1:5::1" || second.IP.String() != "2001:db8:0:1:5::2" || first.Prefix.String() != slash80 {
		t.Errorf("given %+v and %+v", first, second)
	}
	if again := take6(t, s, owner(1)); again.IP != first.IP {
		t.Errorf("its owner gets %s again", again.IP)
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), time.Second); return err })
	if n := counts6(t, s, "a"); n.Free != 65533 || n.Assigned != 1 || n.Cooling != 1 || n.FreePrefixes != 0 || n.Scattered != 65533 {
		t.Errorf("one in use, one cooling down: %+v", n)
	}
	*clock += time.Minute
	update(t, s, func(tx *Tx) error {
		all, err := tx.Addresses()
		if len(all) != 2 { // before somebody thaws it
			t.Errorf("records: %v", all)
		}
		return errors.Join(err, tx.Thaw())
	})
	update(t, s, func(tx *Tx) error {
		all, err := tx.Addresses()
		if len(all) != 1 || all[0].IP != second.IP {
			t.Errorf("records: %v", all)
		}
		return err
	})
	if third := take6(t, s, owner(3)); third.IP.String() != "2001:db8:0:1:5::3" {
		t.Errorf("%s, which was in use, is given before those that never were", third.IP)
	}
}

func TestARangeMayBeExhausted(t *testing.T) {
	s, clock := prefixed(t, block("2001:db8::5:0/119"), nil) // 511 of its 512
	seen := map[netip.Addr]bool{}
	for i := range 511 {
		seen[take6(t, s, owner(i)).IP] = true
	}
	if len(seen) != 511 || seen[netip.MustParseAddr("2001:db8::5:0")] {
		t.Errorf("%d addresses are given", len(seen))
	}
	err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.Take(owner(511), Sandbox{}, family.IPv6, anyENI); return err })
	if !errors.Is(err, ErrExhausted) {
		t.Errorf("the last but one: %v", err)
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(7), time.Second); return errors.Join(err, check(tx)) })
	*clock += time.Minute
	if a := take6(t, s, owner(511)); a.IP.String() != "2001:db8::5:8" {
		t.Errorf("given %s", a.IP)
	}
}

func TestAnAddressOfARangeCanBeAskedFor(t *testing.T) {
	s, _ := prefixed(t, block(slash80), nil)
	for i, ip := range []string{"2001:db8:0:1:5::1", "2001:db8:0:1:5:aaaa:bbbb:cccc", "2001:db8:0:1:5::"} {
		update(t, s, func(tx *Tx) error {
			_, err := tx.TakeThis(netip.MustParseAddr(ip), owner(i), Sandbox{})
			if _, twice := tx.TakeThis(netip.MustParseAddr(ip), owner(9), Sandbox{}); !errors.Is(twice, ErrNotFree) {
				t.Errorf("%s to another: %v", ip, twice)
			}
			return err
		})
	}
	if a := take6(t, s, owner(4)); a.IP.String() != "2001:db8:0:1:5::2" {
		t.Errorf("given %s", a.IP)
	}
	counts6(t, s, "a")
	err := s.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.TakeThis(netip.MustParseAddr("2001:db8:0:1:7::1"), owner(5), Sandbox{})
		return err
	})
	if !errors.Is(err, ErrUnknownAddress) {
		t.Errorf("an address of no range: %v", err)
	}
}

func TestARangeGoesBackAsAWhole(t *testing.T) {
	both := block(slash80, another80)
	s, _ := prefixed(t, both, nil)
	a := take6(t, s, owner(1))
	var marked []netip.Prefix
	update(t, s, func(tx *Tx) (err error) { marked, err = tx.MarkReleasingPrefixes("a", family.IPv6, 5); return err })
	if len(marked) != 1 || marked[0] == a.Prefix {
		t.Fatalf("with %s in use, %v go", a.IP, marked)
	}
	if n := counts6(t, s, "a"); n.Releasing != 65535 || n.Assigned != 1 || n.Free != 65534 {
		t.Errorf("while one goes: %+v", n)
	}
	err := s.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.TakeThis(marked[0].Addr().Next(), owner(2), Sandbox{})
		return err
	})
	if !errors.Is(err, ErrNotFree) {
		t.Errorf("an address of a range that goes: %v", err)
	}
	update(t, s, func(tx *Tx) error { return tx.UnreleasePrefixes(marked) })
	if n := counts6(t, s, "a"); n.Releasing != 0 || n.FreePrefixes != 1 {
		t.Errorf("when it stays: %+v", n)
	}
	err = s.Update(t.Context(), func(tx *Tx) error { return tx.RemovePrefixes(both) })
	if !errors.Is(err, ErrNotFree) {
		t.Errorf("a range whose address a container has goes: %v", err)
	}
	update(t, s, func(tx *Tx) error {
		_, err := tx.Release(owner(1), time.Hour)
		return errors.Join(err, tx.RemoveENI("a"))
	})
	if n := counts6(t, s, "a"); n != (Counts{}) {
		t.Errorf("without the ENI: %+v", n)
	}
	update(t, s, func(tx *Tx) error {
		all, err := tx.Ranges()
		if len(all) != 0 {
			t.Errorf("ranges: %v", all)
		}
		return errors.Join(err, tx.PutENI(ENI{ID: "a"}), tx.AddSeenPrefixes("a", both, time.Minute))
	})
	if n := counts6(t, s, "a"); n.Total() != 0 {
		t.Errorf("a list of before brings back %+v", n)
	}
}

// A range that the API does not list any more is kept for the containers that it has, and gives to no others.
func TestALostRange(t *testing.T) {
	s, clock := prefixed(t, block(slash80), nil)
	a := take6(t, s, owner(1))
	lose := func(lost bool) {
		update(t, s, func(tx *Tx) error { return tx.LoseRange(a.Prefix, lost) })
	}
	lose(true)
	err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.Take(owner(2), Sandbox{}, family.IPv6, anyENI); return err })
	if !errors.Is(err, ErrExhausted) {
		t.Errorf("it gives: %v", err)
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), time.Second); return err })
	err = s.Update(t.Context(), func(tx *Tx) error { _, err := tx.TakeThis(a.IP, owner(1), Sandbox{}); return err })
	if !errors.Is(err, ErrNotFree) {
		t.Errorf("who had it may have it again: %v", err)
	}
	*clock += time.Minute
	update(t, s, (*Tx).Thaw)
	if n := counts6(t, s, "a"); n.Releasing != 65535 || n.Total() != 65535 {
		t.Errorf("when the last has gone: %+v", n)
	}
	lose(false)
	if n := counts6(t, s, "a"); n.FreePrefixes != 1 || n.Releasing != 0 {
		t.Errorf("when it is found again: %+v", n)
	}
}

func TestARangeMovesWithItsContainers(t *testing.T) {
	s, clock := prefixed(t, block(slash80), nil)
	update(t, s, func(tx *Tx) error { return tx.PutENI(ENI{ID: "b", DeviceIndex: 1}) })
	a, cooling := take6(t, s, owner(1)), take6(t, s, owner(2))
	update(t, s, func(tx *Tx) error {
		_, err := tx.Release(owner(2), time.Second)
		return errors.Join(err, tx.AddPrefixes("b", block(slash80)))
	})
	if n := counts6(t, s, "a"); n.Total() != 0 {
		t.Errorf("what it was: %+v", n)
	}
	if n := counts6(t, s, "b"); n.Assigned != 1 || n.Cooling != 1 || n.Free != 65533 || n.Places() != 1 {
		t.Errorf("what it is: %+v", n)
	}
	update(t, s, func(tx *Tx) error {
		for _, was := range []Address{a, cooling} {
			is, _, err := tx.Address(was.IP)
			if err != nil || is.ENI != "b" || is.Prefix != was.Prefix || *is.Owner != *was.Owner {
				t.Errorf("%+v became %+v: %v", was, is, err)
			}
		}
		return nil
	})
	*clock += time.Minute
	update(t, s, (*Tx).Thaw)
	counts6(t, s, "b")
}

// What was to take a range took it from the ENI where it was: on another one it is in use.
func TestARangeThatGoesBackMoves(t *testing.T) {
	s, _ := prefixed(t, block(slash80), nil)
	update(t, s, func(tx *Tx) error {
		_, err := tx.MarkReleasingPrefixes("a", family.IPv6, 1)
		return errors.Join(err, tx.PutENI(ENI{ID: "b", DeviceIndex: 1}), tx.AddPrefixes("b", block(slash80)))
	})
	if n := counts6(t, s, "b"); n.Free != RangeSize || n.Releasing != 0 {
		t.Errorf("on the other ENI: %+v", n)
	}
}

// An address that was in use comes back last in short ranges, too, of which all have bits of the number in common.
func TestAShortRangeGoesOn(t *testing.T) {
	s, clock := prefixed(t, block("2001:db8::5:8200/119"), nil)
	take6(t, s, owner(1))
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), time.Second); return err })
	*clock += time.Minute
	if a := take6(t, s, owner(2)); a.IP.String() != "2001:db8::5:8202" {
		t.Errorf("given %s", a.IP)
	}
}

// Addresses that were the ENI's by themselves, in each state, are of a range by now, which counts them once.
func TestAddressesMoveIntoARange(t *testing.T) {
	singles := ips("2001:db8:0:1:5::1", 4)
	s, clock := prefixed(t, nil, singles)
	p := block(slash80)
	update(t, s, func(tx *Tx) error {
		_, first := tx.TakeThis(singles[0], owner(1), Sandbox{})
		_, second := tx.TakeThis(singles[1], owner(2), Sandbox{})
		_, released := tx.Release(owner(2), time.Second)
		err := errors.Join(first, second, released)
		for _, ip := range singles {
			err = errors.Join(err, tx.Move(ip, "a", p[0]))
		}
		return errors.Join(err, tx.AddSeenPrefixes("a", p, time.Minute))
	})
	if n := counts6(t, s, "a"); n.Assigned != 1 || n.Cooling != 1 || n.Total() != RangeSize || n.Places() != 1 {
		t.Errorf("it is %+v", n)
	}
	*clock += time.Minute
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), 0); return errors.Join(err, tx.Thaw()) })
	if n := counts6(t, s, "a"); n.FreePrefixes != 1 || n.Total() != RangeSize {
		t.Errorf("when nobody has one it is %+v", n)
	}
}

// The second address of a container is of the ENI of the first, where that has one, though another is fuller.
func TestBothAddressesOfOneENI(t *testing.T) {
	s, _ := prefixed(t, block(slash80), ips("10.0.0.5", 3))
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutENI(ENI{ID: "b", DeviceIndex: 1}), tx.AddAddresses("b", ips("10.0.1.5", 3)), tx.AddPrefixes("b", block(another80)))
	})
	for i := range 8 {
		if i < 6 {
			take(t, s, owner(i))
		}
		take6(t, s, owner(i))
		update(t, s, func(tx *Tx) error {
			held, err := tx.AddressesOf(owner(i))
			switch {
			case len(held) == 2 && held[0].ENI == held[1].ENI:
			case len(held) == 1 && i >= 6:
			default:
				t.Errorf("%s holds %v", owner(i), held)
			}
			return err
		})
	}
	update(t, s, func(tx *Tx) error {
		released, err := tx.Release(owner(0), time.Second)
		if len(released) != 2 {
			t.Errorf("released: %v", released)
		}
		return errors.Join(err, check(tx))
	})
}

// Ranges and addresses of both families come, move, go, are lost and found, and are taken in any order: no address has two
// owners, and the indexes are right.
func TestRandomRanges(t *testing.T) {
	s, clock := prefixed(t, block("10.0.0.16/29"), ips("10.0.0.5", 3))
	update(t, s, func(tx *Tx) error { return tx.PutENI(ENI{ID: "b", DeviceIndex: 1}) })
	rnd := rand.New(rand.NewPCG(7, 8))
	all := block("2001:db8::1:0/119", "2001:db8::2:0/119", slash80, another80)
	singles := ips("2001:db8:9::10", 3)
	owns := map[Owner]map[family.Family]netip.Addr{}
	for step := range 2000 {
		*clock += time.Duration(rnd.IntN(2000)) * time.Millisecond
		eni, p, o := []string{"a", "b"}[rnd.IntN(2)], all[rnd.IntN(len(all)):][:1], owner(rnd.IntN(12))
		update(t, s, func(tx *Tx) (err error) {
			switch rnd.IntN(11) {
			case 0:
				return tx.AddPrefixes(eni, p)
			case 1:
				return tx.AddSeenPrefixes(eni, p, 10*time.Second)
			case 2:
				return tx.AddAddresses(eni, singles)
			case 3:
				marked, err := tx.MarkReleasingPrefixes(eni, family.IPv6, 1+rnd.IntN(2))
				if err == nil && rnd.IntN(2) == 0 {
					return tx.RemovePrefixes(marked)
				}
				return errors.Join(err, tx.UnreleasePrefixes(marked))
			case 4:
				marked, err := tx.MarkReleasing(eni, family.IPv6, 2)
				return errors.Join(err, tx.Remove(marked))
			case 5:
				return tx.LoseRange(p[0], rnd.IntN(2) == 0)
			case 6:
				return errors.Join(tx.MarkReleasingAll(eni), tx.UnreleaseAll(eni))
			case 7, 8:
				delete(owns, o)
				_, err = tx.Release(o, 5*time.Second)
				return err
			}
			f := family.All()[rnd.IntN(2)]
			a, err := tx.Take(o, Sandbox{}, f, anyENI)
			if errors.Is(err, ErrExhausted) {
				return nil
			}
			if has, holds := owns[o][f]; holds && has != a.IP || family.Of(a.IP) != f {
				t.Fatalf("step %d: %s has %s, was given %s", step, o, has, a.IP)
			}
			for other, has := range owns {
				if other != o && slices.Contains([]netip.Addr{has[family.IPv4], has[family.IPv6]}, a.IP) {
					t.Fatalf("step %d: %s is %s's and was given to %s", step, a.IP, other, o)
				}
			}
			if owns[o] == nil {
				owns[o] = map[family.Family]netip.Addr{}
			}
			owns[o][f] = a.IP
			return err
		})
		if step%10 == 0 {
			update(t, s, check)
		}
	}
}
