package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaces are a network and a mount namespace that live as long as their files are open.
type namespaces struct {
	net, mnt *os.File
}

// newNamespaces makes a pair and runs prepare inside.
func newNamespaces(prepare func() error) (namespaces, error) {
	var ns namespaces
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare the network and the mounts: %w", err)
		}
		var err error
		if ns.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if ns.mnt, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
			return err
		}
		if err := isolateMounts(); err != nil {
			return err
		}
		return prepare()
	})
	if err != nil {
		return ns, errors.Join(err, ns.close())
	}
	return ns, nil
}

func (ns namespaces) close() error {
	var errs []error
	for _, f := range []*os.File{ns.net, ns.mnt} {
		if f == nil {
			continue
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// enter moves the calling thread in.
func (ns namespaces) enter() error {
	// A thread that shares its root and working folder with others may not change its mount namespace (setns(2)).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the working folder: %w", err)
	}
	if err := unix.Setns(int(ns.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the mount namespace: %w", err)
	}
	if err := unix.Setns(int(ns.net.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

// errLeft says that a function ended its goroutine, as testing.T.FailNow does, in place of returning.
var errLeft = errors.New("the function ended its goroutine")

// onThread runs fn on an OS thread of its own, which ends with it: no other goroutine ever runs where fn went.
func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		err := errLeft
		defer func() { result <- err }()
		err = fn()
	}()
	return <-result
}

// isolateMounts gives a fresh mount namespace what a machine of its own would have: an empty /run, empty folders of the
// CNI, an /etc, /opt and /var/lib that may be written to, and a /sys that shows its own network. The rest is the machine's.
func isolateMounts() error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	for _, parent := range []string{"/etc", "/opt", "/var/lib"} {
		if err := freshCNI(parent); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/run/lock", "/run/netns", "/etc/cni/net.d", "/opt/cni/bin"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// As `ip netns add` does, so that it finds the folder ready and later mount namespaces see names come and go.
	if err := mount("/run/netns", "/run/netns", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := mount("", "/run/netns", "", unix.MS_SHARED, ""); err != nil {
		return err
	}
	return freshSysfs()
}

// freshCNI makes parent/cni an empty folder. The parent becomes an overlay, in which it can be made where the machine has
// none, and in which all else that is written stays the host's own.
func freshCNI(parent string) error {
	scratch := filepath.Join("/run/overlay", parent)
	upper, work, dir := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work"), filepath.Join(parent, "cni")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", parent, upper, work)
	if err := mount("overlay", parent, "overlay", 0, layers); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
}

// freshSysfs mounts a /sys of the calling thread's network namespace, and keeps the control groups where they were.
func freshSysfs() error {
	groups, err := unix.Open("/sys/fs/cgroup", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("open /sys/fs/cgroup: %w", err)
	}
	if err := mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	if groups < 0 {
		return nil
	}
	defer func() { _ = unix.Close(groups) }() // only a path
	return mount(fmt.Sprintf("/proc/self/fd/%d", groups), "/sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC, "")
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return &os.PathError{Op: "mount " + kind + " on", Path: target, Err: err}
	}
	return nil
}
