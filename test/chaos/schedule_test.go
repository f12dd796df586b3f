package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/vpcsim"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the schedule to run, as a failure names it; by chance where it is 0")
	schedules = flag.Int("schedules", 4, "how many schedules to run on each cloud")
	steps     = flag.Int("steps", 400, "how many steps a schedule has")
)

// TestSchedules runs random schedules. One that fails names its seed and prints what it did.
func TestSchedules(t *testing.T) {
	onClouds(t, func(t *testing.T, p *provider) {
		for _, seed := range seeds(*schedules) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				runSchedule(t, p, seed)
			})
		}
	})
}

// seeds returns so many by chance, or the one that is asked for.
func seeds(n int) []uint64 {
	if *seedFlag != 0 {
		return []uint64{*seedFlag}
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = rand.Uint64()
	}
	return all
}

// pools are configurations that behave differently.
func pools(r *rand.Rand) map[string]any {
	conf := map[string]any{
		"batch": 1 + r.IntN(8), "eniIdle": pick(r, "0s", "5m"), "firstDeviceIndex": r.IntN(2), "subnets": []string{"subnet-0", "subnet-1"},
		"warm": pick(r, map[string]int{}, map[string]int{"max": 3}, map[string]int{"min": 2, "target": 4, "max": 6}),
	}
	if r.IntN(3) == 0 {
		conf["manage"] = "all"
	}
	return conf
}

func runSchedule(t *testing.T, p *provider, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	conf := pools(r)
	n := newNode(newWorld(t, p, pick(r, p.small, p.medium), conf, "10.0.0.0/26", "10.0.1.0/26"), r)
	foreign := conf["manage"] == nil && r.IntN(2) == 0
	if foreign {
		if _, err := n.AddENI(n.instance.ID, "subnet-1", 1, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		n.before = n.AllENIs()
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, line := range n.trail[max(0, len(n.trail)-80):] {
				t.Log(line)
			}
			t.Logf("pool %v, foreign %v; again: -run TestSchedules/%s -seed %d", conf, foreign, p.name, seed)
		}
	})
	for i := range *steps {
		n.step(t)
		s := n.check(t)
		if i%20 == 0 {
			n.checkIndexes(t, s)
		}
		if t.Failed() {
			t.Fatalf("at step %d", i)
		}
	}
	n.end(t)
}

// step does one thing that may happen.
func (n *node) step(t *testing.T) {
	t.Helper()
	switch dice := n.r.IntN(100); {
	case dice < 30:
		n.addSome(t)
	case dice < 50:
		n.delSome(t)
	case dice < 58:
		n.burst(t)
	case dice < 60:
		n.gc(t)
	case dice < 72:
		n.refill(t, n.conf)
	case dice < 76:
		n.learn(t)
	case dice < 84:
		n.pass(pick(n.r, time.Second, 20*time.Second, 40*time.Second, 90*time.Second, 11*time.Minute))
	case dice < 85:
		n.reboot(t)
	case dice < 94:
		n.trouble(t)
	default:
		n.behind(t)
	}
	n.dieAfter(0)
}

// perhapsDie lets a process die in the coming call, now and then.
func (n *node) perhapsDie() {
	if n.r.IntN(4) == 0 {
		n.dieAfter(1 + n.r.IntN(6))
	}
}

// addSome is an ADD of a new container, of a live one, or of one whose last ADD failed.
func (n *node) addSome(t *testing.T) {
	t.Helper()
	n.perhapsDie()
	id, want := n.newID(), netip.Addr{}
	switch n.r.IntN(8) {
	case 0:
		if all := ids(n.live); len(all) > 0 {
			id = pick(n.r, all...)
		}
	case 1:
		if all := ids(n.unsure); len(all) > 0 {
			id = pick(n.r, all...)
		}
	case 2:
		want = netip.AddrFrom4([4]byte{10, 0, byte(n.r.IntN(2)), byte(4 + n.r.IntN(30))})
	}
	_ = n.add(t, id, want) // it may well fail
}

func (n *node) newID() string {
	n.named++
	return fmt.Sprint("c", n.named)
}

// delSome is a DEL of a container that lives, or whose ADD failed, or that never was.
func (n *node) delSome(t *testing.T) {
	t.Helper()
	id := n.newID()
	if all := append(ids(n.live), ids(n.unsure)...); len(all) > 0 && n.r.IntN(10) > 0 {
		id = pick(n.r, all...)
	}
	n.del(t, id)
}

// burst is calls at once.
func (n *node) burst(t *testing.T) {
	t.Helper()
	n.perhapsDie()
	var all sync.WaitGroup
	for _, id := range ids(n.live) {
		if n.r.IntN(3) == 0 {
			all.Go(func() { n.del(t, id) })
		}
	}
	for range n.r.IntN(6) {
		id := n.newID()
		all.Go(func() { _ = n.add(t, id, netip.Addr{}) })
	}
	if n.r.IntN(2) == 0 {
		all.Go(func() { n.refill(t, n.conf) })
	}
	all.Wait()
}

func (n *node) refill(t *testing.T, conf *netconf.IPAM) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	var err error
	dead := mayDie(func() { err = n.supply(conf).Refill(ctx) })
	n.did("refill: %v died %v", err, dead)
}

func (n *node) learn(t *testing.T) {
	t.Helper()
	n.perhapsDie()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	var err error
	asked := n.Calls("DescribeNetworkInterfaces")
	n.ClearFaults() // so that the API answers
	dead := mayDie(func() { err = n.supply(n.conf).Learn(ctx) })
	n.looked = n.looked || err == nil && !dead && n.Calls("DescribeNetworkInterfaces") > asked
	n.did("learn: %v died %v", err, dead)
}

// reboot ends all containers, and with them the store.
func (n *node) reboot(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(n.dataDir); err != nil {
		t.Fatal(err)
	}
	clear(n.live)
	clear(n.unsure)
	clear(n.released)
	n.looked = false
	n.did("reboot")
}

// trouble is what a cloud does now and then.
func (n *node) trouble(t *testing.T) {
	t.Helper()
	action := pick(n.r, append(n.changes, "DescribeNetworkInterfaces")...)
	fault := vpcsim.Fault{Action: action, Times: 1 + n.r.IntN(2)}
	what := n.r.IntN(12)
	switch what {
	case 0, 1, 2:
		fault.AfterEffect = true
		n.Inject(fault)
	case 3:
		fault.Status, fault.Code = 503, "Unavailable"
		n.Inject(fault)
	case 4:
		fault.Status, fault.Code = 403, "UnauthorizedOperation"
		n.Inject(fault)
	case 5:
		n.Throttle(vpcsim.Bucket{Action: action, Burst: 1, PerSecond: 2})
	case 6:
		n.StaleMetadata(true)
	case 7:
		n.LagMetadata(pick(n.r, 50*time.Millisecond, 500*time.Millisecond))
	case 8:
		if err := n.FillSubnet(pick(n.r, "subnet-0", "subnet-1"), n.r.IntN(3)); err != nil {
			t.Fatal(err)
		}
	case 9:
		n.calm()
	case 10:
		n.SetDelays(slowly(n.r))
	case 11: // an answer that promises more than the task then does; AWS has no tasks
		n.Inject(pick(n.r, vpcsim.Fault{Action: vpcsim.Task, Code: "InternalError"}, vpcsim.Fault{Action: vpcsim.Task, Delay: pick(n.r, 50*time.Millisecond, time.Second)}))
	}
	n.did("trouble %d with %s", what, action)
	if n.r.IntN(3) == 0 {
		n.calm()
	}
}

// slowly is a cloud that takes its time for some steps.
func slowly(r *rand.Rand) vpcsim.Delays {
	some := func() time.Duration { return pick(r, 0, 0, 30*time.Millisecond, 300*time.Millisecond) }
	return vpcsim.Delays{Create: some(), Attach: some(), Detach: some(), Visible: some()}
}

// calm ends all trouble.
func (n *node) calm() {
	n.ClearFaults()
	n.StaleMetadata(false)
	n.LagMetadata(0)
	n.EmptySubnets()
	n.SetDelays(vpcsim.Delays{})
	n.did("calm")
}

// behind is what others do to the account behind our back.
func (n *node) behind(t *testing.T) {
	t.Helper()
	e := pick(n.r, n.ENIs(n.instance.ID)...)
	primary, ours := e.DeviceIndex == 0, e.Tags[supply.TagInstance] != ""
	switch n.r.IntN(4) {
	case 0, 1:
		if len(e.Secondary) > 0 {
			ip := pick(n.r, e.Secondary...)
			n.excused[ip] = true
			err := n.RemoveAddress(ip)
			n.did("behind: %s loses %s: %v", e.ID, ip, err)
		}
	case 2:
		if primary && n.conf.FirstDeviceIndex == 0 || ours {
			added, err := n.AddAddresses(e.ID, 1+n.r.IntN(2))
			n.did("behind: %s gets %v: %v", e.ID, added, err)
		}
	case 3:
		if primary || !ours || e.State != vpcsim.Attached {
			return
		}
		for _, ip := range e.Secondary {
			n.excused[ip] = true
		}
		n.away[e.ID], n.looked = true, false
		away := pick(n.r, n.DetachENI, n.DeleteENI)
		err := away(e.ID)
		n.did("behind: %s goes: %v", e.ID, err)
	}
}
