// Package chaos does to a pool of addresses whatever may happen to one, in random order, and looks after each step
// whether what must never happen has: an address with two owners, a live container whose address the cloud has given
// back, an address reused before it cooled down, an ENI or an address that nobody knows of.
//
// Time passes by a clock that the schedules move on: that of the store in this process, and for the built programs that of
// a time namespace. The store keeps time by CLOCK_BOOTTIME, which never jumps back. The wall clock does, in a build that
// lets a test set it.
package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// world is a simulated cloud on loopback with one instance, and that instance's pool.
type world struct {
	account
	endpoints map[string]any
	dataDir   string
	cloud     cloud.Driver
	store     *store.Store
	ahead     atomic.Int64 // of the kernel's clock, in nanoseconds
	log       *slog.Logger

	dying   sync.Mutex // guards what follows
	dieAt   int        // how many moments until a process dies; 0 is never
	moments int        // how many there were
}

// ipam is the configuration's "ipam" section: what the world needs, and more.
func (w *world) ipam(more map[string]any) map[string]any {
	section := map[string]any{"type": "eni-ipam", "cloud": w.Name, "dataDir": w.dataDir, "driver": w.endpoints}
	for k, v := range more {
		section[k] = v
	}
	return section
}

// newWorld is an instance of the type whose primary ENI is in the first of the subnets, with a pool so configured.
func newWorld(t *testing.T, c clouds.Cloud, size clouds.Size, conf map[string]any, subnets ...string) *world {
	t.Helper()
	config := vpcsim.Config{
		Cloud: c.Name, Region: clouds.Region, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		IPv6:      netip.MustParsePrefix("2001:db8:19::/56"),
		TaskDelay: time.Microsecond, // slow ones are made where they are wanted
	}
	var ids []string
	for i, cidr := range subnets {
		ids = append(ids, fmt.Sprintf("subnet-%d", i))
		config.Subnets = append(config.Subnets, vpcsim.Subnet{
			ID: ids[i], CIDR: netip.MustParsePrefix(cidr), IPv6: netip.MustParsePrefix(fmt.Sprintf("2001:db8:19:%x::/64", i+1)),
		})
	}
	w := &world{account: account{VPC: vpcsim.New(config), Cloud: c, subnets: ids, away: map[string]bool{}, gave: addresses{}}, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(w.Close)
	w.ledger = newLedger(w.now)
	instance, err := w.AddInstance(size.Type)
	if err != nil {
		t.Fatal(err)
	}
	w.instanceID = instance.ID
	primary, err := w.AddENI(w.instanceID, "subnet-0", 0, netip.Addr{})
	if err == nil {
		_, err = w.AddOwnIPv6(primary.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	answers, tells := c.Serve(w.VPC, w.instanceID)
	api, metadata := httptest.NewServer(answers), httptest.NewServer(tells)
	t.Cleanup(api.Close)
	t.Cleanup(metadata.Close)
	w.endpoints = c.DriverConfig(api.URL, metadata.URL)
	w.before = w.AllENIs()
	base, err := os.MkdirTemp("/dev/shm", "enichain-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	w.dataDir = filepath.Join(base, "data")
	w.store = store.WithClock(w.dataDir, w.now)
	w.update = w.store.Update
	w.conf = w.configuration(t, conf)
	w.cloud = newDriver(t, c, w.endpoints)
	return w
}

// configuration is a pool's configuration, with its defaults.
func (w *world) configuration(t *testing.T, more map[string]any) *netconf.IPAM {
	t.Helper()
	stdin, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": network, "type": "main", "ipam": w.ipam(more)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := netconf.ParseIPAM(stdin)
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &r.IPAM
}

// now is the world's time since boot.
func (w *world) now() time.Duration { return store.SinceBoot() + time.Duration(w.ahead.Load()) }

// pass lets time pass.
func (w *world) pass(d time.Duration) { w.ahead.Add(int64(d)) }

// supply is the supply of one process.
func (w *world) supply(conf *netconf.IPAM) *supply.Supply {
	return supply.On(w.store, conf, func() (cloud.Driver, error) { return mortal{w.cloud, w}, nil }, w.log)
}

// died is what a process that is killed panics with.
type died struct{}

// mortal is the driver of a process that may be killed before or after each call, when the cloud has done its work.
type mortal struct {
	cloud.Driver
	w *world
}

// moment is one at which the process may die.
func (m mortal) moment() {
	m.w.dying.Lock()
	defer m.w.dying.Unlock()
	m.w.moments++
	if m.w.dieAt > 0 {
		if m.w.dieAt--; m.w.dieAt == 0 {
			panic(died{})
		}
	}
}

// dieAfter lets a process die at the nth moment from now; 0 is never.
func (w *world) dieAfter(n int) {
	w.dying.Lock()
	defer w.dying.Unlock()
	w.dieAt, w.moments = n, 0
}

func (m mortal) Node(ctx context.Context) (*cloud.Node, error) {
	m.moment()
	return m.Driver.Node(ctx)
}

func (m mortal) ENIs(ctx context.Context, instance string) ([]cloud.ENI, error) {
	m.moment()
	return m.Driver.ENIs(ctx, instance)
}

func (m mortal) Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	m.moment()
	defer m.moment()
	return m.Driver.Assign(ctx, eni, count)
}

func (m mortal) AssignIPv6(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	m.moment()
	defer m.moment()
	return m.Driver.AssignIPv6(ctx, eni, count)
}

func (m mortal) AssignIPv6Prefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	m.moment()
	defer m.moment()
	return m.Driver.AssignIPv6Prefixes(ctx, eni, count)
}

func (m mortal) Unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	m.moment()
	defer m.moment()
	return m.Driver.Unassign(ctx, eni, addresses)
}

func (m mortal) AssignPrefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	m.moment()
	defer m.moment()
	return m.Driver.AssignPrefixes(ctx, eni, count)
}

func (m mortal) UnassignPrefixes(ctx context.Context, eni string, prefixes []netip.Prefix) error {
	m.moment()
	defer m.moment()
	return m.Driver.UnassignPrefixes(ctx, eni, prefixes)
}

func (m mortal) CreateENI(ctx context.Context, r cloud.CreateENIRequest) (*cloud.ENI, error) {
	m.moment()
	defer m.moment()
	return m.Driver.CreateENI(ctx, r)
}

func (m mortal) DeleteENI(ctx context.Context, instance, eni string) error {
	m.moment()
	defer m.moment()
	return m.Driver.DeleteENI(ctx, instance, eni)
}

// mayDie calls fn, and says whether it died.
func mayDie(fn func()) (dead bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, killed := r.(died); !killed {
				panic(r)
			}
			dead = true
		}
	}()
	fn()
	return false
}

// one of the values, by chance.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }
