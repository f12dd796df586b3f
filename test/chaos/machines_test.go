package chaos

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

var (
	machines = flag.Int("machines", 1, "how many machines of each cloud have a schedule")
	deeds    = flag.Int("deeds", 60, "how many steps a machine's schedule has")
)

// TestMachines runs random schedules with the built plugins, the kernel and all that may befall a machine. One that fails
// names its seed and prints what it did.
func TestMachines(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for _, seed := range seeds(*machines) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				runMachine(t, c, seed)
			})
		}
	})
}

func runMachine(t *testing.T, c clouds.Cloud, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	pool := map[string]any{
		"prefixes": c.Name == vpcsim.AWS && r.IntN(2) == 0,
		"batch":    1 + r.IntN(4), "eniIdle": pick(r, "0s", "5m"), "firstDeviceIndex": r.IntN(2), "timeout": "5s",
		"warm":     pick(r, map[string]int{}, map[string]int{"max": 3}, map[string]int{"min": 1, "target": 2, "max": 4}),
		"families": pick(r, families()...),
	}
	size := pick(r, sizes(c)...)
	routing := pick(r, netconf.PerPod, netconf.PerENI)
	m := newMachine(t, c, size, r, routing, pool)
	t.Cleanup(func() {
		if t.Failed() {
			for _, line := range m.lastOf(60) {
				t.Log(line)
			}
			t.Logf("pool %v, %s, %s; again: -run TestMachines/%s -seed %d", pool, size.Type, routing, c.Name, seed)
		}
	})
	for i := range *deeds {
		m.step(t)
		if m.r.IntN(5) > 0 { // else what is still at work meets what comes next
			m.look(t, false)
		}
		if t.Failed() {
			t.Fatalf("at step %d", i)
		}
	}
	m.finish(t)
}

// step does one thing that may happen.
func (m *machine) step(t *testing.T) {
	t.Helper()
	switch dice := m.r.IntN(100); {
	case dice < 40:
		m.addSome(t)
	case dice < 56:
		m.delSome(t)
	case dice < 62:
		m.burst(t)
	case dice < 64:
		m.gc(t)
	case dice < 67:
		m.checkSome(t)
	case dice < 77:
		m.pass(pick(m.r, 20*time.Second, 40*time.Second, 90*time.Second, 11*time.Minute))
	case dice < 79:
		m.reboot(t)
	case dice < 88:
		m.trouble(t)
	case dice < 92:
		m.behind(t)
		maps.Copy(m.astray, m.excused)
	case dice < 96:
		m.networkd(t)
	default:
		m.reconcile(t)
	}
}

// maybe kills one of the coming call's programs, or not. What it returns ends that, and says whether.
func (m *machine) maybeKill(t *testing.T) (stop func(), may bool) {
	t.Helper()
	if m.r.IntN(3) > 0 {
		return func() {}, false
	}
	return m.killSoon(t), true
}

// addSome is an ADD of a new container, of a live one, of one whose last ADD failed, or of one that wants an address.
func (m *machine) addSome(t *testing.T) {
	t.Helper()
	id, options := "", []chain.Option{}
	switch all := ids(m.unsure); m.r.IntN(8) {
	case 0:
		if live := ids(m.live); len(live) > 0 {
			id = pick(m.r, live...)
		}
	case 1:
		if len(all) > 0 {
			id = pick(m.r, all...)
		}
	case 2:
		options = append(options, chain.WithIP(m.someAddress()))
	}
	if id == "" {
		id = m.newID()
	}
	stop, _ := m.maybeKill(t)
	m.add(t, id, options...)
	stop()
}

// delSome is a DEL of a container that lives, or whose ADD failed, that was before the last boot, or that never was.
func (m *machine) delSome(t *testing.T) {
	t.Helper()
	id := ""
	switch all := m.known(); {
	case len(m.dead) > 0 && m.r.IntN(3) == 0:
		id, m.dead = m.dead[0], m.dead[1:]
	case len(all) > 0 && m.r.IntN(12) > 0:
		id = pick(m.r, all...)
	default:
		id = m.newID()
	}
	namespaceFirst := m.r.IntN(3) == 0
	stop, may := m.maybeKill(t)
	m.del(t, id, namespaceFirst, may)
	stop()
}

// burst is calls at once.
func (m *machine) burst(t *testing.T) {
	t.Helper()
	stop, may := m.maybeKill(t)
	var all sync.WaitGroup
	for _, id := range ids(m.live) {
		if m.r.IntN(3) == 0 {
			all.Go(func() { m.del(t, id, false, may) })
		}
	}
	for range m.r.IntN(5) {
		id := m.newID()
		all.Go(func() { m.add(t, id) })
	}
	all.Wait()
	stop()
}

// gc is a GC for which only the live containers are valid.
func (m *machine) gc(t *testing.T) {
	t.Helper()
	stop, may := m.maybeKill(t)
	var valid []types.GCAttachment
	for _, id := range ids(m.live) {
		valid = append(valid, types.GCAttachment{ContainerID: id, IfName: chain.IfName})
	}
	err := m.runtime.GC(t.Context(), valid...)
	stop()
	m.did("GC: %v", err)
	if err != nil {
		if !may {
			t.Errorf("GC: %v", err)
		}
		return
	}
	for id := range m.unsure {
		m.end(t, id)
	}
	clear(m.unsure)
	m.dead = nil
}

// checkSome is a CHECK of a live container.
func (m *machine) checkSome(t *testing.T) {
	t.Helper()
	all := m.well()
	if len(all) == 0 {
		return
	}
	id := pick(m.r, all...)
	if err := m.runtime.Check(t.Context(), id); err != nil {
		t.Errorf("CHECK of %s: %v", id, err)
	}
	m.did("CHECK %s", id)
}

// well are the live containers from which nothing was taken.
func (m *machine) well() []string {
	var all []string
	for _, id := range ids(m.live) {
		if !m.astray.hasSome(m.live[id]) && !m.excused.hasSome(m.live[id]) {
			all = append(all, id)
		}
	}
	return all
}

// networkd takes our rules and routes away, and an operator repairs them.
func (m *machine) networkd(t *testing.T) {
	t.Helper()
	m.flush(t)
	if all := m.well(); len(all) > 0 {
		if err := m.runtime.Check(t.Context(), all[0]); err == nil {
			t.Errorf("CHECK of %s does not see that its rules are gone", all[0])
		}
	}
	m.ctl(t, "repair")
}

// reconcile brings store, cloud and kernel together. What the cloud's list may lag behind is believed a minute later.
func (m *machine) reconcile(t *testing.T) {
	t.Helper()
	m.calm()
	for range 3 {
		m.pass(12 * time.Minute)
		m.quiet(t)
		m.ctl(t, "reconcile")
	}
	clear(m.astray)
	maps.Copy(m.astray, m.excused)
	s := m.check(t)
	m.agree(t)
	maps.Copy(m.astray, m.excused)
	m.checkKernel(t, s, true)
}

// quiet waits until nothing is at work any more.
func (m *machine) quiet(t *testing.T) {
	t.Helper()
	if err := bin.AwaitEndIn(m.node.NetnsPath()); err != nil {
		t.Fatal(err)
	}
	m.Wait()
}

// look looks for what must never be.
func (m *machine) look(t *testing.T, reconciled bool) {
	t.Helper()
	m.quiet(t)
	m.watchENIs()
	s := m.check(t)
	m.checkKernel(t, s, reconciled)
	if all := m.well(); len(all) > 0 {
		m.ping(t, pick(m.r, all...))
	}
}

// finish lets the trouble end and looks whether all comes right; then all containers go, and the account is to be as it was.
func (m *machine) finish(t *testing.T) {
	t.Helper()
	m.reconcile(t)
	for _, id := range m.well() {
		m.ping(t, id)
		if err := m.runtime.Check(t.Context(), id); err != nil {
			t.Errorf("CHECK of %s: %v", id, err)
		}
	}
	for _, id := range append(m.known(), m.dead...) {
		m.del(t, id, false, false)
	}
	m.quiet(t)
	m.reconcile(t)
	m.takeBack(t)
	for _, e := range m.snapshot(t).enis {
		if status, out := m.ctl(t, "drain", e.ID); status != 0 {
			t.Errorf("drain %s: %s", e.ID, out)
		}
	}
	if status, out := m.ctl(t, "sweep", "-yes", "-age", "0s"); status != 0 {
		t.Errorf("sweep: %s", out)
	}
	m.asBefore(t)
	for o := range m.kernel(t, nil) {
		t.Errorf("left in the kernel: %s", o.words)
	}
}
