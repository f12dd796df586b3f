package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a place in the lab: a network namespace with the mounts that belong to it. A node is one, and so are a
// container in a node, the router and the internet.
type Host struct {
	Name string

	in        namespaces
	container string // path of a network namespace within the mounts; empty for a host that holds its own
}

// Do runs fn inside the host: its network, its mounts. Sockets that fn opens stay the host's wherever they are used
// later. The working folder is /, and goroutines that fn starts are elsewhere.
func (h *Host) Do(fn func() error) error {
	return onThread(func() error {
		if err := h.Enter(); err != nil {
			return err
		}
		return fn()
	})
}

// Enter moves the calling thread into the host, for good: it is for a goroutine that is locked to its thread and never
// unlocks it. Do is what tests want.
func (h *Host) Enter() error {
	if err := h.in.enter(); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	if h.container == "" {
		return nil
	}
	f, err := os.Open(h.container)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	defer func() { _ = f.Close() }() // the thread holds the namespace from here on
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%s: enter the network namespace %s: %w", h.Name, h.container, err)
	}
	return nil
}

// Netns opens the host's network namespace. Who holds a container's open keeps it and its links alive.
func (h *Host) Netns() (*os.File, error) {
	var f *os.File
	err := h.Do(func() (err error) {
		f, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return f, err
}

// NetnsPath returns a path of the host's network namespace. A node's is good for every process of the machine while the
// lab is up; a container's is good within its node only.
func (h *Host) NetnsPath() string {
	if h.container != "" {
		return h.container
	}
	return fdPath(h.in.net)
}

// MountPath returns a path of the host's mount namespace, for every process of the machine while the lab is up.
func (h *Host) MountPath() string { return fdPath(h.in.mnt) }

func fdPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// Handle returns a netlink socket in the host, to be deleted by the caller.
func (h *Host) Handle(families ...int) (*netlink.Handle, error) {
	f, err := h.Netns()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the sockets hold the namespace from here on
	handle, err := netlink.NewHandleAt(netns.NsHandle(f.Fd()), families...)
	if err != nil {
		return nil, fmt.Errorf("%s: open netlink: %w", h.Name, err)
	}
	return handle, nil
}

// Start starts a command inside the host. A relative path and the working folder are taken as they are outside.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.Dir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		cmd.Dir = dir
	}
	return h.Do(cmd.Start)
}

// Run starts a command inside the host and waits for its end.
func (h *Host) Run(cmd *exec.Cmd) error {
	if err := h.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Output runs a program inside the host, with environment variables beside the process's own, and returns what it
// printed. Its standard error becomes part of the error.
func (h *Host) Output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr limitedBuffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := h.Run(cmd); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: run %s: %w: %s", h.Name, filepath.Base(name), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// limitedBuffer keeps a program's first MiB and drops the rest.
type limitedBuffer struct{ b []byte }

func (l *limitedBuffer) Write(p []byte) (int, error) {
	const limit = 1 << 20
	l.b = append(l.b, p[:min(len(p), limit-len(l.b))]...)
	return len(p), nil
}

func (l *limitedBuffer) Bytes() []byte { return l.b }

func (h *Host) close() error {
	if h.container != "" {
		return nil
	}
	return h.in.close()
}

// OpenHost opens a host of a lab that another process holds, by the paths that NetnsPath and MountPath gave there; a
// container, where one is named, is one of that host's.
func OpenHost(name, netnsPath, mountPath, container string) (*Host, error) {
	h := &Host{Name: name}
	var err error
	if h.in.net, err = os.Open(netnsPath); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if h.in.mnt, err = os.Open(mountPath); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), h.close())
	}
	if container != "" {
		h.container = filepath.Join(netnsDir, filepath.Base(container))
	}
	return h, nil
}

// newHost makes a host and runs prepare inside.
func newHost(name string, prepare func() error) (*Host, error) {
	in, err := newNamespaces(prepare)
	if err != nil {
		return nil, err
	}
	return &Host{Name: name, in: in}, nil
}

// sysctl is a setting below /proc/sys/net/ipv4, of the calling thread's network namespace.
type sysctl struct{ key, value string }

func write(settings []sysctl) error { return writeBelow("/proc/sys/net/ipv4", settings) }

// write6 is write for IPv6's.
func write6(settings []sysctl) error { return writeBelow("/proc/sys/net/ipv6", settings) }

func writeBelow(folder string, settings []sysctl) error {
	var errs []error
	for _, s := range settings {
		errs = append(errs, os.WriteFile(filepath.Join(folder, s.key), []byte(s.value), 0o644))
	}
	return errors.Join(errs...)
}
