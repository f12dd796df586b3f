package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/plainfile"
)

// Version is the format of the store that this code writes: the second has prefixes, the third IPv6, the fourth numbers of ENIs. An
// older one is upgraded where it is written to; a newer one is refused.
const Version = 4

var (
	// ErrNoStore says that the data directory holds no store: nothing was allocated on this node since it booted.
	ErrNoStore = errors.New("no store")
	// ErrNewer says that a newer enichain wrote the store.
	ErrNewer = errors.New("written by a newer enichain")
	// ErrCorrupt says that the store cannot be read. It is never taken for an empty one: that would give addresses twice.
	ErrCorrupt = errors.New("corrupt")
)

// Store is a store's place. It holds nothing open between transactions and may be used by several goroutines.
type Store struct {
	dir string
	now func() time.Duration
}

// At returns the store in dir, which need not exist yet.
func At(dir string) *Store { return WithClock(dir, SinceBoot) }

// WithClock is At with another clock than SinceBoot, for those who cannot wait for a cool-down to end.
func WithClock(dir string, now func() time.Duration) *Store { return &Store{dir: dir, now: now} }

// Now is the time by the store's clock.
func (s *Store) Now() time.Duration { return s.now() }

// Path returns the store's file.
func (s *Store) Path() string { return filepath.Join(s.dir, "state.db") }

// View runs fn in a read-only transaction, under the shared lock. It returns ErrNoStore where there is no store of this
// boot, and makes none.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	l, err := acquire(ctx, s.lockPath(), unix.LOCK_SH)
	if absent(err) {
		return ErrNoStore
	}
	if err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	defer l.release()
	return s.inDB(true, func(db *bbolt.DB) error {
		return db.View(func(b *bbolt.Tx) error {
			tx := &Tx{b: b, now: s.now()}
			fresh, err := tx.ofThisBoot()
			if err != nil {
				return err
			}
			if !fresh {
				return ErrNoStore
			}
			return fn(tx)
		})
	})
}

// Update runs fn in a read-write transaction under the exclusive lock, and makes what it did durable; an error of fn
// undoes it all. It makes the store where there is none, and begins anew with one of an earlier boot.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	l, err := acquire(ctx, s.lockPath(), unix.LOCK_EX)
	if err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	defer l.release()
	if err := s.create(); err != nil {
		return fmt.Errorf("create store %s: %w", s.Path(), err)
	}
	return s.inDB(false, func(db *bbolt.DB) error {
		return db.Update(func(b *bbolt.Tx) error {
			tx := &Tx{b: b, now: s.now()}
			fresh, err := tx.ofThisBoot()
			switch {
			case err != nil:
			case fresh:
				err = tx.upgrade()
			default:
				err = tx.reset()
			}
			if err != nil {
				return err
			}
			return fn(tx)
		})
	})
}

// UpdateExisting is Update where there is a store, and ErrNoStore, with nothing made, where there is none.
func (s *Store) UpdateExisting(ctx context.Context, fn func(*Tx) error) error {
	if _, err := os.Stat(s.Path()); absent(err) {
		return ErrNoStore
	}
	return s.Update(ctx, fn)
}

// absent says whether an error means that nothing is there: with a file in the data directory's place nothing is, either.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) }

// Usable says, without a lock and without changing anything, whether the store could be written: the data directory, or
// where it is to be made, and the form of the file.
func (s *Store) Usable() error {
	dir := s.dir
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("data directory: %s is not a directory", dir)
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("data directory: %w", &fs.PathError{Op: "write", Path: dir, Err: err})
	}
	head, err := readHead(s.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	if len(head) < 20 || binary.NativeEndian.Uint32(head[16:]) != boltMagic {
		return fmt.Errorf("store %s: %w: it does not begin as one", s.Path(), ErrCorrupt)
	}
	return nil
}

// boltMagic follows the page header in the first page of a bbolt file (bbolt, internal/common/meta.go).
const boltMagic = 0xED0CDAED

// readHead returns the beginning of a file, its first header page at the least.
func readHead(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, 64))
}

// LockGrowth takes the lock of the one process that grows the pool, and returns what releases it. It is apart from the
// store's own lock, so that others allocate while the cloud is asked.
func (s *Store) LockGrowth(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	l, err := acquire(ctx, filepath.Join(s.dir, "growth.lock"), unix.LOCK_EX)
	if err != nil {
		return nil, fmt.Errorf("wait for the pool to grow: %w", err)
	}
	return l.release, nil
}

// TryLockGrowth is LockGrowth where nobody holds the lock; held says that somebody does.
func (s *Store) TryLockGrowth() (release func(), held bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("make data directory: %w", err)
	}
	l, err := acquire(ctx, filepath.Join(s.dir, "growth.lock"), unix.LOCK_EX)
	if errors.Is(err, context.Canceled) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("lock growth: %w", err)
	}
	return l.release, false, nil
}

func (s *Store) lockPath() string { return filepath.Join(s.dir, "lock") }

// create makes an empty store where there is none. It is renamed into place whole, so that a file which is there but
// short was damaged, and not left by a process that died while making it.
func (s *Store) create() error {
	if _, err := os.Stat(s.Path()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := s.Path() + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(tmp, 0o600, options(false))
	if err != nil {
		return err
	}
	err = db.Update(func(b *bbolt.Tx) error { return (&Tx{b: b}).reset() })
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, s.Path())
}

// inDB opens the file for fn. What a damaged file makes bbolt do (panic, or touch a page past the end) becomes ErrCorrupt;
// a file that bbolt left open then is closed, for its lock would be taken for another program's.
func (s *Store) inDB(readOnly bool, fn func(*bbolt.DB) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var file *os.File
	defer func() {
		if r := recover(); r != nil {
			_ = unix.Flock(int(file.Fd()), unix.LOCK_UN) // the mapping outlives Close and would keep it
			_ = file.Close()
			err = fmt.Errorf("store %s: %w: %v", s.Path(), ErrCorrupt, r)
		}
	}()
	info, err := os.Stat(s.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoStore
	}
	if err != nil {
		return err
	}
	if info.Size() == 0 { // bbolt would take it for a new one
		return fmt.Errorf("store %s: %w: the file is empty", s.Path(), ErrCorrupt)
	}
	o := options(readOnly)
	o.OpenFile = func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		file, err = plainfile.Open(name, flag, mode)
		return file, err
	}
	db, err := bbolt.Open(s.Path(), 0o600, o)
	if err != nil {
		return openError(s.Path(), err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.View(func(b *bbolt.Tx) error { return checkSize(b, info.Size()) }); err != nil {
		return fmt.Errorf("store %s: %w", s.Path(), err)
	}
	return fn(db)
}

// options are bbolt's. Its own lock is never contended under ours, except by a foreign tool, which has a second to go.
func options(readOnly bool) *bbolt.Options {
	return &bbolt.Options{ReadOnly: readOnly, Timeout: time.Second, FreelistType: bbolt.FreelistMapType}
}

// openError tells a file that is damaged from one that cannot be opened.
func openError(path string, err error) error {
	switch {
	case errors.As(err, new(*fs.PathError)):
		return fmt.Errorf("open store: %w", err)
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open store %s: another program than enichain has it open: %w", path, err)
	case errors.As(err, new(unix.Errno)): // such as ENOMEM of mmap(2)
		return fmt.Errorf("open store %s: %w", path, err)
	}
	return fmt.Errorf("open store %s: %w: %w", path, ErrCorrupt, err)
}

// checkSize compares the file's size with the one that its own header claims.
func checkSize(b *bbolt.Tx, size int64) error {
	if b.Size() > size {
		return fmt.Errorf("%w: the file has %d bytes of %d", ErrCorrupt, size, b.Size())
	}
	return nil
}

// decode reads a record; what cannot be read is ErrCorrupt.
func decode(what string, data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
	}
	return nil
}
