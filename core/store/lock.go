package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/flock"
	"github.com/enichain/enichain/core/plainfile"
)

// lock is a held lock: the kernel's flock on a file that is never unlinked, so that it dies with its holder and two
// processes never hold different files of one name.
type lock struct{ file *os.File }

// acquire waits for the lock until ctx ends. Whoever takes it exclusively leaves its PID in the file, for the error of
// those who wait in vain.
func acquire(ctx context.Context, path string, how int) (*lock, error) {
	flags := os.O_RDONLY
	if how == unix.LOCK_EX {
		flags = os.O_RDWR | os.O_CREATE
	}
	file, err := plainfile.Open(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	switch err := flock.Take(ctx, file, how); {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("lock %s is held by %s: %w", path, holder(path), err)
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if how == unix.LOCK_EX {
		// Fixed width: a shorter number overwrites a longer one whole. A full disk costs only the holder's name.
		_, _ = file.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
	}
	return &lock{file}, nil
}

// release gives the lock back: closing the only descriptor of an open file does it (flock(2)).
func (l *lock) release() { _ = l.file.Close() }

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
