// Package flock takes the kernel's advisory lock on an open file (flock(2)) with a deadline that really fires, and without
// polling. The lock dies with its holder.
package flock

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Take waits until the file is locked, or ctx ends; how is unix.LOCK_EX or unix.LOCK_SH. Closing the file gives the lock
// back. Where Take fails the file is closed, or will be. The error of a context that ended is its cause.
//
// flock(2) cannot be given a deadline. So a goroutine waits in the kernel, first come first served; where ctx ends first
// the goroutine is left behind, and gives the lock back as soon as it gets it.
func Take(ctx context.Context, file *os.File, how int) error {
	if err := flock(file, how|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return granted(file, err)
	}
	if ctx.Err() != nil { // whoever will not wait leaves nobody waiting
		_ = file.Close()
		return context.Cause(ctx)
	}
	done := make(chan error)
	go func() {
		err := flock(file, how)
		select {
		case done <- err:
		case <-ctx.Done():
			_ = file.Close() // releases it
		}
	}()
	select {
	case err := <-done:
		return granted(file, err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func granted(file *os.File, err error) error {
	if err != nil {
		_ = file.Close()
	}
	return err
}

// flock calls flock(2), again where a signal interrupts it.
func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
