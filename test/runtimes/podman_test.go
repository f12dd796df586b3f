package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/image"
	"github.com/enichain/enichain/test/machine"
	"github.com/enichain/enichain/test/vpcsim"
)

// What podman is told: to use the CNI, and to keep what it has on the node's disk and in its /run.
const (
	containersConf = `[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
static_dir = "` + machine.Disk + `/libpod"
volume_path = "` + machine.Disk + `/volumes"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
`
	storageConf = `[storage]
driver = "overlay"
graphroot = "` + machine.Disk + `/storage"
runroot = "/run/containers/storage"
`
)

const tmpDir = "TMPDIR=/run" // else podman writes to the machine's /var/tmp

// podmanNode is a node under podman.
type podmanNode struct{ *world }

// onPodman makes a node under podman that has run a container before: its ENIs are prepared, as left knows it.
func onPodman(t *testing.T, cloud, conflist string, oldNew ...string) podmanNode {
	t.Helper()
	n := podmanNode{newWorld(t, cloud, conflist, oldNew...)}
	err := n.node.Do(func() error {
		return errors.Join(
			os.WriteFile("/etc/containers/containers.conf", []byte(containersConf), 0o644),
			os.WriteFile("/etc/containers/storage.conf", []byte(storageConf), 0o644),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	n.prepare()
	cmd := exec.CommandContext(t.Context(), "podman", "load", "--quiet")
	cmd.Env, cmd.Stdin = n.env(), strings.NewReader(string(busybox(t)))
	if _, err := n.machine.OutputOf(cmd); err != nil {
		t.Fatal(err)
	}
	n.run("first")
	n.podman("rm", "--force", "--time", "0", "first")
	return n
}

// prepare gives the machine what podman shares with nobody: the memory that its locks are in.
func (n podmanNode) prepare() {
	n.t.Helper()
	if _, err := n.machine.Output(n.t.Context(), nil, "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"); err != nil {
		n.t.Fatal(err)
	}
}

// env is the machine's environment, in which /usr/sbin comes last in PATH.
func (n podmanNode) env() []string { return append(n.machine.Env(), tmpDir) }

// podman runs a command that has to succeed.
func (n podmanNode) podman(args ...string) string {
	n.t.Helper()
	out, err := n.machine.Output(n.t.Context(), []string{tmpDir}, "podman", args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// run runs a container on the network that we ship; options are podman's, then come "--" and a command, where there are any.
func (n podmanNode) run(name string, options ...string) container {
	n.t.Helper()
	options, command := options, []string(nil)
	if i := slices.Index(options, "--"); i >= 0 {
		options, command = options[:i], options[i+1:]
	}
	args := []string{"run", "--detach", "--network", "enichain", "--name", name, "--cgroup-parent", n.machine.Cgroup}
	n.podman(slices.Concat(args, options, []string{image.Name}, command)...)
	return n.container(name)
}

// container is one of podman's that runs.
func (n podmanNode) container(name string) container {
	n.t.Helper()
	exec := func(ctx context.Context, command ...string) (string, error) {
		out, err := n.machine.Output(ctx, nil, "podman", append([]string{"exec", name}, command...)...)
		return string(out), err
	}
	a := n.attachment(name)
	switch {
	case !a.GlobalIPv6Address.IsValid():
		return container{name, a.IPAddress, nil, exec}
	case !a.IPAddress.IsValid():
		return container{name, a.GlobalIPv6Address, nil, exec}
	}
	return container{name, a.IPAddress, []netip.Addr{a.GlobalIPv6Address}, exec}
}

// attachment is what podman says of a container's network.
type attachment struct {
	IPAddress, GlobalIPv6Address netip.Addr
	MacAddress                   string
}

func (n podmanNode) attachment(name string) attachment {
	n.t.Helper()
	var a attachment
	text := n.podman("inspect", "--format", "{{json .NetworkSettings.Networks.enichain}}", name)
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		n.t.Fatalf("podman inspect %s: %q: %v", name, text, err)
	}
	return a
}

// A container's life on each cloud: its process reaches the other node, the internet and another container.
func TestPodman(t *testing.T) {
	t.Parallel()
	for cloud, conflist := range map[string]string{
		vpcsim.AWS: "10-enichain-aws.conflist", vpcsim.TencentCloud: "10-enichain-tencent.conflist",
	} {
		t.Run(cloud, func(t *testing.T) {
			t.Parallel()
			n := onPodman(t, cloud, conflist)
			before := n.baseline()
			a, b := n.run("a"), n.run("b", append([]string{"--"}, webServer("b")...)...)
			if !otherSubnet.Contains(a.ip) {
				t.Fatalf("the container has %s, which is not of eth1", a.ip)
			}
			n.reaches(a)
			n.fetches(a, b, netip.AddrPortFrom(b.ip, webPort))
			n.podman("rm", "--force", "--time", "0", "a", "b")
			n.leaves(before)
		})
	}
}

// podman tells the address of each family, or that of IPv6 alone.
func TestPodmanWithIPv6(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string][]string{"both families": nil, "IPv6 alone": alone()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := onPodman(t, vpcsim.AWS, "10-enichain-aws-dual.conflist", edit...)
			before := n.baseline()
			c := n.run("c", append([]string{"--"}, webServer("c")...)...)
			n.wantFamilies(c, edit == nil)
			n.reaches(c)
			n.isReached(c)
			n.podman("rm", "--force", "--time", "0", "c")
			n.leaves(before)
		})
	}
}

// Ports are published behind us, also of a container that was stopped and started, and whose network was reloaded.
func TestPodmanPublishedPorts(t *testing.T) {
	t.Parallel()
	n := onPodman(t, vpcsim.AWS, "10-enichain-aws-portmap.conflist")
	publish := []string{"--publish", fmt.Sprintf("%d:%d", hostPort, webPort), "--"}
	n.published(n.run("ports", append(publish, webServer("ports")...)...))
	n.podman("rm", "--force", "--time", "0", "ports")
	before := n.baseline() // with portmap's own chains
	c := n.run("c", append(publish, webServer("c")...)...)
	n.published(c)
	n.podman("stop", "--time", "0", "c")
	n.podman("start", "c")
	c = n.container("c") // perhaps of another address
	n.reaches(c)
	n.published(c)
	was := n.attachment("c")
	n.podman("network", "reload", "c")
	if is := n.attachment("c"); is != was {
		t.Errorf("the container has %v after a reload, had %v", is, was)
	}
	n.reaches(c)
	n.published(c)
	n.podman("rm", "--force", "--time", "0", "c")
	n.leaves(before)
}

// A container gets the address and the MAC that it asks for, and keeps them.
func TestPodmanStaticAddresses(t *testing.T) {
	t.Parallel()
	n := onPodman(t, vpcsim.AWS, "10-enichain-aws.conflist")
	before := n.baseline()
	const mac = "02:11:22:33:44:55"
	ip := n.VPC.ENIs(n.node.InstanceID)[1].Secondary[2]
	c := n.run("c", "--ip", ip.String(), "--mac-address", mac)
	for _, again := range [][]string{nil, {"network", "reload", "c"}, {"restart", "--time", "0", "c"}} {
		if again != nil {
			n.podman(again...)
		}
		if a := n.attachment("c"); a.IPAddress != ip || a.MacAddress != mac {
			t.Errorf("after %q: podman says %v, want %s and %s", again, a, ip, mac)
		}
		if link := n.mustExec(c, "ip", "link", "show", "eth0"); !strings.Contains(link, mac) {
			t.Errorf("after %q: the container has %s, want the MAC %s", again, link, mac)
		}
		n.reaches(c)
	}
	n.podman("rm", "--force", "--time", "0", "c")
	n.leaves(before)
}

// After a reboot podman starts a container again that it knows from before.
func TestPodmanReboot(t *testing.T) {
	t.Parallel()
	n := onPodman(t, vpcsim.AWS, "10-enichain-aws.conflist")
	n.run("c")
	n.reboot()
	n.prepare()
	n.run("first") // prepares the ENIs
	n.podman("rm", "--force", "--time", "0", "first")
	before := n.baseline()
	n.podman("start", "c")
	n.reaches(n.container("c"))
	n.podman("rm", "--force", "--time", "0", "c")
	n.leaves(before)
}
