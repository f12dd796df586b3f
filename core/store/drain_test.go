package store_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/enichain/enichain/core/store"
)

// An ENI that drains stays marked whatever is learnt of it, gives none of its addresses by name, and can be opened again.
func TestDrain(t *testing.T) {
	at := store.At(t.TempDir())
	ip := netip.MustParseAddr("10.0.0.5")
	owner := store.Owner{Network: "net", ContainerID: "c", IfName: "eth0"}
	update := func(fn func(*store.Tx) error) error { return at.Update(t.Context(), fn) }
	err := update(func(tx *store.Tx) error {
		if known, err := tx.Drain("eni-1", true); known || err != nil {
			t.Errorf("an ENI that is not there: %v, %v", known, err)
		}
		e := store.ENI{ID: "eni-1", Table: 2}
		err := errors.Join(tx.PutENI(e), tx.AddAddresses("eni-1", []netip.Addr{ip}))
		if known, drainErr := tx.Drain("eni-1", true); !known || drainErr != nil {
			t.Errorf("drain: %v, %v", known, drainErr)
		}
		return errors.Join(err, tx.PutENI(e)) // as the next to learn
	})
	if err != nil {
		t.Fatal(err)
	}
	take := func(tx *store.Tx) error { _, err := tx.TakeThis(ip, owner, store.Sandbox{}); return err }
	if err := update(take); !errors.Is(err, store.ErrNotFree) {
		t.Errorf("an address of an ENI that drains: %v", err)
	}
	err = update(func(tx *store.Tx) error { _, err := tx.Drain("eni-1", false); return err })
	if err := errors.Join(err, update(take)); err != nil {
		t.Errorf("after the drain was ended: %v", err)
	}
}

// A copy has what the store has, and is another.
func TestCopy(t *testing.T) {
	from, dir := store.At(t.TempDir()), t.TempDir()
	if err := from.Copy(t.Context(), dir); !errors.Is(err, store.ErrNoStore) {
		t.Errorf("a copy of none: %v", err)
	}
	put := func(id string) func(*store.Tx) error {
		return func(tx *store.Tx) error { return tx.PutENI(store.ENI{ID: id, Table: 2}) }
	}
	err := errors.Join(from.Update(t.Context(), put("eni-1")), from.Copy(t.Context(), dir))
	if err := errors.Join(err, store.At(dir).Update(t.Context(), put("eni-2"))); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[*store.Store]int{from: 1, store.At(dir): 2} {
		err := at.View(t.Context(), func(tx *store.Tx) error {
			enis, err := tx.ENIs()
			if len(enis) != want {
				t.Errorf("%s has %d ENIs, want %d", at.Path(), len(enis), want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(store.At(dir).Path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
}
