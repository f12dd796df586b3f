//go:build kube

package kube

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/containerd"
	"github.com/enichain/enichain/test/image"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/machine"
)

// worker is a node of the cluster. It is switched on and off; its files stay.
type worker struct {
	*lab.Node
	conflist   []byte
	kubeconfig string
	maxPods    int

	machine    *machine.Machine
	containerd *containerd.Daemon
	proxy      *process
}

// conflistPath is where a node has its conflist (lab.Node.InstallCNI).
const conflistPath = "/etc/cni/net.d/10-enichain.conflist"

// onIPTables is a conflist with eni-snat on iptables.
func onIPTables(conflist []byte) []byte {
	return bytes.Replace(conflist, []byte(`"snat": {}`), []byte(`"snat": {"backend": "iptables"}`), 1)
}

// withFamilies is a conflist whose containers have addresses of each of the cluster's families.
func (c *cluster) withFamilies(conflist []byte) []byte {
	names := strings.ToLower(quoted(each(c, func(f family) string { return f.name })))
	return bytes.Replace(conflist, []byte(`"type": "eni-ipam"`), []byte(`"type": "eni-ipam", "families": `+names), 1)
}

// perENI is a conflist with one rule for each ENI.
func perENI(conflist []byte) []byte {
	return bytes.Replace(conflist, []byte(`"type": "eni-ptp"`), []byte(`"type": "eni-ptp", "routing": "per-eni", "marking": "tcx"`), 1)
}

// newWorker installs a node: the plugins with the shipped conflist, and the folders that a kubelet writes to. In a dual-stack cluster
// the second node has the other layout of the rules.
func (c *cluster) newWorker(n *lab.Node) (*worker, error) {
	conflist, err := os.ReadFile("../../conflist/10-enichain-aws-portmap.conflist")
	if err != nil {
		return nil, err
	}
	if c.six() { // else as it is shipped
		conflist = c.withFamilies(conflist)
	}
	if len(c.families) > 1 && n == c.Nodes[1] {
		conflist = perENI(conflist)
	}
	if err := errors.Join(n.InstallCNI(bin.Dir, conflist), n.Do(prepareNode)); err != nil {
		return nil, err
	}
	client, err := c.ca.issue("system:node:"+n.Name, []string{"system:nodes"})
	if err != nil {
		return nil, err
	}
	w := &worker{Node: n, conflist: conflist}
	if w.kubeconfig, err = c.ca.kubeconfig(c.server, client); err != nil {
		return nil, err
	}
	out, err := n.Output(c.ctx, n.Env(), bin.Path("enictl"), "maxpods")
	if err != nil {
		return nil, err
	}
	w.maxPods, err = strconv.Atoi(strings.TrimSpace(string(out)))
	return w, err
}

// prepareNode gives a kubelet folders of its own.
func prepareNode() error {
	for _, dir := range []string{"/var/lib/kubelet", "/var/log"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NODEV, "mode=755")); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
		}
	}
	return nil
}

// bootScript hides the machine-wide settings that a kubelet writes to (pkg/kubelet/cm/container_manager_linux.go,
// setupKernelTunables), and makes the control group that it is told to stay in ($0), which it wants to find.
const bootScript = `set -e
hide() { echo "$2" > "/run/hidden-${1##*/}"; mount --bind "/run/hidden-${1##*/}" "/proc/sys/$1"; }
hide vm/overcommit_memory 1
hide vm/panic_on_oom 0
hide kernel/panic 10
hide kernel/panic_on_oops 1
hide kernel/keys/root_maxkeys 1000000
hide kernel/keys/root_maxbytes 25000000
roots=/sys/fs/cgroup
[ -e $roots/cgroup.procs ] || roots=$roots/*
for root in $roots; do [ ! -e $root/cgroup.procs ] || mkdir -p "$root$0"; done`

// powerOn switches a node on, and starts what an init system would; kube-proxy is the tests' own.
func (c *cluster) powerOn(w *worker) (err error) {
	if w.machine, err = machine.On(w.Node); err != nil {
		return err
	}
	if _, err := w.machine.Output(c.ctx, nil, "bash", "-c", bootScript, w.machine.Cgroup); err != nil {
		return err
	}
	if w.containerd, err = containerd.Start(c.ctx, w.machine, ""); err != nil {
		return err
	}
	return c.startKubelet(w)
}

// powerOff ends all of a node's processes at once.
func (c *cluster) powerOff(w *worker) error {
	if w.machine == nil {
		return nil
	}
	return c.off(w.machine)
}

// importImage gives a node the one image that it needs.
func (c *cluster) importImage(w *worker) error {
	archive, err := image.Busybox()
	if err != nil {
		return err
	}
	return w.containerd.Import(c.ctx, archive)
}

func (c *cluster) startKubelet(w *worker) error {
	config, err := c.write(w.Name+"-kubelet.json", fmt.Sprintf(kubeletConfig, c.ca.file(), w.machine.Cgroup, w.maxPods, containerd.Socket))
	if err != nil {
		return err
	}
	_, err = c.run(w.machine, binary("kubelet"), "--config="+config, "--kubeconfig="+w.kubeconfig,
		"--hostname-override="+w.Name, "--node-ip="+joined(c.primaries(w.Node)))
	return err
}

// kubeletConfig leaves the machine alone: nothing is evicted for its disks, and all files are in the node's own folders.
const kubeletConfig = `{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
	"authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": %q}},
	"authorization": {"mode": "AlwaysAllow"},
	"cgroupDriver": "cgroupfs", "cgroupRoot": %q, "enforceNodeAllocatable": [], "failSwapOn": false,
	"maxPods": %d, "containerRuntimeEndpoint": "unix://%s",
	"evictionHard": {"memory.available": "0%%", "nodefs.available": "0%%", "imagefs.available": "0%%"},
	"imageGCHighThresholdPercent": 100, "volumePluginDir": "/var/lib/kubelet/plugins", "resolvConf": "",
	"runtimeRequestTimeout": "5m"}`
