package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enichain/enichain/core/family"
)

// Two ENIs with one table would send one's containers out by the other, where the cloud drops them. Device indexes repeat:
// on types with several network cards, after a detach and an attach, and in two static pools over one store.
func TestNoTwoENIsShareATable(t *testing.T) {
	s := At(ramDir(t))
	tables := map[int]string{}
	update(t, s, func(tx *Tx) error {
		err := tx.PutENI(ENI{ID: "primary", Primary: true, Table: 254})
		for i, table := range []int{2, 3, 2, 2, 252, 253, 254, 255} {
			err = errors.Join(err, tx.PutENI(ENI{ID: fmt.Sprint("eni-", i), DeviceIndex: 1, Table: table}))
		}
		enis, err2 := tx.ENIs()
		for _, e := range enis {
			if other, taken := tables[e.Table]; taken {
				t.Errorf("%s and %s both have table %d", other, e.ID, e.Table)
			}
			if !e.Primary && e.Table >= 253 && e.Table <= 255 {
				t.Errorf("%s has table %d, which is the kernel's own", e.ID, e.Table)
			}
			tables[e.Table] = e.ID
		}
		return errors.Join(err, err2)
	})
	if tables[2] != "eni-0" || tables[3] != "eni-1" {
		t.Errorf("a table that nobody had was not given as it was wished: %v", tables)
	}
}

func TestAnENIKeepsItsLimitWhenTheCloudDoesNotSay(t *testing.T) {
	s := At(ramDir(t))
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutENI(ENI{ID: "a", Limit: 10}), tx.PutENI(ENI{ID: "a"}))
	})
	update(t, s, func(tx *Tx) error {
		e, _, err := tx.ENI("a")
		if e.Limit != 10 {
			t.Errorf("limit %d, want 10", e.Limit)
		}
		return err
	})
}

// rested returns a store whose addresses, many more than one Take makes free, have all rested for long enough.
func rested(t *testing.T, n int) *Store {
	t.Helper()
	s, clock := filled(t, n)
	for i := range 2 * n {
		take(t, s, owner(i))
	}
	for i := range 2 * n {
		update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(i), time.Second); return err })
	}
	*clock += time.Hour
	return s
}

func TestARestedAddressCanBeAskedFor(t *testing.T) {
	s := rested(t, 100)
	want := netip.MustParseAddr("10.0.1.109")
	update(t, s, func(tx *Tx) error {
		a, err := tx.TakeThis(want, owner(1000), Sandbox{})
		if err != nil {
			t.Errorf("ask for %s, an hour after its cool-down: %v", want, err)
			return nil
		}
		if a.IP != want {
			t.Errorf("asked for %s, given %s", want, a.IP)
		}
		return check(tx)
	})
}

func TestRestedAddressesOfOtherENIsHideNone(t *testing.T) {
	s := rested(t, 100) // those of eni-a were released first
	update(t, s, func(tx *Tx) error {
		_, err := tx.Take(owner(1000), Sandbox{}, family.IPv4, func(e ENI) int { return map[string]int{"eni-a": -1}[e.ID] })
		if err != nil {
			t.Errorf("eni-b has 100 addresses that nobody has: %v", err)
		}
		return check(tx)
	})
}

// An operator who looks into the file is told so, and not that the store is damaged and could be moved away.
func TestAStoreThatAnotherProgramHasOpenIsNotDamaged(t *testing.T) {
	s, _ := filled(t, 1)
	db, err := bbolt.Open(s.Path(), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), func(*Tx) error { return nil })
	if err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("while another program has it open: %v, want an error that is not ErrCorrupt", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(*Tx) error { return nil })
}

func TestANewerStoreOfAnEarlierBootIsAnewOne(t *testing.T) {
	s, _ := filled(t, 1)
	take(t, s, owner(1))
	rewrite(t, s, keyVersion, strconv.Itoa(Version+1))
	rewrite(t, s, keyBoot, "another-boot")
	if err := s.View(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrNoStore) {
		t.Errorf("view: %v, want ErrNoStore", err)
	}
	update(t, s, func(tx *Tx) error {
		held, err := tx.AddressesOf(owner(1))
		if len(held) > 0 {
			t.Errorf("known after a reboot: %v", held)
		}
		return err
	})
}

func TestAMappedAddressIsTheSameAddress(t *testing.T) {
	s := At(ramDir(t))
	update(t, s, func(tx *Tx) error {
		err := errors.Join(tx.PutENI(ENI{ID: "a"}), tx.AddAddresses("a", []netip.Addr{
			netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.1"),
		}))
		all, err2 := tx.Addresses()
		if len(all) != 1 {
			t.Errorf("10.0.0.1 in two spellings gives %v: two containers could have it", all)
		}
		return errors.Join(err, err2)
	})
}

// An ENI's number is that of its table where that is free, for its life; none is 0 or another's, and all 63 can be had. One of
// an older store gets one when it is next put.
func TestNumbersOfENIs(t *testing.T) {
	s := At(t.TempDir())
	update(t, s, func(tx *Tx) error {
		err := tx.PutENI(ENI{ID: "primary", Primary: true, Table: 254})
		for i := range 65 {
			err = errors.Join(err, tx.PutENI(ENI{ID: fmt.Sprint("eni-", i), DeviceIndex: i, Table: 62 + i}))
		}
		return errors.Join(err, tx.PutENI(ENI{ID: "eni-3", Table: 9, Number: 9}))
	})
	update(t, s, func(tx *Tx) error {
		enis, err := tx.ENIs()
		numbers := map[int]string{}
		for _, e := range enis {
			last := e.ID == "eni-63" || e.ID == "eni-64"
			if (e.Number == 0) != (last || e.Primary) {
				t.Errorf("%s has the number %d", e.ID, e.Number)
			}
			if other, taken := numbers[e.Number]; taken && e.Number != 0 {
				t.Errorf("%s and %s both have the number %d", other, e.ID, e.Number)
			}
			numbers[e.Number] = e.ID
		}
		if numbers[62] != "eni-0" || numbers[63] != "eni-1" || numbers[1] != "eni-2" || numbers[2] != "eni-3" {
			t.Errorf("unexpected numbers %v", numbers)
		}
		return err
	})
	update(t, s, func(tx *Tx) error {
		if err := tx.set(bucketENIs, []byte("old"), ENI{ID: "old", Table: 7}); err != nil {
			return err
		}
		return errors.Join(tx.RemoveENI("eni-5"), tx.PutENI(ENI{ID: "old"}))
	})
	update(t, s, func(tx *Tx) error {
		old, _, err := tx.ENI("old")
		if old.Number != 4 || old.Table != 7 {
			t.Errorf("unexpected ENI %+v, want the number that is free", old)
		}
		return err
	})
}

// Of the ENIs of the lowest rank the fullest comes first.
func TestTakeGoesByRank(t *testing.T) {
	s := At(ramDir(t))
	update(t, s, func(tx *Tx) error {
		err := tx.PutENI(ENI{ID: "primary", Primary: true, Table: 254})
		for i := range 3 {
			id := fmt.Sprint("eni-", i)
			err = errors.Join(err, tx.PutENI(ENI{ID: id, DeviceIndex: 1 + i, Table: 2 + i}), tx.AddAddresses(id, ips(fmt.Sprintf("10.0.%d.10", i), 3)))
		}
		_, taken := tx.TakeThis(netip.MustParseAddr("10.0.2.10"), owner(0), Sandbox{})
		return errors.Join(err, taken)
	})
	from := func(i int) (eni string) {
		update(t, s, func(tx *Tx) error {
			a, err := tx.Take(owner(i), Sandbox{}, family.IPv4, func(e ENI) int {
				return map[string]int{"primary": 0, "eni-0": -1, "eni-1": 1, "eni-2": 1}[e.ID]
			})
			eni = a.ENI
			return err
		})
		return eni
	}
	if got := from(1); got != "eni-2" {
		t.Errorf("from %s, want eni-2, which is the fullest", got)
	}
	update(t, s, func(tx *Tx) error { return tx.AddAddresses("primary", ips("10.0.9.10", 1)) })
	for i, want := range []string{"primary", "eni-2", "eni-1"} {
		if got := from(2 + i); got != want {
			t.Errorf("from %s, want %s", got, want)
		}
	}
}
