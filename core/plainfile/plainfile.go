// Package plainfile opens files without Go's poller, whose threads and system calls are a good part of what a short process
// costs, and which serves nothing where a read never waits: on disk, below /proc and /sys.
package plainfile

import (
	"bytes"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Open is os.OpenFile.
func Open(name string, flag int, mode os.FileMode) (*os.File, error) {
	fd, err := open(name, flag, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil // whose descriptor blocks, so that it is not polled
}

// Read returns what a small file has, whole: the kernel may give what is below /proc in several calls.
func Read(name string) ([]byte, error) {
	fd, err := open(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var all bytes.Buffer
	part := make([]byte, 512)
	for {
		n, err := again(func() (int, error) { return unix.Read(fd, part) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return all.Bytes(), nil
		}
		all.Write(part[:n])
	}
}

// Write writes to a file that is there, in one call: a sysctl takes a value whole.
func Write(name string, value []byte) error {
	fd, err := open(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := again(func() (int, error) { return unix.Write(fd, value) }); err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

func open(name string, flag int, mode os.FileMode) (int, error) {
	fd, err := again(func() (int, error) { return unix.Open(name, flag|unix.O_CLOEXEC, uint32(mode.Perm())) })
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// again calls the kernel until no signal, of which the runtime sends itself some, comes in between.
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR { //nolint:errorlint // an errno as it comes
			return n, err
		}
	}
}
