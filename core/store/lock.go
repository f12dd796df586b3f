package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lock is a held lock: the kernel's flock on a file that is never unlinked, so that it dies with its holder and two
// processes never hold different files of one name.
type lock struct{ file *os.File }

// acquire waits for the lock until ctx ends. Whoever takes it exclusively leaves its PID in the file, for the error of
// those who wait in vain.
//
// flock(2) cannot be given a deadline. So a goroutine waits in the kernel, first come first served and without polling;
// where ctx ends first the goroutine is left behind, and gives the lock back as soon as it gets it.
func acquire(ctx context.Context, path string, how int) (*lock, error) {
	flags := os.O_RDONLY
	if how == unix.LOCK_EX {
		flags = os.O_RDWR | os.O_CREATE
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	l := &lock{file}
	if err := flock(file, how|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return l.granted(how, err)
	}
	if ctx.Err() != nil { // whoever will not wait leaves nobody waiting
		_ = file.Close()
		return nil, fmt.Errorf("lock %s is held by %s: %w", path, holder(path), context.Cause(ctx))
	}
	granted := make(chan error)
	go func() {
		err := flock(file, how)
		select {
		case granted <- err:
		case <-ctx.Done():
			_ = file.Close() // releases it
		}
	}()
	select {
	case err := <-granted:
		return l.granted(how, err)
	case <-ctx.Done():
		return nil, fmt.Errorf("lock %s is held by %s: %w", path, holder(path), context.Cause(ctx))
	}
}

// granted finishes an acquisition whose flock returned err.
func (l *lock) granted(how int, err error) (*lock, error) {
	if err != nil {
		_ = l.file.Close()
		return nil, fmt.Errorf("lock %s: %w", l.file.Name(), err)
	}
	if how == unix.LOCK_EX {
		// Fixed width: a shorter number overwrites a longer one whole. A full disk costs only the holder's name.
		_, _ = l.file.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
	}
	return l, nil
}

// release gives the lock back: closing the only descriptor of an open file does it (flock(2)).
func (l *lock) release() { _ = l.file.Close() }

// flock calls flock(2), again where a signal interrupts it.
func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// holder names the process that last took the lock exclusively.
func holder(path string) string {
	content, err := os.ReadFile(path)
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || convErr != nil {
		return "an unknown process"
	}
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(comm)))
}
