package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
)

// childDir, in the environment, makes the test binary a process that takes and releases addresses in that store.
const childDir = "ENICHAIN_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		churn(dir)
	}
	os.Exit(m.Run())
}

// churn takes an address, says so, and releases it, until it is killed.
func churn(dir string) {
	for n := 0; ; n++ {
		o := Owner{Network: "net", ContainerID: fmt.Sprintf("%d-%d", os.Getpid(), n), IfName: "eth0"}
		var a Address
		err := At(dir).Update(context.Background(), func(tx *Tx) (err error) { a, err = tx.Take(o, Sandbox{}, family.IPv4, anyENI); return err })
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("took", a.IP)
		if n%4 == 3 {
			continue // some containers live on
		}
		err = At(dir).Update(context.Background(), func(tx *Tx) error { _, err := tx.Release(o, 0); return err })
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
}

// ramDir is a folder in memory, as the default data directory is: a disk would make these tests slow.
func ramDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "enichain-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "data")
}

// check compares the indexes and counts with what the addresses themselves say.
func check(tx *Tx) error {
	all, err := tx.Addresses()
	if err != nil {
		return err
	}
	want, prefixes := map[string]Counts{}, map[string]Counts{}
	indexed := map[string]bool{}
	var wrong []error
	ranges, err := tx.Ranges()
	wrong = append(wrong, err)
	for _, r := range ranges {
		recorded, err := tx.recordedIn(r.Prefix)
		wrong = append(wrong, err)
		free := Counts{}
		free.add(r.state(), capacity(r.Prefix)-len(recorded))
		prefixes[string(prefixKey(r.ENI, r.Prefix))] = free
		n := want[poolOf(r.ENI, family.IPv6)]
		n.add(r.state(), capacity(r.Prefix)-len(recorded))
		want[poolOf(r.ENI, family.IPv6)] = n
	}
	for _, a := range all {
		pool := poolOf(a.ENI, family.Of(a.IP))
		n := want[pool]
		n.add(a.State, 1)
		want[pool] = n
		if a.Ranged() && a.State != Assigned && a.State != Cooling {
			wrong = append(wrong, fmt.Errorf("%s of a range has a record, and is %s", a.IP, a.State))
		}
		if a.Prefix.IsValid() {
			n := prefixes[string(prefixKey(a.ENI, a.Prefix))]
			n.add(a.State, 1)
			prefixes[string(prefixKey(a.ENI, a.Prefix))] = n
		}
		if bucket, key := a.index(); key != nil {
			indexed[string(bucket)+string(key)] = true
		}
		if a.State != Assigned {
			continue
		}
		if held, err := tx.heldOf(*a.Owner, family.Of(a.IP)); err != nil || held.IP != a.IP {
			wrong = append(wrong, fmt.Errorf("%s is %s's, who holds %v: %w", a.IP, a.Owner, held, err))
		}
	}
	wrong = append(wrong, checkPrefixes(tx, prefixes, want, indexed))
	for pool, n := range want {
		var got Counts
		_, err := tx.get(bucketCounts, []byte(pool), &got)
		n.Changed = got.Changed
		if err != nil || got != n {
			wrong = append(wrong, fmt.Errorf("%s counts %+v, has %+v: %w", pool, got, n, err))
		}
	}
	for _, bucket := range [][]byte{bucketFree, bucketFreeOf, bucketPacking, bucketCooling} {
		wrong = append(wrong, tx.b.Bucket(bucket).ForEach(func(k, _ []byte) error {
			if !indexed[string(bucket)+string(k)] {
				return fmt.Errorf("%s has a stale %x", bucket, k)
			}
			delete(indexed, string(bucket)+string(k))
			return nil
		}))
	}
	if len(indexed) > 0 {
		wrong = append(wrong, fmt.Errorf("%d addresses are in no index", len(indexed)))
	}
	return errors.Join(wrong...)
}

func TestRandomStepsKeepOneOwnerAnAddress(t *testing.T) {
	t.Run("addresses", func(t *testing.T) {
		randomSteps(t, func(tx *Tx) error {
			return errors.Join(tx.AddAddresses("a", ips("10.0.0.10", 12)), tx.AddAddresses("b", ips("10.0.1.10", 12)))
		})
	})
	t.Run("prefixes", func(t *testing.T) {
		randomSteps(t, func(tx *Tx) error {
			return errors.Join(tx.AddPrefixes("a", block("10.0.0.16/30", "10.0.0.32/30", "10.0.0.48/29")),
				tx.AddAddresses("a", ips("10.0.0.10", 4)), tx.AddPrefixes("b", block("10.0.1.16/30")))
		})
	})
}

// randomSteps has owners come and go in a store with the ENIs a and b, which fill gives 24 addresses.
func randomSteps(t *testing.T, fill func(*Tx) error) {
	t.Helper()
	s, clock := At(ramDir(t)), time.Hour
	s.now = func() time.Duration { return clock }
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutENI(ENI{ID: "a"}), tx.PutENI(ENI{ID: "b", DeviceIndex: 1}), fill(tx))
	})
	rnd := rand.New(rand.NewPCG(3, 4))
	has, rests := map[Owner]netip.Addr{}, map[netip.Addr]time.Duration{}
	const cooldown = 5 * time.Second
	for step := range 3000 {
		clock += time.Duration(rnd.IntN(400)) * time.Millisecond
		o := owner(rnd.IntN(40))
		update(t, s, func(tx *Tx) error {
			if rnd.IntN(3) == 0 {
				released, err := tx.Release(o, cooldown)
				for _, a := range released {
					rests[a.IP] = clock + cooldown
				}
				if ip, held := has[o]; held != (len(released) == 1) || held && released[0].IP != ip {
					t.Fatalf("step %d: %s released %v, had %v", step, o, released, ip)
				}
				delete(has, o)
				return err
			}
			a, err := tx.Take(o, Sandbox{}, family.IPv4, anyENI)
			if errors.Is(err, ErrExhausted) {
				return nil
			}
			if ip, held := has[o]; held && a.IP != ip {
				t.Fatalf("step %d: %s has %s, was given %s", step, o, ip, a.IP)
			}
			for other, ip := range has {
				if ip == a.IP && other != o {
					t.Fatalf("step %d: %s is %s's and was given to %s", step, ip, other, o)
				}
			}
			if _, held := has[o]; !held && rests[a.IP] > clock {
				t.Fatalf("step %d: %s was given away %s before its cool-down was over", step, a.IP, rests[a.IP]-clock)
			}
			has[o] = a.IP
			return err
		})
		if step%50 == 0 {
			update(t, s, check)
		}
	}
}

// start runs the test binary as a churning child; its output is in the buffer once it has ended.
func start(t *testing.T, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), childDir+"="+dir)
	out := &bytes.Buffer{}
	child.Stdout, child.Stderr = out, out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	return child, out
}

func TestKilledWritersLoseNothing(t *testing.T) {
	dir := ramDir(t)
	s := At(dir)
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutENI(ENI{ID: "a"}), tx.AddAddresses("a", ips("10.0.0.1", 4000)))
	})
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 15 {
		var children []*exec.Cmd
		var outs []*bytes.Buffer
		for range 3 {
			child, out := start(t, dir)
			children, outs = append(children, child), append(outs, out)
		}
		time.Sleep(time.Duration(20+rnd.IntN(60)) * time.Millisecond) // the instant of the kill is the test's input
		for i, child := range children {
			_ = child.Process.Kill()
			_ = child.Wait()
			if strings.Contains(outs[i].String(), "error") {
				t.Fatal(outs[i])
			}
		}
		update(t, s, check)
		update(t, s, func(tx *Tx) error { return everySurvivorIsKnown(t, tx, outs) })
	}
}

// everySurvivorIsKnown checks that an address which a child said it kept is assigned.
func everySurvivorIsKnown(t *testing.T, tx *Tx, outs []*bytes.Buffer) error {
	t.Helper()
	seen := 0
	for _, out := range outs {
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			text, ok := strings.CutPrefix(lines.Text(), "took ")
			if !ok || n%4 != 3 {
				continue
			}
			seen++
			ip, err := netip.ParseAddr(text)
			if err != nil {
				continue // cut by the kill
			}
			a, _, err := tx.Address(ip)
			if err != nil || a.State != Assigned {
				t.Errorf("a container was told %s, which is %q: %v", ip, a.State, err)
			}
		}
	}
	if seen == 0 {
		t.Log("the children were killed before they kept an address")
	}
	return nil
}

func TestALockThatIsHeldNamesItsHolder(t *testing.T) {
	s := At(ramDir(t))
	update(t, s, func(*Tx) error { return nil })
	held, err := acquire(t.Context(), s.lockPath(), unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("ten years are over")
	for name, run := range map[string]func(context.Context, func(*Tx) error) error{"view": s.View, "update": s.Update} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Millisecond, cause)
		err := run(ctx, func(*Tx) error { t.Error("entered"); return nil })
		cancel()
		if err == nil || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) || !errors.Is(err, cause) {
			t.Errorf("%s: %v, want the cause and the holder %d", name, err, os.Getpid())
		}
	}
	held.release()
	// Those who gave up must not keep the lock that they get too late.
	update(t, s, func(*Tx) error { return nil })
}

func TestAReadOnlyFolderAndAFullDisk(t *testing.T) {
	dir := ramDir(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := At(dir)
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutENI(ENI{ID: "a"}), tx.AddAddresses("a", ips("10.0.0.1", 50)))
	})
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	full := s.Update(t.Context(), func(tx *Tx) error { return tx.AddAddresses("a", ips("10.0.1.0", 2000)) })
	if !errors.Is(full, unix.ENOSPC) {
		t.Errorf("on a full disk: %v, want ENOSPC", full)
	}
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		all, err := tx.Addresses()
		if len(all) != 50 {
			t.Errorf("%d addresses after a full disk, want 50", len(all))
		}
		return errors.Join(err, check(tx))
	})
	if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, unix.EROFS) {
		t.Errorf("read-only: %v, want EROFS", err)
	}
	if err := s.View(t.Context(), func(*Tx) error { return nil }); err != nil {
		t.Errorf("read a read-only store: %v", err)
	}
	if err := s.Usable(); !errors.Is(err, unix.EROFS) {
		t.Errorf("usable: %v, want EROFS", err)
	}
}

func TestUsable(t *testing.T) {
	dir := ramDir(t)
	if err := At(filepath.Join(dir, "not", "there", "yet")).Usable(); err != nil {
		t.Errorf("a folder that can be made: %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it was made: %v", err)
	}
	s := At(dir)
	update(t, s, func(*Tx) error { return nil })
	if err := s.Usable(); err != nil {
		t.Errorf("a store: %v", err)
	}
	if err := os.WriteFile(s.Path(), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Usable(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("garbage: %v, want ErrCorrupt", err)
	}
	if err := At(filepath.Join(s.Path(), "below")).Usable(); err == nil {
		t.Error("a folder below a file is usable")
	}
}

func BenchmarkTakeAndRelease(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			dir, err := os.MkdirTemp("/dev/shm", "enichain-bench-")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(dir) }()
			s := At(dir)
			err = s.Update(b.Context(), func(tx *Tx) error {
				return errors.Join(tx.PutENI(ENI{ID: "a"}), tx.AddAddresses("a", ips("10.0.0.0", n)))
			})
			for b.Loop() {
				err = errors.Join(err,
					s.Update(b.Context(), func(tx *Tx) error { _, err := tx.Take(owner(1), Sandbox{}, family.IPv4, anyENI); return err }),
					s.Update(b.Context(), func(tx *Tx) error { _, err := tx.Release(owner(1), 0); return err }))
			}
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
