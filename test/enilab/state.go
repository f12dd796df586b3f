package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// stateDir has a folder for each lab that is up: lock, which its holder has locked and written its process ID into; sock,
// where the holder listens; log, for its last words.
const stateDir = "/run/enilab"

// state is the folder of one lab. What a killed holder left there is known by its lock being free.
type state struct{ name string }

func stateOf(name string) (state, error) {
	if !regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}$`).MatchString(name) {
		return state{}, fmt.Errorf("%q cannot be a lab's name: letters, digits, '.', '_' and '-', 32 at most", name)
	}
	return state{name}, nil
}

func (s state) dir() string    { return filepath.Join(stateDir, s.name) }
func (s state) lock() string   { return filepath.Join(s.dir(), "lock") }
func (s state) socket() string { return filepath.Join(s.dir(), "sock") }
func (s state) log() string    { return filepath.Join(s.dir(), "log") }

// errTaken says that another process holds the lab's lock.
var errTaken = errors.New("already up")

// take makes the folder and locks it for this process, for as long as the file is open. It returns errTaken where
// another process has it.
func (s state) take() (*os.File, error) {
	for {
		f, err := s.open()
		if errors.Is(err, fs.ErrNotExist) {
			continue // the folder went meanwhile: a holder has ended
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(fmt.Errorf("lab %s is %w%s", s.name, errTaken, s.holder()), f.Close())
		}
		if s.isCurrent(f) {
			return f, nil
		}
		if err := f.Close(); err != nil { // it was locked only after its holder had removed it
			return nil, err
		}
	}
}

func (s state) open() (*os.File, error) {
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(s.lock(), os.O_RDWR|os.O_CREATE, 0o600)
}

func (s state) isCurrent(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(s.lock())
	return err == nil && os.SameFile(opened, named)
}

// holder names the process that holds the lab, for messages.
func (s state) holder() string {
	b, err := os.ReadFile(s.lock())
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return ", held by process " + pid
	}
	return ""
}

// isUp says whether a living process holds the lab.
func (s state) isUp() bool {
	f, err := os.Open(s.lock())
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // gives the lock back, if it was free
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// free waits until nobody holds the lab.
func (s state) free(ctx context.Context) error {
	f, err := os.Open(s.lock())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	locked := make(chan error, 1)
	go func() { // ends with the holder, or else with this process
		locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}()
	select {
	case err := <-locked:
		return errors.Join(err, f.Close())
	case <-ctx.Done():
		return fmt.Errorf("lab %s is not down%s: %w", s.name, s.holder(), ctx.Err())
	}
}

// remove deletes the folder, of which the caller has the lock.
func (s state) remove() error {
	err := os.RemoveAll(s.dir())
	_ = os.Remove(stateDir) // while there is another lab in it, it stays
	return err
}

// labsUp returns the labs that a living process holds.
func labsUp() ([]state, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []state
	for _, e := range entries {
		if s, err := stateOf(e.Name()); err == nil && s.isUp() {
			found = append(found, s)
		}
	}
	return found, nil
}
