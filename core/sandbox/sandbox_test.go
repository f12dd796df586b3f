package sandbox_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/sandbox"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	plain, pipe := filepath.Join(dir, "plain"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(plain, nil, 0o600), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		gone       bool
		want       string
	}{
		{"empty", "", true, "no network namespace there"},
		{"missing", filepath.Join(dir, "missing"), true, "no network namespace there"},
		{"below a plain file", filepath.Join(plain, "below"), true, "no network namespace there"},
		{"plain file", plain, true, "no network namespace there"},
		{"directory", dir, true, "no network namespace there"},
		{"pipe", pipe, true, "no network namespace there"},
		{"another kind", "/proc/self/ns/uts", false, "it is a namespace of another kind"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns, err := sandbox.Open(tt.path)
			if err == nil {
				_ = ns.Close()
				t.Fatal("it was opened")
			}
			if errors.Is(err, sandbox.ErrGone) != tt.gone || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("unexpected error: %v", err)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	own := nstest.New(t)
	ns, err := sandbox.Open(own.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if ours, err := ns.IsOurs(); ours || err != nil {
		t.Errorf("outside, it is ours: %v %v", ours, err)
	}
	own.Do(func() error {
		if ours, err := ns.IsOurs(); !ours || err != nil {
			t.Errorf("inside, it is not ours: %v %v", ours, err)
		}
		return nil
	})
	path := own.Path()
	if !sandbox.Alive(path, ns.Inode()) || !sandbox.Alive(path, 0) {
		t.Error("it counts as dead")
	}
	if sandbox.Alive(path, ns.Inode()+1) {
		t.Error("another namespace at its path counts as it")
	}
	if !sandbox.Alive("/proc/self/ns/uts", 1) {
		t.Error("what is not known counts as dead")
	}
	own.Close()
	if sandbox.Alive(path, ns.Inode()) {
		t.Error("its path is gone and it counts as alive")
	}
	if dir := t.TempDir(); sandbox.Alive(filepath.Join(dir, "x"), 1) || !sandbox.Alive(filepath.Join(dir, "netns", "x"), 1) {
		t.Error("where its folder is not to be seen, nothing is known of it")
	}
	if sandbox.Alive("/proc/0/ns/net", 1) {
		t.Error("its process is gone and it counts as alive")
	}
}
