// Package plainfile opens files without Go's poller, whose threads and system calls are a good part of what a short process
// costs, and which serves nothing where a read never waits: on disk, below /proc and /sys.
package plainfile

import "os"

// Open is os.OpenFile.
func Open(name string, flag int, mode os.FileMode) (*os.File, error) {
	fd, err := working.open(name, flag, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil // whose descriptor blocks, so that it is not polled
}

// Read returns what a small file has, whole: the kernel may give what is below /proc in several calls.
func Read(name string) ([]byte, error) { return working.Read(name) }
