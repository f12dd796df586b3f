// Package nstest gives tests network namespaces of their own. A namespace lives as long as its descriptor: it needs no
// mount, and a killed test leaves nothing.
package nstest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NS is a network namespace. Its loopback is up, it forwards nothing and filters no reverse path, whatever the machine's
// own namespace does.
type NS struct {
	t    testing.TB
	file *os.File
	once sync.Once
}

// New makes a namespace, which goes when the test ends.
func New(t testing.TB) *NS {
	t.Helper()
	ns := &NS{t: t}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare (are we root?): %w", err)
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		ns.file = file
		return defaults()
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(ns.Close)
	return ns
}

// defaults sets what a new namespace may inherit from the machine (net.core.devconf_inherit_init_net).
func defaults() error {
	for key, value := range map[string]string{
		"ipv4/ip_forward": "0", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
		"ipv4/conf/default/proxy_arp": "0", "ipv4/conf/all/proxy_arp": "0",
		"ipv4/conf/all/arp_ignore": "0", "ipv4/conf/default/arp_ignore": "0",
	} {
		if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0); err != nil {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Path returns a path to the namespace that other processes can use, as CNI_NETNS is, until Close.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// FD returns the namespace's descriptor.
func (n *NS) FD() int { return int(n.file.Fd()) }

// Close lets go of the namespace; the kernel removes it, soon after, when nothing else is in it.
func (n *NS) Close() { n.once.Do(func() { _ = n.file.Close() }) }

// Do runs f on a thread of the namespace, of which processes that f starts are also. The thread dies with f.
func (n *NS) Do(f func() error) {
	n.t.Helper()
	if err := onThread(func() error {
		if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	}); err != nil {
		n.t.Fatal(err)
	}
}

// errStopped says that f ended by t.FailNow.
var errStopped = errors.New("the test stopped on a thread of the namespace")

// onThread runs f on a thread that ends with it: the goroutine exits locked.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := errStopped
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}
