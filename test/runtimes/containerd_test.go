package runtimes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/enichain/enichain/test/containerd"
	"github.com/enichain/enichain/test/image"
	"github.com/enichain/enichain/test/vpcsim"
)

// criNode is a node under containerd.
type criNode struct {
	*world
	dir    string // of containerd's programs; empty for those in PATH
	daemon *containerd.Daemon
}

// containerds are those that are tested: Debian's, and a 2.x.
func containerds() map[string]string {
	return map[string]string{"1.6": "", "2.x": tools.Dir}
}

// onContainerd makes a node under containerd that has run a pod before: its ENIs are prepared, as left knows it.
func onContainerd(t *testing.T, cloud, conflist, dir string, oldNew ...string) *criNode {
	t.Helper()
	n := &criNode{world: newWorld(t, cloud, conflist, oldNew...), dir: dir}
	n.start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("containerd's log:\n%s", n.daemon.Log())
		}
	})
	if err := n.daemon.Import(t.Context(), busybox(t)); err != nil {
		t.Fatal(err)
	}
	n.end(n.run("first"))
	return n
}

// start starts containerd.
func (n *criNode) start() {
	n.t.Helper()
	var err error
	if n.daemon, err = containerd.Start(n.t.Context(), n.machine, n.dir); err != nil {
		n.t.Fatal(err)
	}
}

// cri runs a command of the CRI's client.
func (n *criNode) cri(ctx context.Context, args ...string) (string, error) {
	out, err := n.machine.Output(ctx, nil, tools.Path("cri"), append([]string{"-cgroup-parent", n.machine.Cgroup}, args...)...)
	return string(out), err
}

// must runs a command that has to succeed.
func (n *criNode) must(args ...string) string {
	n.t.Helper()
	out, err := n.cri(n.t.Context(), args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// pod is one that runs.
type pod struct {
	container
	id string
}

// run runs a pod, whose container does nothing where no command is given.
func (n *criNode) run(name string, command ...string) pod {
	n.t.Helper()
	return n.runWith(nil, name, command...)
}

// publish runs a pod with a web server that is reached at the node's hostPort.
func (n *criNode) publish(name string) pod {
	n.t.Helper()
	return n.runWith([]string{"-port", fmt.Sprintf("%d:%d", hostPort, webPort)}, name, webServer(name)...)
}

func (n *criNode) runWith(options []string, name string, command ...string) pod {
	n.t.Helper()
	var started struct {
		ID, Container string
		IP            netip.Addr
		More          []netip.Addr
	}
	if err := json.Unmarshal([]byte(n.must(slices.Concat(options, []string{"run", name, image.Name}, command)...)), &started); err != nil {
		n.t.Fatal(err)
	}
	exec := func(ctx context.Context, command ...string) (string, error) {
		return n.cri(ctx, append([]string{"exec", started.Container}, command...)...)
	}
	return pod{container{name, started.IP, started.More, exec}, started.ID}
}

// end ends a pod as kubelet does, which asks more than once.
func (n *criNode) end(p pod) {
	n.t.Helper()
	n.must("stop", p.id)
	n.must("stop", p.id)
	n.must("remove", p.id)
}

// insist ends a pod by asking again until it is gone, as kubelet does. containerd 2 refuses while it has not noticed that
// a shim is dead.
func (n *criNode) insist(p pod) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	for {
		_, err := n.cri(ctx, "stop", p.id)
		if err == nil {
			_, err = n.cri(ctx, "remove", p.id)
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			n.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the CRI has no event for it
	}
}

// A pod's life on each cloud: its process reaches the other node, the internet and a service, and nothing stays.
func TestContainerd(t *testing.T) {
	t.Parallel()
	for version, dir := range containerds() {
		for cloud, conflist := range map[string]string{
			vpcsim.AWS: "10-enichain-aws.conflist", vpcsim.TencentCloud: "10-enichain-tencent.conflist",
		} {
			t.Run(version+"/"+cloud, func(t *testing.T) {
				t.Parallel()
				n := onContainerd(t, cloud, conflist, dir)
				before := n.baseline()
				a, b := n.run("a"), n.run("b", webServer("b")...)
				if !otherSubnet.Contains(a.ip) {
					t.Fatalf("the pod has %s, which is not of eth1", a.ip)
				}
				at, remove := n.service(b.ip)
				n.reaches(a.container)
				n.fetches(a.container, b.container, at)
				remove()
				n.end(a)
				n.end(b)
				n.leaves(before)
			})
		}
	}
}

// By the CRI a pod has the address of each family, or that of IPv6 alone; and its process and the world reach each other.
func TestContainerdWithIPv6(t *testing.T) {
	t.Parallel()
	for version, dir := range containerds() {
		for name, edit := range map[string][]string{"both families": nil, "IPv6 alone": alone()} {
			t.Run(version+"/"+name, func(t *testing.T) {
				t.Parallel()
				n := onContainerd(t, vpcsim.AWS, "10-enichain-aws-dual.conflist", dir, edit...)
				before := n.baseline()
				p := n.run("p", webServer("p")...)
				n.wantFamilies(p.container, edit == nil)
				n.reaches(p.container)
				n.isReached(p.container)
				n.end(p)
				n.leaves(before)
			})
		}
	}
}

// Pods live on while containerd restarts, by TERM and by KILL, host ports among them, and are ended by the one that comes
// after.
func TestContainerdRestarts(t *testing.T) {
	t.Parallel()
	for version, dir := range containerds() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			n := onContainerd(t, vpcsim.AWS, "10-enichain-aws-portmap.conflist", dir)
			n.end(n.publish("ports"))
			before := n.baseline() // with portmap's own chains
			a, b := n.run("a"), n.publish("b")
			n.published(b.container)
			for _, end := range []func() error{n.daemon.Stop, n.kill} {
				if err := end(); err != nil {
					t.Fatal(err)
				}
				n.start()
				n.reaches(a.container)
				n.fetches(a.container, b.container, netip.AddrPortFrom(b.ip, webPort))
				n.published(b.container)
			}
			n.end(a)
			n.end(b)
			n.leaves(before)
		})
	}
}

// kill ends the daemon of the moment by KILL.
func (n *criNode) kill() error { return n.daemon.Kill() }

// A pod whose shim was killed is ended like any other, and its neighbour does not notice.
func TestContainerdShimKilled(t *testing.T) {
	t.Parallel()
	for version, dir := range containerds() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			n := onContainerd(t, vpcsim.AWS, "10-enichain-aws.conflist", dir)
			before := n.baseline()
			a, b := n.run("a"), n.run("b")
			processes, err := n.machine.Processes()
			if err != nil {
				t.Fatal(err)
			}
			killed := 0
			for _, p := range processes {
				program, _, _ := strings.Cut(p.Args, " ")
				if filepath.Base(program) == "containerd-shim-runc-v2" && strings.Contains(p.Args, a.id) {
					if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					killed++
				}
			}
			if killed != 1 {
				t.Fatalf("%d shims killed of %v", killed, processes)
			}
			n.insist(a)
			n.reaches(b.container)
			c := n.run("c")
			n.reaches(c.container)
			n.end(b)
			n.end(c)
			n.leaves(before)
		})
	}
}

// After a reboot the store and the namespaces are gone, but the runtime knows its old pods and has their results. It may
// end them when new pods have their addresses already, and these must not notice.
func TestContainerdReboot(t *testing.T) {
	t.Parallel()
	for version, dir := range containerds() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			n := onContainerd(t, vpcsim.AWS, "10-enichain-aws.conflist", dir)
			old := []pod{n.run("a"), n.run("b")}
			assigned := n.assigned()
			n.reboot()
			n.start()
			n.end(n.run("first")) // prepares the ENIs
			before := n.baseline()
			var fresh []pod
			had := 0
			for _, name := range []string{"a2", "b2", "c2"} {
				p := n.run(name)
				fresh = append(fresh, p)
				for _, o := range old {
					if o.ip == p.ip {
						had++
					}
				}
			}
			if had != len(old) {
				t.Errorf("%d new pods have an address of the %d old ones; more would prove more", had, len(old))
			}
			if known := strings.Fields(n.must("pods")); len(known) != len(old)+len(fresh) {
				t.Errorf("containerd knows the pods %q", known)
			}
			for _, p := range old {
				n.end(p)
			}
			for _, p := range fresh {
				n.reaches(p.container)
				n.end(p)
			}
			n.leaves(before)
			if got := n.assigned(); got != assigned {
				t.Errorf("%d addresses are assigned, %d were before the reboot", got, assigned)
			}
		})
	}
}
