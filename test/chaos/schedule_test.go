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

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the schedule to run, as a failure names it; by chance where it is 0")
	schedules = flag.Int("schedules", 2, "how many schedules to run on each cloud")
	steps     = flag.Int("steps", 300, "how many steps a schedule has")
)

// TestSchedules runs random schedules. One that fails names its seed and prints what it did.
func TestSchedules(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for _, seed := range seeds(*schedules) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				runSchedule(t, c, seed)
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

// families are those of which a container may get an address each.
func families() [][]family.Family {
	return [][]family.Family{{family.IPv4}, {family.IPv4, family.IPv6}, {family.IPv4, family.IPv6}, {family.IPv6}}
}

// sizes are instance types, of which those without prefixes have single addresses of IPv6.
func sizes(c clouds.Cloud) []clouds.Size {
	all := []clouds.Size{c.Small, c.Medium}
	if c.Old.Type != "" {
		all = append(all, c.Old)
	}
	return all
}

// pools are configurations that behave differently.
func pools(c clouds.Cloud, r *rand.Rand) map[string]any {
	conf := map[string]any{
		"prefixes": c.Name == vpcsim.AWS && r.IntN(2) == 0,
		"batch":    1 + r.IntN(8), "eniIdle": pick(r, "0s", "5m"), "firstDeviceIndex": r.IntN(2), "subnets": []string{"subnet-0", "subnet-1"},
		"maxIPs": pick(r, 0, 0, 24), "families": pick(r, families()...),
		"warm": pick(r, map[string]int{}, map[string]int{"max": 3}, map[string]int{"min": 2, "target": 4, "max": 6}),
	}
	if r.IntN(3) == 0 {
		conf["manage"] = "all"
	}
	return conf
}

func runSchedule(t *testing.T, c clouds.Cloud, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	conf, size := pools(c, r), pick(r, sizes(c)...)
	foreign := conf["manage"] == nil && r.IntN(2) == 0
	if foreign {
		size = c.Medium // the small ones have no place for a third ENI everywhere
	}
	n := newNode(newWorld(t, c, size, conf, "10.0.0.0/25", "10.0.1.0/25"), r)
	if foreign {
		if _, err := n.AddENI(n.instanceID, "subnet-1", 1, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		n.before = n.AllENIs()
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, line := range n.lastOf(80) {
				t.Log(line)
			}
			t.Logf("pool %v, %s, foreign %v; again: -run TestSchedules/%s -seed %d", conf, size.Type, foreign, c.Name, seed)
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
	case dice < 59:
		n.gc(t)
	case dice < 60:
		n.changeMind()
	case dice < 72:
		n.refill(t)
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

// changeMind is an operator who changes the configuration.
func (n *node) changeMind() {
	conf := *n.conf
	if n.Name == vpcsim.AWS && n.r.IntN(2) == 0 {
		conf.Prefixes = !conf.Prefixes
	} else {
		conf.Families = pick(n.r, families()...)
	}
	n.conf = &conf
	n.did("prefixes %v, families %v", conf.Prefixes, conf.Families)
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
		want = n.someAddress()
	}
	_ = n.add(t, id, want) // it may well fail
}

// delSome is a DEL of a container that lives, or whose ADD failed, or that never was.
func (n *node) delSome(t *testing.T) {
	t.Helper()
	id := n.newID()
	if all := n.known(); len(all) > 0 && n.r.IntN(10) > 0 {
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
		all.Go(func() { n.refill(t) })
	}
	all.Wait()
}

func (n *node) refill(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	var err error
	dead := mayDie(func() { err = n.supply(n.conf).Refill(ctx) })
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
	n.rebooted()
	n.gaveAll()
	n.looked = false
	n.did("reboot")
}
