package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/vpcsim"
)

// keptAcrossBoots is what /run has that is the lab's and not the host's.
func keptAcrossBoots() []string { return []string{"overlay", "lock", "netns"} }

// Reboot restarts a node: its ENIs are as they were at first, under the names that they have, all else of its network is
// gone, and /run is empty; /etc, /opt and /var/lib stay. The caller ends the node's programs before. Hosts of the node's
// that were made before, and handles, stay with the network that was.
func (l *Lab) Reboot(n *Node) error {
	if err := l.reboot(n); err != nil {
		return fmt.Errorf("reboot %s: %w", n.Name, err)
	}
	return nil
}

func (l *Lab) reboot(n *Node) error {
	before := n.links
	fresh, err := n.freshBoot()
	if err != nil {
		return err
	}
	old := n.in.net
	n.in.net = fresh
	defer func() {
		before.Close()
		_ = old.Close() // and with it what is left of the network, now or when the last socket there is closed
	}()
	if n.links, err = n.Handle(unix.NETLINK_ROUTE); err != nil {
		n.links = before
		return err
	}
	for _, eni := range l.VPC.ENIs(n.InstanceID) {
		name := l.fabric.link(eni.ID)
		if name == "" {
			continue // on its way in or out
		}
		if err := n.takeOver(before, eni, name, l.provider); err != nil {
			return fmt.Errorf("take %s over: %w", name, err)
		}
	}
	return nil
}

// freshBoot makes a network namespace as a booting host has it, and empties the node's /run.
func (n *Node) freshBoot() (net *os.File, err error) {
	err = onThread(func() error {
		if err := n.Enter(); err != nil {
			return err
		}
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare the network: %w", err)
		}
		if err := errors.Join(prepareNode(n.rpFilter), emptyRun(), freshSysfs()); err != nil {
			return err
		}
		net, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return net, err
}

// emptyRun removes what programs left below the calling thread's /run: the names of network namespaces, and files.
func emptyRun() error {
	var errs []error
	for _, dir := range []string{netnsDir, "/run"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if dir == "/run" && slices.Contains(keptAcrossBoots(), e.Name()) {
				continue
			}
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) { // no mount point
				errs = append(errs, &os.PathError{Op: "unmount", Path: path, Err: err})
			}
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}

// takeOver moves an ENI's link from the network before the boot to the one after. The kernel takes addresses, routes and
// rules from a link that moves; its name, MAC and wire stay.
func (n *Node) takeOver(before *netlink.Handle, eni vpcsim.ENI, name string, p provider) error {
	link, err := before.LinkByName(name)
	if err != nil {
		return err
	}
	if err := before.LinkSetNsFd(link, int(n.in.net.Fd())); err != nil {
		return fmt.Errorf("move the link: %w", err)
	}
	if link, err = n.links.LinkByName(name); err != nil {
		return err
	}
	if err := n.links.LinkSetMTU(link, p.mtu); err != nil {
		return fmt.Errorf("set the MTU: %w", err)
	}
	if err := n.Do(func() error { return p.writeBoth(askOften(name)) }); err != nil {
		return err
	}
	if eni.DeviceIndex != 0 {
		return nil
	}
	return n.lease(eni, name)
}
