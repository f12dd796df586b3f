package plainfile

import (
	"bytes"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Dir is the descriptor of a folder: what is below it is found without the way to it.
type Dir int

// working is the folder that a process is in.
const working Dir = unix.AT_FDCWD

// OpenDir opens a folder, to find files below it alone.
func OpenDir(name string) (Dir, error) {
	fd, err := working.open(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	return Dir(fd), err
}

// Close closes the folder.
func (d Dir) Close() error { return unix.Close(int(d)) }

// Read is the package's Read, of a file by its name below the folder.
func (d Dir) Read(name string) ([]byte, error) {
	fd, err := d.open(name, os.O_RDONLY, 0)
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

// Write writes to a file that is there, by its name below the folder, in one call: a sysctl takes a value whole.
func (d Dir) Write(name string, value []byte) error {
	fd, err := d.open(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := again(func() (int, error) { return unix.Write(fd, value) }); err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

func (d Dir) open(name string, flag int, mode os.FileMode) (int, error) {
	fd, err := again(func() (int, error) { return unix.Openat(int(d), name, flag|unix.O_CLOEXEC, uint32(mode.Perm())) })
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
