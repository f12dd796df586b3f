// Package machine switches a node of the lab on and off: daemons run in a process table and mounts of their own, so that
// their orphans and what they mounted end with the machine, as at power-off. It ends too when the test that made it does,
// however that ends.
package machine

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
)

// Machine is a node that is switched on. Its network, /run, /etc, /opt and /var/lib are the node's. Its /proc shows its own
// processes only, so that Host.Netns and whatever else asks /proc about itself belongs to the node, not here.
type Machine struct {
	Node *lab.Node
	// Cgroup is where container runtimes are told to make control groups ("/enichain-…", below the root of each
	// hierarchy); Off removes it.
	Cgroup string

	init     *exec.Cmd
	power    io.Closer
	mnt, pid *os.File
}

// Disk is a folder of a node that was ever switched on, which stays when it is switched off. Container runtimes have their
// images there: an overlay, as they make them, cannot lie on one of the node's.
const Disk = "/var/lib/disk"

// initScript is the first process: bash, which reaps orphans. It ends when its standard input does, and with it all
// others. crun 1.8 refuses to work where controllers of version 1 stand beside a unified hierarchy, so that goes.
const initScript = `mount -t proc proc /proc || exit
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified || exit; fi
echo on
read -r _`

// On switches a node on. One node may be on once at a time.
func On(n *lab.Node) (*Machine, error) {
	sweepCgroups()
	m := &Machine{
		Node: n, Cgroup: fmt.Sprintf(cgroupFormat, os.Getpid(), strings.ToLower(rand.Text()[:10])),
		init: exec.Command("bash", "-c", initScript),
	}
	m.init.Env = m.Env()
	m.init.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	var stderr bytes.Buffer
	m.init.Stderr = &stderr
	power, err := m.init.StdinPipe()
	if err != nil {
		return nil, err
	}
	m.power = power
	stdout, err := m.init.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(n.Do(mountDisk), n.Start(m.init)); err != nil {
		return nil, fmt.Errorf("%s: switch on: %w", n.Name, err)
	}
	if err := m.await(stdout); err != nil {
		err = errors.Join(err, m.Off())
		return nil, fmt.Errorf("%s: switch on: %w: %s", n.Name, err, stderr.Bytes())
	}
	return m, nil
}

// mountDisk mounts the disk among the calling thread's mounts, unless it is there.
func mountDisk() error {
	var s unix.Statfs_t
	if err := unix.Statfs(Disk, &s); err == nil && s.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if err := os.MkdirAll(Disk, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", Disk, "tmpfs", unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", Disk, err)
	}
	return nil
}

// await waits until the first process is ready, and opens its namespaces.
func (m *Machine) await(stdout io.Reader) (err error) {
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return err
	}
	if m.mnt, err = os.Open(m.proc("ns/mnt")); err != nil {
		return err
	}
	m.pid, err = os.Open(m.proc("ns/pid"))
	return err
}

// proc is a path below /proc, as the test sees it, of the first process.
func (m *Machine) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", m.init.Process.Pid, name)
}

// Off ends all processes at once, as a power failure does. What they wrote to the node's files stays; mounts of theirs
// and control groups go. Off may be called again.
func (m *Machine) Off() error {
	if m.init.ProcessState != nil {
		return nil
	}
	_ = m.power.Close()
	err := m.init.Process.Kill() // its namespace's other processes die before it does
	_ = m.init.Wait()            // killed, as it should be
	for _, f := range []*os.File{m.mnt, m.pid} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return errors.Join(err, m.removeCgroups())
}

// Env is the environment that Output gives a program: what a daemon finds on a host, and the node's own part.
func (m *Machine) Env() []string {
	return append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "HOME=/run"}, m.Node.Env()...)
}

// Mounts returns the mount points of the machine, in the order in which they were made.
func (m *Machine) Mounts() ([]string, error) {
	text, err := os.ReadFile(m.proc("mountinfo"))
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		points = append(points, strings.Fields(line)[4]) // proc_pid_mountinfo(5)
	}
	return points, nil
}
