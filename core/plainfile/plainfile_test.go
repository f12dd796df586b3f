package plainfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRead(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 1000)
	dir := t.TempDir()
	for name, want := range map[string][]byte{"empty": {}, "short": []byte("1\n"), "long": long} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d octets, %v", name, len(got), err)
		}
	}
	want, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read("/proc/self/mountinfo"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a file below /proc: got %q, %v, want %q", got, err, want)
	}
}

func TestDir(t *testing.T) {
	path := t.TempDir()
	dir, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	if err := dir.Write("value", []byte("1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there gave %v", err)
	}
	file := filepath.Join(path, "value")
	if err := os.WriteFile(file, []byte("longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dir.Write("value", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "1" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := dir.Read("value"); err != nil || string(got) != "1" {
		t.Errorf("below the folder: got %q, %v", got, err)
	}
	if _, err := OpenDir(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file opened as a folder gave %v", err)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	_, openErr := Open(filepath.Join(dir, "none"), os.O_RDONLY, 0)
	_, readErr := Read(dir)
	for want, err := range map[error]error{fs.ErrNotExist: openErr, unix.EISDIR: readErr} {
		var path *fs.PathError
		if !errors.As(err, &path) || !errors.Is(err, want) {
			t.Errorf("got %v, want %v of a path", err, want)
		}
	}
}

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	file, err := Open(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("text"), 3); err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil || info.Size() != 7 || info.Mode().Perm()&^0o640 != 0 || file.Name() != name {
		t.Errorf("got %v of %s, %v", info, file.Name(), err)
	}
	flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("the descriptor has the flags %#x, %v", flags, err)
	}
}
