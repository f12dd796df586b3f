package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

// machineDir is the dataDir of a machine's store, within its mounts.
const machineDir = "/run/enichain"

// machine is a node of the lab, on which a runtime runs the whole chain of the built plugins. Its time since boot is moved
// on by time namespaces, and begins anew when it boots.
type machine struct {
	account
	node    *lab.Node
	peer    *lab.Node // another, which knows nothing of the first
	runtime *chain.Runtime
	routing netconf.Routing
	links   *netlink.Handle
	ahead   atomic.Int64 // of the kernel's clock, in seconds
	inTime  []string     // the command line by which a program is at the machine's time
	boots   int
	netns   map[string]bool // the containers that have a network namespace
	dead    []string        // containers of before the last boot, whose DEL is still to come
	// astray are addresses that were taken away behind everybody's back since the last reconcile: the kernel may have them
	// where the cloud does not.
	astray    addresses
	primaries map[netip.Addr]bool // of all ENIs that there ever were
}

// newMachine is an instance of a size with its primary ENI alone, with a pool so configured.
func newMachine(t *testing.T, c clouds.Cloud, size clouds.Size, r *rand.Rand, routing netconf.Routing, pool map[string]any) *machine {
	t.Helper()
	l := labtest.Up(t, lab.Options{Cloud: c.Name, ENIs: 1, InstanceType: size.Type, IPv6: true})
	m := &machine{node: l.Nodes[0], peer: l.Nodes[1], routing: routing, netns: map[string]bool{}, astray: addresses{}, primaries: map[netip.Addr]bool{}}
	m.account = account{
		VPC: l.VPC, Cloud: c, ledger: newLedger(m.now), r: r, instanceID: m.node.InstanceID, before: l.VPC.AllENIs(),
		subnets: []string{"subnet-a", "subnet-b"}, away: map[string]bool{}, gave: addresses{},
		update: func(ctx context.Context, fn func(*store.Tx) error) error {
			return m.node.Do(func() error { return store.WithClock(machineDir, m.now).Update(ctx, fn) })
		},
	}
	m.install(t, with(pool, map[string]any{"type": "eni-ipam", "cloud": c.Name, "subnets": m.subnets}))
	var err error
	if m.links, err = m.node.Handle(unix.NETLINK_ROUTE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.links.Close)
	m.boot(t)
	t.Cleanup(func() {
		if err := bin.AwaitEndIn(m.node.NetnsPath()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// install makes the chain the machine's network.
func (m *machine) install(t *testing.T, ipam map[string]any) {
	t.Helper()
	plugin := map[string]any{"type": "eni-ptp", "routing": m.routing, "ipam": ipam}
	plugins := []any{plugin}
	if m.routing == netconf.PerENI { // half of the machines
		plugins = append(plugins, map[string]any{"type": "eni-snat"})
	} else {
		plugin["snat"] = map[string]any{}
	}
	conflist, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": network, "plugins": plugins})
	if err != nil {
		t.Fatal(err)
	}
	if m.runtime, err = chain.NewRuntime(m.node, bin, conflist); err != nil {
		t.Fatal(err)
	}
	plugin["cniVersion"], plugin["name"] = "1.1.0", network
	stdin, err := json.Marshal(plugin)
	if err != nil {
		t.Fatal(err)
	}
	request, err := netconf.ParseIPAM(stdin)
	if err != nil {
		t.Fatal(err)
	}
	m.conf = &request.IPAM
}

// now is the machine's time since boot.
func (m *machine) now() time.Duration {
	return store.SinceBoot() + time.Duration(m.ahead.Load())*time.Second
}

// setAhead sets how far the machine's time since boot is ahead of the kernel's.
func (m *machine) setAhead(seconds int64) {
	m.ahead.Store(seconds)
	offset := strconv.FormatInt(seconds, 10)
	m.inTime = []string{"/usr/bin/unshare", "--time", "--boottime", offset, "--monotonic", offset, "--kill-child", "--"}
	m.runtime.Wrap(m.inTime...)
}

// pass lets time pass.
func (m *machine) pass(d time.Duration) {
	m.setAhead(m.ahead.Load() + int64(d/time.Second))
	m.did("%v pass", d)
}

// boot gives the machine a new boot ID and a time since boot that begins anew.
func (m *machine) boot(t *testing.T) {
	t.Helper()
	m.boots++
	const file, shown = "/run/boot_id", "/proc/sys/kernel/random/boot_id"
	err := m.node.Do(func() error {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d\n", m.boots)
		if err := os.WriteFile(file, []byte(id), 0o444); err != nil || m.boots > 1 {
			return err
		}
		return unix.Mount(file, shown, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	m.setAhead(60 - int64(store.SinceBoot()/time.Second))
}

// ctl runs enictl. Its exit status 1 may be all right: there is something to see to.
func (m *machine) ctl(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	line := slices.Concat(m.inTime, []string{"/opt/cni/bin/enictl"}, args)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), m.node.Env()...)
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &text
	err := m.node.Run(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	m.did("enictl %v: %d\n%s", args, cmd.ProcessState.ExitCode(), text.String())
	return cmd.ProcessState.ExitCode(), text.String()
}

// add is an ADD, for which a container's network namespace is made where it has none.
func (m *machine) add(t *testing.T, id string, options ...chain.Option) {
	t.Helper()
	m.mu.Lock()
	have := m.netns[id]
	m.netns[id] = true
	m.mu.Unlock()
	if !have {
		if _, err := m.node.AddNetns(id); err != nil {
			t.Fatal(err)
		}
	}
	result, err := m.runtime.Add(t.Context(), id, options...)
	if err != nil {
		m.did("ADD %s: %v", id, err)
		m.failed(id)
		return
	}
	m.did("ADD %s: %v", id, chain.IPs(result))
	m.granted(t, id, chain.IPs(result), m.conf)
}

// del is a DEL, and the end of the container's network namespace, which may come before it. mayFail says that a process may
// be killed in it.
func (m *machine) del(t *testing.T, id string, namespaceFirst, mayFail bool) {
	t.Helper()
	began := m.now()
	if namespaceFirst {
		m.end(t, id)
	}
	err := m.runtime.Del(t.Context(), id)
	m.did("DEL %s, its namespace first %v: %v", id, namespaceFirst, err)
	if err != nil {
		if !mayFail {
			t.Errorf("DEL of %s: %v", id, err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ended(id, began)
		m.unsure[id] = true
		return
	}
	m.gone(id, began)
	m.end(t, id)
}

// end ends a container's network namespace.
func (m *machine) end(t *testing.T, id string) {
	t.Helper()
	m.mu.Lock()
	have := m.netns[id]
	delete(m.netns, id)
	m.mu.Unlock()
	if have {
		if err := m.node.DelNetns(id); err != nil {
			t.Error(err)
		}
	}
}

// flush does to the kernel what systemd-networkd does to rules and routes that it did not make.
func (m *machine) flush(t *testing.T) {
	t.Helper()
	for _, r := range m.rules(t) {
		if err := m.links.RuleDel(&r); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range m.routes(t) {
		if err := m.links.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) { // gone with another
			t.Fatal(err)
		}
	}
	m.did("flush")
}

// reboot ends all containers and all that the kernel knew of them. The store is gone or of an earlier boot; what the runtime
// has on its disk stays.
func (m *machine) reboot(t *testing.T) {
	t.Helper()
	m.dead = append(m.dead, m.known()...)
	links, err := m.links.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		switch {
		case l.Type() == "veth" && strings.HasPrefix(l.Attrs().Name, layout.VethPrefix):
			err = errors.Join(err, m.links.LinkDel(l))
		case l.Attrs().Name != "eth0" && l.Attrs().Name != "lo":
			err = errors.Join(err, m.links.LinkSetDown(l), m.bare(l))
		}
	}
	for _, id := range ids(m.netns) {
		m.end(t, id)
	}
	m.flush(t)
	kept := m.r.IntN(2) == 0
	err = errors.Join(err, m.node.Do(func() error {
		if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		if kept {
			return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0o644),
				os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("0"), 0o644))
		}
		return os.RemoveAll(machineDir)
	}))
	if err != nil {
		t.Fatal(err)
	}
	m.boot(t)
	m.rebooted()
	m.gaveAll()
	m.looked = false
	m.did("reboot, dataDir kept %v", kept)
}

// bare takes a link's addresses away.
func (m *machine) bare(l netlink.Link) error {
	all, err := m.links.AddrList(l, netlink.FAMILY_ALL)
	for _, a := range all {
		err = errors.Join(err, m.links.AddrDel(l, &a))
	}
	return err
}

// ping has another node reach a container by each of its addresses.
func (m *machine) ping(t *testing.T, id string) {
	t.Helper()
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, ip := range m.live[id] {
		err := m.peer.Do(func() error {
			_, err := probe.Ping(ctx, ip, probe.From{})
			return err
		})
		if err != nil {
			t.Errorf("%s is not reached: %v", id, err)
		}
	}
}

// killSoon kills one of the programs that run on the machine, after a while. What it returns ends that.
func (m *machine) killSoon(t *testing.T) (stop func()) {
	t.Helper()
	after, which := time.Duration(m.r.IntN(80))*time.Millisecond, m.r.IntN(1<<10)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends when stop is called
		defer close(ended)
		timer := time.NewTimer(after)
		defer timer.Stop()
		for {
			select {
			case <-over:
				return
			case <-timer.C:
			}
			killed, err := bin.KillIn(m.node.NetnsPath(), func(n int) int { return which % n })
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			if killed {
				m.did("killed")
				return
			}
			timer.Reset(time.Millisecond)
		}
	}()
	return func() { close(over); <-ended }
}
