package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enichain/enichain/core/family"
)

var anyENI = func(ENI) int { return 0 }

func owner(n int) Owner {
	return Owner{Network: "net", ContainerID: fmt.Sprintf("c%d", n), IfName: "eth0"}
}

func ips(from string, n int) []netip.Addr {
	all := []netip.Addr{netip.MustParseAddr(from)}
	for len(all) < n {
		all = append(all, all[len(all)-1].Next())
	}
	return all
}

// update runs fn in the store and fails the test on an error.
func update(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// filled returns a store with two ENIs of n addresses each, and the clock that it reads.
func filled(t *testing.T, n int) (*Store, *time.Duration) {
	t.Helper()
	s, clock := At(ramDir(t)), time.Hour
	s.now = func() time.Duration { return clock }
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.PutENI(ENI{ID: "eni-a", DeviceIndex: 0, Primary: true, Table: 254}),
			tx.PutENI(ENI{ID: "eni-b", DeviceIndex: 1, Table: 2}),
			tx.AddAddresses("eni-a", ips("10.0.0.10", n)), tx.AddAddresses("eni-b", ips("10.0.1.10", n)))
	})
	return s, &clock
}

func take(t *testing.T, s *Store, o Owner) Address {
	t.Helper()
	var a Address
	update(t, s, func(tx *Tx) (err error) { a, err = tx.Take(o, Sandbox{}, family.IPv4, anyENI); return err })
	return a
}

func TestOwnerKeepsItsAddressUntilItIsReleased(t *testing.T) {
	s, _ := filled(t, 2)
	a := take(t, s, owner(1))
	if b := take(t, s, owner(1)); b.IP != a.IP {
		t.Fatalf("taken again: %s, want %s", b.IP, a.IP)
	}
	if err := s.View(t.Context(), func(tx *Tx) error {
		held, err := tx.AddressesOf(owner(1))
		if err == nil && (len(held) != 1 || held[0].IP != a.IP || *held[0].Owner != owner(1)) {
			t.Errorf("held: %+v", held)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // DEL twice
		update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), time.Second); return err })
	}
}

// A container that is started again without a DEL lives in another namespace: what a GC without a list believes.
func TestTakenAgainInAnotherSandbox(t *testing.T) {
	s, _ := filled(t, 1)
	for inode := range uint64(2) {
		update(t, s, func(tx *Tx) error {
			_, err := tx.Take(owner(1), Sandbox{NetnsInode: inode}, family.IPv4, anyENI)
			return err
		})
		update(t, s, func(tx *Tx) error {
			held, err := tx.AddressesOf(owner(1))
			if len(held) != 1 || held[0].Sandbox.NetnsInode != inode {
				t.Errorf("held in sandbox %d: %+v", inode, held)
			}
			return errors.Join(err, check(tx))
		})
	}
}

func TestTakePacksTheFullestENIAndTheAddressFreeForLongest(t *testing.T) {
	s, clock := filled(t, 2)
	var got []string
	for n := range 2 {
		got = append(got, take(t, s, owner(n)).IP.String())
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(0), 0); return err })
	*clock += time.Second
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), 0); return err })
	*clock += time.Second
	for n := 2; n < 6; n++ {
		got = append(got, take(t, s, owner(n)).IP.String())
	}
	want := "10.0.0.10 10.0.0.11 10.0.0.10 10.0.0.11 10.0.1.10 10.0.1.11"
	if strings.Join(got, " ") != want {
		t.Errorf("taken %v, want %s", got, want)
	}
	err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.Take(owner(9), Sandbox{}, family.IPv4, anyENI); return err })
	if !errors.Is(err, ErrExhausted) {
		t.Errorf("nothing left: %v, want ErrExhausted", err)
	}
}

func TestAnAddressRestsForItsCooldown(t *testing.T) {
	s, clock := filled(t, 1)
	a := take(t, s, owner(1))
	update(t, s, func(tx *Tx) error { _, err := tx.Release(owner(1), 30*time.Second); return err })
	*clock += 30*time.Second - 1
	b := take(t, s, owner(2))
	if b.IP == a.IP {
		t.Fatalf("%s was given away within its cool-down", a.IP)
	}
	*clock++
	if c := take(t, s, owner(3)); c.IP != a.IP {
		t.Errorf("after its cool-down: %s, want %s", c.IP, a.IP)
	}
}

func TestTakeThis(t *testing.T) {
	s, _ := filled(t, 2)
	this := netip.MustParseAddr("10.0.1.11")
	tests := []struct {
		name string
		do   func(tx *Tx) error
		want error
	}{
		{"free", func(tx *Tx) error { _, err := tx.TakeThis(this, owner(1), Sandbox{}); return err }, nil},
		{"again", func(tx *Tx) error { _, err := tx.TakeThis(this, owner(1), Sandbox{}); return err }, nil},
		{"of another", func(tx *Tx) error { _, err := tx.TakeThis(this, owner(2), Sandbox{}); return err }, ErrNotFree},
		{"a second one", func(tx *Tx) error { _, err := tx.TakeThis(this.Prev(), owner(1), Sandbox{}); return err }, ErrNotFree},
		{"unknown", func(tx *Tx) error {
			_, err := tx.TakeThis(netip.MustParseAddr("10.9.9.9"), owner(3), Sandbox{})
			return err
		}, ErrUnknownAddress},
		{"released", func(tx *Tx) error { _, err := tx.Release(owner(1), time.Minute); return err }, nil},
		{"cooling, of another", func(tx *Tx) error { _, err := tx.TakeThis(this, owner(2), Sandbox{}); return err }, ErrNotFree},
		{"cooling, its own", func(tx *Tx) error { _, err := tx.TakeThis(this, owner(1), Sandbox{}); return err }, nil},
	}
	for _, tt := range tests {
		if err := s.Update(t.Context(), tt.do); !errors.Is(err, tt.want) || (tt.want == nil && err != nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestListedAddressesAddAndNeverTake(t *testing.T) {
	s, _ := filled(t, 2)
	a := take(t, s, owner(1))
	update(t, s, func(tx *Tx) error { return tx.AddAddresses("eni-a", ips("10.0.0.10", 3)) })
	if err := s.View(t.Context(), func(tx *Tx) error {
		got, _, err := tx.Address(a.IP)
		if got.State != Assigned {
			t.Errorf("%s is %s after it was listed again", a.IP, got.State)
		}
		all, err2 := tx.Addresses()
		if len(all) != 5 {
			t.Errorf("%d addresses, want 5", len(all))
		}
		return errors.Join(err, err2)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestOwnedInTellsNetworksApart(t *testing.T) {
	s, _ := filled(t, 3)
	for _, network := range []string{"a", "ab", "b"} {
		take(t, s, Owner{Network: network, ContainerID: "c", IfName: "eth0"})
	}
	if err := s.View(t.Context(), func(tx *Tx) error {
		owned, err := tx.OwnedIn("a")
		if len(owned) != 1 || owned[0].Owner.Network != "a" {
			t.Errorf("owned in a: %+v", owned)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAnENIKeepsItsTable(t *testing.T) {
	s, _ := filled(t, 1)
	update(t, s, func(tx *Tx) error { return tx.PutENI(ENI{ID: "eni-b", DeviceIndex: 7, Table: 8, MTU: 9001}) })
	if err := s.View(t.Context(), func(tx *Tx) error {
		e, _, err := tx.ENI("eni-b")
		if e.Table != 2 || e.MTU != 9001 {
			t.Errorf("%+v", e)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAnErrorUndoesTheTransaction(t *testing.T) {
	s, _ := filled(t, 1)
	boom := errors.New("boom")
	err := s.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.Take(owner(1), Sandbox{}, family.IPv4, anyENI)
		return errors.Join(err, boom)
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), func(tx *Tx) error {
		held, err := tx.AddressesOf(owner(1))
		if len(held) != 0 {
			t.Errorf("held after an undone transaction: %v", held)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestReadingMakesNoStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := At(dir).View(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrNoStore) {
		t.Errorf("view: %v, want ErrNoStore", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory was made: %v", err)
	}
}

func TestModes(t *testing.T) {
	s, _ := filled(t, 1)
	for path, want := range map[string]os.FileMode{s.dir: 0o700, s.Path(): 0o600, s.lockPath(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
}

// rewrite changes the store's header behind its back.
func rewrite(t *testing.T, s *Store, key []byte, value string) {
	t.Helper()
	db, err := bbolt.Open(s.Path(), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(b *bbolt.Tx) error { return b.Bucket(bucketMeta).Put(key, []byte(value)) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAReboot(t *testing.T) {
	s, _ := filled(t, 1)
	take(t, s, owner(1))
	rewrite(t, s, keyBoot, "another-boot")
	if err := s.View(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrNoStore) {
		t.Errorf("view after a reboot: %v, want ErrNoStore", err)
	}
	update(t, s, func(tx *Tx) error {
		held, err := tx.AddressesOf(owner(1))
		enis, err2 := tx.ENIs()
		if len(held)+len(enis) != 0 {
			t.Errorf("known after a reboot: %v, %v", held, enis)
		}
		return errors.Join(err, err2)
	})
}

func TestANewerStoreIsRefused(t *testing.T) {
	s, _ := filled(t, 1)
	rewrite(t, s, keyVersion, strconv.Itoa(Version+1))
	for name, run := range map[string]func(context.Context, func(*Tx) error) error{"view": s.View, "update": s.Update} {
		if err := run(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v, want ErrNewer", name, err)
		}
	}
}

func TestADamagedStoreIsNeverAnEmptyOne(t *testing.T) {
	s, _ := filled(t, 200)
	for n := range 100 {
		take(t, s, owner(n))
	}
	whole, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 100, 4096, 8192, 12288, len(whole) / 2, len(whole) - 4096} {
		for name, run := range map[string]func(context.Context, func(*Tx) error) error{"view": s.View, "update": s.Update} {
			if err := os.WriteFile(s.Path(), whole[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			err := run(t.Context(), func(tx *Tx) error {
				all, err := tx.Addresses()
				if err == nil && len(all) != 400 {
					t.Errorf("cut to %d bytes, %s sees %d addresses", size, name, len(all))
				}
				return err
			})
			if size < len(whole)/2 && !errors.Is(err, ErrCorrupt) {
				t.Errorf("cut to %d bytes, %s: %v, want ErrCorrupt", size, name, err)
			}
		}
	}
	if err := os.WriteFile(s.Path(), []byte(strings.Repeat("garbage ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("garbage: %v, want ErrCorrupt", err)
	}
}
