package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/image"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/machine"
	"github.com/enichain/enichain/test/probe"
)

// The lab's hosts, and a service of the cluster.
var (
	node1Primary = netip.MustParseAddr("10.19.0.22")
	node2Primary = netip.MustParseAddr("10.19.0.11")
	internet     = netip.MustParseAddr("198.51.100.10")
	otherSubnet  = netip.MustParsePrefix("10.19.16.0/20") // of node1's eth1
	serviceIP    = netip.MustParseAddr("172.20.0.10")
	internet6    = netip.MustParseAddr("2001:db8:100::10")
	otherSubnet6 = netip.MustParsePrefix("2001:db8:19:b::/64")
)

// alone makes a conflist of both families one of IPv6 alone.
func alone() []string { return []string{`["ipv4", "ipv6"]`, `["ipv6"]`} }

const (
	// storageMount is a folder that podman mounts on itself, and unmounts, as it goes.
	storageMount = machine.Disk + "/storage/overlay"

	dataDir     = "/run/enichain"
	probePort   = 7000  // of the servers outside of containers
	webPort     = 8080  // of the web server in a container
	hostPort    = 18080 // of the node, where a container's web server is published
	callTimeout = time.Minute
	pause       = 20 * time.Millisecond // between looks at what no event tells
)

// webServer is the command of a container that answers HTTP with its name.
func webServer(name string) []string {
	return []string{"sh", "-c", fmt.Sprintf("echo %s > /tmp/index.html; exec httpd -f -p %d -h /tmp", name, webPort)}
}

// world is a lab whose first node is a machine that is switched on, with our plugins installed.
type world struct {
	*lab.Lab
	t       *testing.T
	node    *lab.Node
	machine *machine.Machine
}

// newWorld brings up two nodes with a conflist that we ship, in which texts are replaced by those behind them. The ENI of the
// other subnet has some addresses already, so that containers get these: an ENI that is in use is used up first.
func newWorld(t *testing.T, cloud, conflist string, oldNew ...string) *world {
	t.Helper()
	text, err := os.ReadFile("../../conflist/" + conflist)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.NewReplacer(oldNew...).Replace(string(text)))
	six := strings.Contains(string(text), "ipv6")
	l, err := lab.Up(t.Context(), lab.Options{Name: t.Name(), Cloud: cloud, IPv6: six})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	w := &world{Lab: l, t: t, node: l.Nodes[0]}
	if err := w.node.InstallCNI(bin.Dir, text); err != nil {
		t.Fatal(err)
	}
	eth1 := l.VPC.ENIs(w.node.InstanceID)[1].ID
	if _, err := l.VPC.AddAddresses(eth1, 4); err != nil {
		t.Fatal(err)
	}
	if six {
		if _, _, err := l.VPC.AddIPv6(eth1, 4, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.on()
	for _, h := range []*lab.Host{&l.Nodes[1].Host, l.Internet} {
		w.serve(h)
	}
	return w
}

// on switches the node on until the test's end.
func (w *world) on() {
	w.t.Helper()
	m, err := machine.On(w.node)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := m.Off(); err != nil {
			w.t.Error(err)
		}
	})
	w.machine = m
}

// reboot ends all that runs on the node, as a power failure does, and switches it on again.
func (w *world) reboot() {
	w.t.Helper()
	if err := w.machine.Off(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Reboot(w.node); err != nil {
		w.t.Fatal(err)
	}
	w.on()
}

// serve answers TCP in a host, with the address that the caller is seen by.
func (w *world) serve(h *lab.Host) {
	w.t.Helper()
	err := h.Do(func() error {
		for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			s, err := probe.ServeTCP(w.t.Context(), netip.AddrPortFrom(all, probePort))
			if err != nil {
				return err
			}
			w.t.Cleanup(func() { _ = s.Close() }) // the callers' answers have been read
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// busybox is the image's archive.
func busybox(t *testing.T) []byte {
	t.Helper()
	archive, err := image.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// container is one that runs, whoever runs it.
type container struct {
	name string
	ip   netip.Addr
	more []netip.Addr // of the other family
	exec func(ctx context.Context, command ...string) (string, error)
}

// mustExec runs a command in the container and returns what it prints.
func (w *world) mustExec(c container, command ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), callTimeout)
	defer cancel()
	out, err := c.exec(ctx, command...)
	if err != nil {
		w.t.Errorf("%s runs %q: %v", c.name, command, err)
	}
	return strings.TrimSpace(out)
}

// seenAs is who the server at an address says that the container's process is.
func (w *world) seenAs(c container, at netip.Addr) netip.Addr {
	w.t.Helper()
	line := w.mustExec(c, "sh", "-c", fmt.Sprintf("nc %s %d </dev/null | head -n 1", at, probePort))
	seen, err := netip.ParseAddrPort(line)
	if err != nil {
		w.t.Errorf("%s calls %s: %q, %v", c.name, at, line, err)
	}
	return seen.Addr()
}

// reaches checks that the container's own process reaches the other node as itself, and the internet as the node or, by
// IPv6, as itself.
func (w *world) reaches(c container) {
	w.t.Helper()
	for _, ip := range append([]netip.Addr{c.ip}, c.more...) {
		far, out, outAs := node2Primary, internet, node1Primary
		if ip.Is6() {
			far, out, outAs = w.VPC.ENIs(w.Nodes[1].InstanceID)[0].PrimaryIP6, internet6, ip
		}
		if seen := w.seenAs(c, far); seen != ip {
			w.t.Errorf("the other node sees %s as %s, want %s", c.name, seen, ip)
		}
		if seen := w.seenAs(c, out); seen != outAs {
			w.t.Errorf("the internet sees %s as %s, want %s", c.name, seen, outAs)
		}
	}
}

// isReached checks that the container answers a host of the VPC and, by IPv6, one of the internet.
func (w *world) isReached(c container) {
	w.t.Helper()
	w.awaitWeb(c)
	for _, ip := range append([]netip.Addr{c.ip}, c.more...) {
		for _, h := range []*lab.Host{&w.Nodes[1].Host, w.Internet} {
			if h == w.Internet && ip.Is4() {
				continue
			}
			if got, err := w.get(h, netip.AddrPortFrom(ip, webPort)); err != nil || got != c.name {
				w.t.Errorf("%s gets %q from %s, %v", h.Name, got, ip, err)
			}
		}
	}
}

// wantFamilies checks the addresses that the runtime says the container has: all are of eth1.
func (w *world) wantFamilies(c container, both bool) {
	w.t.Helper()
	if both {
		if !otherSubnet.Contains(c.ip) || len(c.more) != 1 || !otherSubnet6.Contains(c.more[0]) {
			w.t.Fatalf("%s has %s and %s, want one address of each family", c.name, c.ip, c.more)
		}
		return
	}
	if !otherSubnet6.Contains(c.ip) || len(c.more) > 0 {
		w.t.Fatalf("%s has %s and %s, want one address of IPv6", c.name, c.ip, c.more)
	}
	if got := w.mustExec(c, "ip", "-4", "route"); got != "" {
		w.t.Errorf("%s has routes of IPv4: %s", c.name, got)
	}
}

// awaitWeb waits until the container's web server, which was just started, answers.
func (w *world) awaitWeb(server container) {
	w.t.Helper()
	w.mustExec(server, "sh", "-c", fmt.Sprintf("until wget -q -O - http://127.0.0.1:%d/; do sleep 0.05; done", webPort))
}

// fetches checks that the container's own process reaches a web server at an address.
func (w *world) fetches(c, server container, at netip.AddrPort) {
	w.t.Helper()
	w.awaitWeb(server)
	if got := w.mustExec(c, "wget", "-q", "-O", "-", fmt.Sprintf("http://%s/", at)); got != server.name {
		w.t.Errorf("%s gets %q from %s, want %q", c.name, got, at, server.name)
	}
}

// published checks that hosts reach a web server at the node's published port: another node, the internet, and the node
// itself.
func (w *world) published(server container) {
	w.t.Helper()
	w.awaitWeb(server)
	for _, h := range []*lab.Host{&w.Nodes[1].Host, w.Internet, &w.node.Host} {
		if got, err := w.get(h, netip.AddrPortFrom(node1Primary, hostPort)); err != nil || got != server.name {
			w.t.Errorf("%s gets %q from the published port, %v", h.Name, got, err)
		}
	}
}

// get fetches a text by HTTP in a host.
func (w *world) get(h *lab.Host, from netip.AddrPort) (string, error) {
	client := http.Client{Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true}, Timeout: callTimeout}
	answer, err := client.Get(fmt.Sprintf("http://%s/", from))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(answer.Body)
	return strings.TrimSpace(string(text)), errors.Join(err, answer.Body.Close())
}

// service makes what kube-proxy makes of a service with one endpoint, for calls from containers; remove takes it away.
func (w *world) service(to netip.Addr) (at netip.AddrPort, remove func()) {
	w.t.Helper()
	const port = 80
	w.nft(fmt.Sprintf(`table ip kube-proxy {
		chain nat-prerouting {
			type nat hook prerouting priority dstnat
			ip daddr %s tcp dport %d dnat to %s:%d
		}
	}`, serviceIP, port, to, webPort))
	return netip.AddrPortFrom(serviceIP, port), func() { w.nft("delete table ip kube-proxy") }
}

func (w *world) nft(ruleset string) {
	w.t.Helper()
	if _, err := w.node.Output(w.t.Context(), nil, "nft", ruleset); err != nil {
		w.t.Fatal(err)
	}
}

// left is all that containers may leave on the node: what enichain may leave, mounts, processes, and control groups below
// the machine's own.
func (w *world) left() []string {
	w.t.Helper()
	if err := bin.AwaitEnd(); err != nil {
		w.t.Fatal(err)
	}
	all, err := chain.Snapshot(w.t.Context(), w.node, dataDir)
	if err != nil {
		w.t.Fatal(err)
	}
	mounts, err := w.machine.Mounts()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range mounts {
		if m != storageMount {
			all = append(all, "mount: "+m)
		}
	}
	groups, err := w.machine.Cgroups()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range groups {
		all = append(all, "cgroup: "+g)
	}
	processes, err := w.machine.Processes()
	if err != nil {
		w.t.Fatal(err)
	}
	var running []string
	for _, p := range processes {
		running = append(running, "process: "+p.Args)
	}
	slices.Sort(running)
	return append(all, running...)
}

// baseline is what is left when no container runs, once all that containers had has ended: the runtime's daemon goes on.
func (w *world) baseline() []string {
	w.t.Helper()
	deadline := time.Now().Add(callTimeout)
	for {
		processes, err := w.machine.Processes()
		if err != nil {
			w.t.Fatal(err)
		}
		processes = slices.DeleteFunc(processes, func(p machine.Process) bool {
			program, _, _ := strings.Cut(p.Args, " ")
			return filepath.Base(program) == "containerd"
		})
		if len(processes) == 0 {
			return w.left()
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("still running: %v", processes)
		}
		time.Sleep(pause)
	}
}

// leaves waits until what is left is what it is to be. That a shim or a control group is gone shows a moment after the
// runtime said so, and by no event.
func (w *world) leaves(want []string) {
	w.t.Helper()
	deadline := time.Now().Add(callTimeout)
	for {
		diff := cmp.Diff(want, w.left())
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("what was there before, and what is left (-want +got):\n%s", diff)
			return
		}
		time.Sleep(pause)
	}
}

// assigned counts the secondary addresses that the node has in the cloud.
func (w *world) assigned() int {
	count := 0
	for _, e := range w.VPC.ENIs(w.node.InstanceID) {
		count += len(e.Secondary)
	}
	return count
}
