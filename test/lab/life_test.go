package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// holdVariable makes this test binary hold a lab until it is killed.
const holdVariable = "ENICHAIN_TEST_HOLD_LAB"

func TestMain(m *testing.M) {
	if os.Getenv(holdVariable) == "" {
		os.Exit(m.Run())
	}
	l, err := lab.Up(context.Background(), lab.Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(l.Node("node1").NetnsPath())
	select {}
}

func TestDownTwice(t *testing.T) {
	l, err := lab.Up(t.Context(), lab.Options{Nodes: 4})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nothing to do
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	}
	if err := l.Nodes[0].Do(func() error { return nil }); err == nil {
		t.Error("a node can be entered after Down")
	}
}

func TestTwoLabsSideBySide(t *testing.T) {
	one, two := up(t, lab.Options{Name: "one"}), up(t, lab.Options{Name: "two"})
	for _, l := range []*lab.Lab{one, two} {
		if _, err := ping(t, &l.Node("node1").Host, node2Eth0, probe.From{}); err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
	}
	do(t, one.Router, func() error {
		return netlink.RouteDel(&netlink.Route{Dst: hostNet(node2Eth0), Scope: unix.RT_SCOPE_LINK})
	})
	if _, err := ping(t, &two.Node("node1").Host, node2Eth0, probe.From{}); err != nil {
		t.Errorf("what was done to one lab is felt in the other: %v", err)
	}
}

// machine is what a lab must leave alone. The main thread is never moved, so /proc/self is the machine's view.
func machine(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]string{}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/self/net/route", "/proc/self/net/dev_mcast"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		state[file] = string(b)
	}
	for _, folder := range []string{"/run/netns", "/etc/cni", "/opt/cni", "/var/lib/cni"} {
		entries, err := filepath.Glob(folder + "/*")
		if err != nil {
			t.Fatal(err)
		}
		state[folder] = strings.Join(entries, " ")
	}
	return state
}

func TestTheMachineIsLeftAlone(t *testing.T) {
	before := machine(t)
	l := up(t, lab.Options{})
	if _, err := l.Node("node1").AddNetns("c1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Node("node1").InstallCNI(t.TempDir(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, machine(t)); diff != "" {
		t.Errorf("with the lab up (-before +now):\n%s", diff)
	}
}

// TestNothingOutlivesTheProcess kills a process that holds a lab, and watches a link into one of its nodes from outside:
// the kernel takes a link away when it takes the namespace of its other end down.
func TestNothingOutlivesTheProcess(t *testing.T) {
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdVariable+"=1")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Process.Kill() }) // it is dead already where the test got far enough
	path, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	watch := up(t, lab.Options{Nodes: 1}).Internet
	gone := watchLink(t, watch, strings.TrimSpace(path))
	if err := holder.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // killed, as it should be
	select {
	case <-gone:
	case <-time.After(patience):
		t.Errorf("the node's network namespace is still there %v after its holder's death", patience)
	}
}

// watchLink makes a link from the host into the namespace at path, and returns what is closed when it is gone.
func watchLink(t *testing.T, h *lab.Host, path string) <-chan struct{} {
	t.Helper()
	gone, stop, updates := make(chan struct{}), make(chan struct{}), make(chan netlink.LinkUpdate)
	t.Cleanup(func() { close(stop) })
	far, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: "watch", TxQLen: -1})
	veth.PeerName, veth.PeerNamespace = "watched", netlink.NsFd(far.Fd())
	do(
		t, h,
		func() error { return netlink.LinkSubscribe(updates, stop) },
		func() error { return netlink.LinkAdd(veth) },
		far.Close, // it would keep the namespace alive
	)
	go func() { // ends with the subscription
		for u := range updates {
			if u.Header.Type == unix.RTM_DELLINK && u.Attrs().Name == "watch" {
				close(gone)
				return
			}
		}
	}()
	return gone
}

func TestContainersOfANode(t *testing.T) {
	n := up(t, lab.Options{}).Node("node1")
	path, err := n.AddNetns("c1")
	if err != nil {
		t.Fatal(err)
	}
	if path != "/run/netns/c1" {
		t.Errorf("the namespace is at %s", path)
	}
	if _, err := n.AddNetns("c1"); err == nil {
		t.Error("a second namespace of that name: no error")
	}
	for _, name := range []string{"", "../c1", "a/b"} {
		if _, err := n.AddNetns(name); err == nil {
			t.Errorf("a namespace called %q: no error", name)
		}
	}
	var links []net.Interface
	do(t, n.Container(path), func() (err error) { links, err = net.Interfaces(); return err })
	if len(links) != 1 || links[0].Flags&net.FlagUp != 0 {
		t.Errorf("a fresh container has the links %v, want lo alone and down", links)
	}
	if err := n.DelNetns("c1"); err != nil {
		t.Error(err)
	}
	if err := n.Container("c1").Do(func() error { return nil }); err == nil {
		t.Error("the namespace can be entered after its end")
	}
}

func TestDeletingANamespaceTakesItsLinks(t *testing.T) {
	n := up(t, lab.Options{}).Node("node1")
	if _, err := n.AddNetns("c1"); err != nil {
		t.Fatal(err)
	}
	inside, err := n.Container("c1").Netns()
	if err != nil {
		t.Fatal(err)
	}
	gone := watchLink(t, &n.Host, fmt.Sprintf("/proc/self/fd/%d", inside.Fd()))
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.DelNetns("c1"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("the link into the namespace is still there")
	}
}

func TestNodesShareNoState(t *testing.T) {
	l := up(t, lab.Options{})
	one, two := l.Node("node1"), l.Node("node2")
	for _, file := range []string{"/run/mark", "/etc/cni/mark", "/opt/cni/bin/mark", "/var/lib/cni/mark", "/etc/mark", "/var/lib/mark"} {
		do(t, &one.Host, func() error { return os.WriteFile(file, nil, 0o600) })
		for name, look := range map[string]func() error{
			"node2":       func() error { return two.Do(func() error { _, err := os.Stat(file); return err }) },
			"the machine": func() error { _, err := os.Stat(file); return err },
		} {
			if err := look(); !os.IsNotExist(err) {
				t.Errorf("%s of node1 is seen on %s: %v", file, name, err)
			}
		}
	}
}

func TestProgramsRunInTheNode(t *testing.T) {
	l := up(t, lab.Options{})
	n := l.Node("node2")
	bin := t.TempDir()
	script := "#!/bin/sh\nls /sys/class/net; cat /etc/cni/net.d/*.conflist; echo $CNI_PATH; pwd\n"
	if err := os.WriteFile(filepath.Join(bin, "look"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as an upgrade does
		if err := n.InstallCNI(bin, []byte("conflist\n")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := n.Output(ctx, n.Env(), "/opt/cni/bin/look")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("eth0\neth1\neth2\nlo\nconflist\n/opt/cni/bin\n"+here+"\n", string(out)); diff != "" {
		t.Errorf("the program saw (-want +got):\n%s", diff)
	}
	if _, err := n.Output(ctx, nil, "sh", "-c", "echo oh dear >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "oh dear") {
		t.Errorf("a program's failure is told as %v", err)
	}
}

func TestSocketsOutliveTheThread(t *testing.T) {
	l := up(t, lab.Options{})
	at := netip.AddrPortFrom(netip.MustParseAddr(node2Eth0), 8080)
	listener, err := l.Node("node2").Listen(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // the test is over
	conn, err := l.Node("node1").DialContext(t.Context(), "tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the test is over
	if got := conn.LocalAddr().(*net.TCPAddr).IP.String(); got != node1Eth0 {
		t.Errorf("connected from %s", got)
	}
}
