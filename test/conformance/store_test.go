package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// holdLock takes the store's lock and returns what gives it back.
func (m *machine) holdLock(t *testing.T) (release func()) {
	t.Helper()
	held, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- m.Do(func() error {
			return store.At(dataDir).Update(context.Background(), func(*store.Tx) error {
				close(held)
				<-free
				return nil
			})
		})
	}()
	select {
	case <-held:
	case err := <-done:
		t.Fatalf("take the lock: %v", err)
	}
	return func() {
		close(free)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// damagedStores are ways to damage the store file, with what an error says of them.
func damagedStores() map[string]struct{ line, word string } {
	const file = dataDir + "/state.db"
	return map[string]struct{ line, word string }{
		"truncated to half a page": {"truncate -s 2048 " + file, "corrupt"},
		"truncated to two pages":   {"truncate -s 8192 " + file, "corrupt"},
		"empty":                    {": >" + file, "corrupt"},
		"zeroed":                   {"head -c 32768 /dev/zero >" + file, "corrupt"},
		"text":                     {"yes hello | head -c 20000 >" + file, "corrupt"},
		"a folder":                 {"rm " + file + "; mkdir " + file, file},
		"all but its header overwritten": {
			"yes hello | head -c $(($(stat -c %s " + file + ") - 8192)) | dd of=" + file + " bs=4096 seek=2 conv=notrunc status=none", "corrupt",
		},
	}
}

// A store that cannot be read is never taken for an empty one, and never touched: once it is whole again, all is as before.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "a")
	m.netns(t, "b")
	with := static().with(json.RawMessage(m.add(t, "a", static())), "prevResult")
	before := m.state(t)
	for name, d := range damagedStores() {
		t.Run(name, func(t *testing.T) {
			sh(t, &m.Host, "cp -a "+dataDir+" /run/kept")
			sh(t, &m.Host, d.line)
			was := sh(t, &m.Host, "cat "+dataDir+"/state.db 2>&1 | cksum")
			for _, c := range []chain.Call{
				m.call(ipamPlugin, "ADD", "b", static()), m.call(ptpPlugin, "ADD", "b", static()), m.call(ipamPlugin, "DEL", "a", static()),
				m.call(ipamPlugin, "CHECK", "a", with), m.call(ptpPlugin, "CHECK", "a", with),
				m.call(ipamPlugin, "GC", "", static().with([]conf{}, "cni.dev/valid-attachments")),
				m.call(snatPlugin, "ADD", "a", with.with(snatPlugin, "type")),
			} {
				if e := m.fail(t, c, 5, d.word); e.Details == "" {
					t.Errorf("%s %s: no hint", c.Env["CNI_COMMAND"], c.Plugin)
				}
			}
			if is := sh(t, &m.Host, "cat "+dataDir+"/state.db 2>&1 | cksum"); is != was {
				t.Error("the damaged store was written to")
			}
			sh(t, &m.Host, "rm -r "+dataDir+"; mv /run/kept "+dataDir)
			m.unchanged(t, before)
		})
	}
}

// setVersion stamps the store with another format.
func (m *machine) setVersion(t *testing.T, version string) {
	t.Helper()
	err := m.Do(func() error {
		db, err := bbolt.Open(dataDir+"/state.db", 0o600, &bbolt.Options{Timeout: time.Second})
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		return db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("version"), []byte(version)) })
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStoreOfANewerVersion(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "a")
	m.netns(t, "b")
	m.add(t, "a", static())
	before := m.state(t)
	m.setVersion(t, "99")
	for _, c := range []chain.Call{
		m.call(ipamPlugin, "ADD", "b", static()), m.call(ptpPlugin, "ADD", "b", static()), m.call(ipamPlugin, "DEL", "a", static()),
		m.call(ipamPlugin, "GC", "", static().with([]conf{}, "cni.dev/valid-attachments")),
	} {
		if e := m.fail(t, c, 5, "newer enichain", "99"); !strings.Contains(e.Details, "install") {
			t.Errorf("unhelpful hint: %q", e.Details)
		}
	}
	m.setVersion(t, "1")
	m.unchanged(t, before)
}

// A data directory that cannot be written to, or is none.
func TestBadDataDirectory(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	m.netns(t, "d")
	before := m.state(t)
	for name, dir := range map[string]string{"read-only": m.readOnly(t), "a file": m.file(t), "below a file": m.file(t) + "/x"} {
		t.Run(name, func(t *testing.T) {
			network := static().with(dir, "ipam", "dataDir")
			for _, plugin := range []string{ipamPlugin, ptpPlugin} {
				if e := m.fail(t, m.call(plugin, "ADD", "c", network), 5, strings.TrimSuffix(dir, "/x")); !strings.Contains(e.Details, "dataDir") {
					t.Errorf("unhelpful hint: %q", e.Details)
				}
			}
			m.unchanged(t, before)
		})
	}
	t.Run("read-only since a container has its address", func(t *testing.T) {
		m.add(t, "c", static())
		before := m.state(t)
		sh(t, &m.Host, "mount --bind "+dataDir+" "+dataDir+"; mount -o remount,bind,ro "+dataDir)
		m.fail(t, m.call(ptpPlugin, "ADD", "d", static()), 5, dataDir)
		m.fail(t, m.call(ipamPlugin, "DEL", "c", static()), 5, dataDir)
		m.fail(t, m.call(ptpPlugin, "STATUS", "", static()), 50, dataDir)
		sh(t, &m.Host, "umount "+dataDir)
		m.unchanged(t, before)
		m.del(t, "c", static())
	})
	t.Run("full", func(t *testing.T) {
		sh(t, &m.Host, "mkdir -p /run/full; mount -t tmpfs -o size=64k none /run/full; head -c 65536 /dev/zero >/run/full/x || true")
		before := m.state(t)
		m.fail(t, m.call(ptpPlugin, "ADD", "d", static().with("/run/full", "ipam", "dataDir")), 5, "/run/full")
		m.unchanged(t, before)
	})
}

// Who waits for the lock in vain says for whom.
func TestLockHeldForTooLong(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "a")
	m.netns(t, "b")
	network := static().with("300ms", "ipam", "timeout")
	with := network.with(json.RawMessage(m.add(t, "a", network)), "prevResult")
	before := m.state(t)
	release := m.holdLock(t)
	holder := fmt.Sprintf("is held by process %d (", os.Getpid())
	for _, c := range []chain.Call{
		m.call(ipamPlugin, "ADD", "b", network), m.call(ptpPlugin, "ADD", "b", network), m.call(ipamPlugin, "DEL", "a", network),
		m.call(ipamPlugin, "CHECK", "a", with), m.call(ipamPlugin, "GC", "", network.with([]conf{}, "cni.dev/valid-attachments")),
	} {
		began := time.Now()
		m.fail(t, c, 5, holder, "timeout")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s %s took %s with a timeout of 0.3 s", c.Env["CNI_COMMAND"], c.Plugin, took)
		}
	}
	release()
	m.unchanged(t, before)
}

// bbolt has no checksums. Whichever page is overwritten, what is read is right or called corrupt: no panic, and nobody is
// given what another has.
func TestStoreWithADamagedPage(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "a")
	with := static().with(json.RawMessage(m.add(t, "a", static())), "prevResult")
	taken := address(t, m.add(t, "a", static()))
	sh(t, &m.Host, "cp -a "+dataDir+" /run/kept")
	pages, err := strconv.Atoi(strings.TrimSpace(sh(t, &m.Host, "echo $(($(stat -c %s "+dataDir+"/state.db) / 4096))")))
	if err != nil || pages < 4 {
		t.Fatalf("%d pages, %v", pages, err)
	}
	refused := 0
	for page := range pages {
		sh(t, &m.Host, fmt.Sprintf("yes hello | head -c 4096 | dd of=%s/state.db bs=4096 seek=%d conv=notrunc status=none", dataDir, page))
		for _, c := range []chain.Call{m.call(ipamPlugin, "CHECK", "a", with), m.call(ipamPlugin, "ADD", "b", static())} {
			o := m.run(t, c)
			switch {
			case o.Error != nil && o.Error.Code != 5:
				t.Errorf("page %d: %s: code %d, want 5: %s", page, c.Env["CNI_COMMAND"], o.Error.Code, o.Error.Msg)
			case o.Error != nil:
				refused++
			case len(o.Stdout) > 0 && address(t, o.Stdout) == taken:
				t.Errorf("page %d: b is given a's %s", page, taken)
			}
		}
		sh(t, &m.Host, "rm -r "+dataDir+"; cp -a /run/kept "+dataDir)
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}
