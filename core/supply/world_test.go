package supply_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/aws"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/core/warm"
	"github.com/enichain/enichain/test/vpcsim"
)

// world is a simulated EC2 on loopback with one instance, and that instance's pool, whose clock the tests move on.
type world struct {
	*vpcsim.VPC
	t        *testing.T
	instance vpcsim.Instance
	section  map[string]any // "ipam"
	driver   cloud.Driver
	store    *store.Store
	ahead    time.Duration // of the kernel's clock
}

// newWorld is an instance of the type with an ENI in each of the first subnets.
func newWorld(t *testing.T, instanceType string, enis int, subnets ...string) *world {
	t.Helper()
	return newWorldIn(t, vpcsim.Config{IPv6: netip.MustParsePrefix("2001:db8::/56")}, instanceType, enis, subnets...)
}

// newWorldIn is newWorld in a VPC with IPv6, or without it.
func newWorldIn(t *testing.T, config vpcsim.Config, instanceType string, enis int, subnets ...string) *world {
	t.Helper()
	config.Region, config.CIDRs = "eu-test-1", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	for i, cidr := range subnets {
		subnet := vpcsim.Subnet{ID: fmt.Sprintf("subnet-%d", i), CIDR: netip.MustParsePrefix(cidr)}
		if config.IPv6.IsValid() {
			subnet.IPv6 = netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:%d::/64", i))
		}
		config.Subnets = append(config.Subnets, subnet)
	}
	w := &world{VPC: vpcsim.New(config), t: t}
	t.Cleanup(w.Close)
	var err error
	if w.instance, err = w.AddInstance(instanceType); err != nil {
		t.Fatal(err)
	}
	for i := range enis {
		if _, err := w.AddENI(w.instance.ID, fmt.Sprintf("subnet-%d", i), i, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	ec2, imds := httptest.NewServer(w.EC2()), httptest.NewServer(w.IMDSFor(w.instance.ID))
	t.Cleanup(ec2.Close)
	t.Cleanup(imds.Close)
	base, err := os.MkdirTemp("/dev/shm", "enichain-supply-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	w.store = store.WithClock(filepath.Join(base, "data"), func() time.Duration { return store.SinceBoot() + w.ahead })
	driver := map[string]string{"region": "eu-test-1", "ec2Endpoint": ec2.URL, "imdsEndpoint": imds.URL}
	w.section = map[string]any{
		"type": "eni-ipam", "cloud": "aws", "manage": "all", "prefixes": true, "dataDir": filepath.Dir(w.store.Path()), "driver": driver,
	}
	raw, err := json.Marshal(driver)
	if err != nil {
		t.Fatal(err)
	}
	if w.driver, err = aws.New(raw, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	return w
}

// supply is the supply of a process of now; more are fields of the "ipam" section, over the world's.
func (w *world) supply(more map[string]any) *supply.Supply {
	w.t.Helper()
	section := maps.Clone(w.section)
	maps.Copy(section, more)
	stdin, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": "net", "type": "main", "ipam": section})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := netconf.ParseIPAM(stdin)
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return supply.On(w.store, &r.IPAM, func() (cloud.Driver, error) { return w.driver, nil }, slog.New(slog.DiscardHandler))
}

func owner(id string) store.Owner {
	return store.Owner{Network: "net", ContainerID: id, IfName: "eth0"}
}

// allocate is an ADD, which may fail.
func (w *world) allocate(id string, more map[string]any) (store.Address, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	g, err := w.supply(more).Allocate(ctx, warm.Request{Owner: owner(id)})
	if err != nil {
		return store.Address{}, err
	}
	return g.Addresses[0].Address, nil
}

// add is an ADD that must succeed.
func (w *world) add(id string, more map[string]any) store.Address {
	w.t.Helper()
	a, err := w.allocate(id, more)
	if err != nil {
		w.t.Fatalf("ADD of %s: %v", id, err)
	}
	return a
}

// del is a DEL; it says whether the pool has something to give back then.
func (w *world) del(id string, more map[string]any) (spare bool) {
	w.t.Helper()
	spare, err := w.supply(more).Release(w.t.Context(), owner(id))
	if err != nil {
		w.t.Fatalf("DEL of %s: %v", id, err)
	}
	return spare
}

// warm fills the pool until n addresses are free.
func (w *world) warm(n int, more map[string]any) {
	w.t.Helper()
	if free, err := w.supply(more).WarmTo(w.t.Context(), n); err != nil || free < n {
		w.t.Fatalf("%d of %d are free: %v", free, n, err)
	}
}

// refill is what a detached process does.
func (w *world) refill(more map[string]any) {
	w.t.Helper()
	if err := w.supply(more).Refill(w.t.Context()); err != nil {
		w.t.Fatalf("refill: %v", err)
	}
}

// learn asks the cloud.
func (w *world) learn() {
	w.t.Helper()
	if err := w.supply(nil).Learn(w.t.Context()); err != nil {
		w.t.Fatalf("learn: %v", err)
	}
}

// read reads the store.
func read[T any](w *world, fn func(*store.Tx) (T, error)) (v T) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), func(tx *store.Tx) (err error) { v, err = fn(tx); return err })
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// places is where the store has its addresses.
func (w *world) places() map[netip.Addr]supply.Place {
	w.t.Helper()
	at := map[netip.Addr]supply.Place{}
	for _, a := range read(w, (*store.Tx).Addresses) {
		at[a.IP] = supply.Place{ENI: a.ENI, Prefix: a.Prefix}
	}
	return at
}

// agree checks that the cloud has given so many prefixes and single addresses, that the store knows of just these, and
// that nothing is left open.
func (w *world) agree(prefixes, singles int) {
	w.t.Helper()
	var enis []cloud.ENI
	p, s := 0, 0
	for _, e := range w.ENIs(w.instance.ID) {
		enis = append(enis, cloud.ENI{ID: e.ID, Addresses: e.Secondary, Prefixes: e.Prefixes})
		p, s = p+len(e.Prefixes), s+len(e.Secondary)
	}
	if p != prefixes || s != singles {
		w.t.Errorf("the cloud has given %d prefixes and %d addresses, want %d and %d", p, s, prefixes, singles)
	}
	if at := supply.Places(enis).Listed; !maps.Equal(at, w.places()) {
		w.t.Errorf("the cloud has %v, the store %v", at, w.places())
	}
	if open := read(w, (*store.Tx).Intents); len(open) > 0 {
		w.t.Errorf("left open: %+v", open)
	}
}
