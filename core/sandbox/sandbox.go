// Package sandbox opens a container's network namespace by the path in CNI_NETNS. It tells a namespace that is gone,
// which is nothing unusual in a DEL, from one that cannot be opened. It enters one for what only /proc can set.
package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrGone says that the path does not lead to a network namespace: it is empty, nothing is there, or a plain file is
// (what is left at a bind mount's place when the mount is gone).
var ErrGone = errors.New("no network namespace there")

// nsGetType is NS_GET_NSTYPE (include/uapi/linux/nsfs.h).
const nsGetType = 0xb703

// Netns is an open network namespace. It stays alive until Close, whatever becomes of its path.
type Netns struct {
	path  string
	fd    int
	dev   uint64
	inode uint64
}

// Open opens the namespace at path. The error is ErrGone where none is there.
func Open(path string) (*Netns, error) {
	if path == "" {
		return nil, fmt.Errorf("network namespace %q: %w", path, ErrGone)
	}
	// O_NONBLOCK, so that a FIFO in its place does not hold us up.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("network namespace %s: %w", path, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	ns := &Netns{path: path, fd: fd}
	if err := ns.identify(); err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return ns, nil
}

func (n *Netns) identify() error {
	var fsStat unix.Statfs_t
	if err := unix.Fstatfs(n.FD(), &fsStat); err != nil {
		return err
	}
	if fsStat.Type != unix.NSFS_MAGIC {
		return ErrGone
	}
	kind, err := unix.IoctlRetInt(n.FD(), nsGetType)
	if err != nil {
		return fmt.Errorf("ask its type: %w", err)
	}
	if kind != unix.CLONE_NEWNET {
		return fmt.Errorf("it is a namespace of another kind (%#x)", kind)
	}
	n.dev, n.inode, err = identity(n.FD())
	return err
}

// FD returns the descriptor, valid until Close.
func (n *Netns) FD() int { return n.fd }

// Inode returns the namespace's number in nsfs, which no other namespace has while this one lives.
func (n *Netns) Inode() uint64 { return n.inode }

// Close releases the namespace. A nil one is closed already.
func (n *Netns) Close() error {
	if n == nil || n.fd < 0 {
		return nil
	}
	fd := n.fd
	n.fd = -1
	return unix.Close(fd)
}

// Do runs f in the namespace, on a thread that goes back afterwards, or ends where it cannot.
func (n *Netns) Do(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- n.visit(f) }()
	return <-done
}

func (n *Netns) visit(f func() error) error {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the thread's network namespace: %w", err)
	}
	defer unix.Close(home)
	runtime.LockOSThread() // and unlocked only back home: no other goroutine may find itself there
	if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.path, err)
	}
	err = f()
	if unix.Setns(home, unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// IsOurs says whether the namespace is the one that the calling thread is in.
func (n *Netns) IsOurs() (bool, error) {
	self, err := Open("/proc/thread-self/ns/net")
	if err != nil {
		return false, err
	}
	defer self.Close()
	return n.dev == self.dev && n.inode == self.inode, nil
}

// Alive says whether the namespace with the inode is still at path; an inode of 0 accepts any. What cannot be found out
// counts as alive: only proof makes a container dead, and where not even the folder is there (but for a process's own, which
// goes with it) it may be in another mount namespace.
func Alive(path string, inode uint64) bool {
	ns, err := Open(path)
	if err != nil {
		_, dirErr := os.Stat(filepath.Dir(path))
		hidden := errors.Is(dirErr, fs.ErrNotExist) && !strings.HasPrefix(path, "/proc/")
		return !errors.Is(err, ErrGone) || hidden
	}
	defer ns.Close()
	return inode == 0 || ns.Inode() == inode
}

func identity(fd int) (dev, inode uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, 0, err
	}
	return st.Dev, st.Ino, nil
}
