package flock_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/flock"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// TestTake shows that a lock is waited for until the context ends, on a network namespace's file too, and that who gave up
// does not keep it.
func TestTake(t *testing.T) {
	path := nstest.New(t).Path()
	open := func() *os.File {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	first := open()
	if err := flock.Take(t.Context(), first, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for range 2 { // the second does not even begin to wait
		if err := flock.Take(ended, open(), unix.LOCK_EX); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a lock that is held was taken: %v", err)
		}
	}
	next := open()
	done := make(chan error)
	go func() { done <- flock.Take(t.Context(), next, unix.LOCK_EX) }()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("a lock that was given back: %v", err)
	}
	_ = next.Close()
}
