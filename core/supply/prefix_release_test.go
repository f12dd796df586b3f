package supply_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
	"github.com/enichain/enichain/test/vpcsim"
)

// breathing is a pool that gives back all that it can.
func breathing() map[string]any {
	return map[string]any{"cooldown": "0s", "eniIdle": "0s", "warm": map[string]int{"max": 1}}
}

func TestAWholePrefixGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	conf := breathing()
	for i := range 20 {
		w.add(fmt.Sprint("c", i), conf)
	}
	w.agree(2, 0)
	for i := range 20 {
		if i == 7 {
			continue
		}
		w.del(fmt.Sprint("c", i), conf)
	}
	w.refill(conf)
	w.agree(1, 0)
	if w.del("nobody", conf) {
		t.Error("15 are free of a prefix that is in use, and each DEL would start a process that gives nothing back")
	}
	w.del("c7", conf)
	w.add("late", conf) // thaws
	if a := w.add("c7", conf); a.Prefix.IsValid() != true {
		t.Errorf("given %+v", a)
	}
	for _, id := range []string{"late", "c7"} {
		w.del(id, conf)
	}
	w.refill(conf)
	w.agree(0, 0)
	if n := w.Calls(unassigning); n != 2 {
		t.Errorf("%d calls for two prefixes", n)
	}
}

// What cools down keeps its prefix; what is too much goes back without it.
func TestACoolingAddressKeepsItsPrefix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	conf := breathing()
	conf["cooldown"] = "30s"
	w.warm(32, conf)
	w.add("c1", conf)
	w.del("c1", conf)
	w.refill(conf)
	w.agree(1, 0)
	w.ahead += 31 * time.Second
	w.refill(conf)
	w.agree(0, 0)
}

// A process that dies between the two steps, or after the call, leaves what the next one settles; until then no container
// gets an address of it.
func TestAReleaseOfAPrefixThatWasLeftOpen(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
		w.warm(32, nil)
		eni := w.ENIs(w.instance.ID)[0]
		marked := read(w, func(tx *store.Tx) (marked []netip.Prefix, err error) {
			if marked, err = tx.MarkReleasingPrefixes(eni.ID, family.IPv4, 1); err == nil {
				_, err = tx.Begin(store.Intent{Op: store.OpUnassign, ENI: eni.ID, Prefixes: marked})
			}
			return marked, err
		})
		if done {
			if err := w.RemovePrefix(eni.ID, marked[0]); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 16 {
			if a := w.add(fmt.Sprint("c", i), map[string]any{"mode": "offline"}); a.Prefix == marked[0] {
				t.Fatalf("given %s of %s, which goes back", a.IP, a.Prefix)
			}
		}
		w.learn()
		w.agree(1, 0)
	}
}

// An answer that is lost leaves the intent open; a refusal puts the prefix back to use.
func TestAReleaseOfAPrefixThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	conf := breathing()
	w.warm(16, nil)
	w.Inject(vpcsim.Fault{Action: unassigning, Times: 1, AfterEffect: true})
	if err := w.supply(conf).Refill(t.Context()); err == nil {
		t.Error("no answer, and no error")
	}
	w.learn()
	w.agree(0, 0)
	w.ahead += time.Hour
	w.warm(16, nil)
	w.Inject(vpcsim.Fault{Action: unassigning, Code: "UnauthorizedOperation", Status: 403, Message: "no", Times: 1})
	if err := w.supply(conf).Refill(t.Context()); cloud.ClassOf(err) != cloud.Auth {
		t.Errorf("refused: %v", err)
	}
	w.agree(1, 0)
	if n := read(w, func(tx *store.Tx) (store.Counts, error) { return tx.Counts(w.ENIs(w.instance.ID)[0].ID, family.IPv4) }); n.FreePrefixes != 1 {
		t.Errorf("after the refusal: %+v", n)
	}
}

func TestAnENIWithPrefixesIsDrained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", 1, "10.0.0.0/22")
	w.warm(5*16+1, nil)
	var ours string
	for _, e := range w.ENIs(w.instance.ID) {
		if e.DeviceIndex > 0 {
			ours = e.ID
		}
	}
	p, err := w.AddPrefixes(ours, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.learn()
	ip := p[0].Addr()
	if _, err := w.supply(nil).Allocate(t.Context(), warm.Request{Owner: owner("c1"), IPs: []netip.Addr{ip}}); err != nil {
		t.Fatal(err)
	}
	d, err := w.supply(nil).Drain(t.Context(), ours)
	if err != nil || d.Deleted || d.Left != 15 || len(d.InUse) != 1 || d.InUse[0].IP != ip {
		t.Errorf("with a container there: %+v, %v", d, err)
	}
	w.agree(6, 0)
	w.del("c1", map[string]any{"cooldown": "0s"})
	if d, err = w.supply(nil).Drain(t.Context(), ours); err != nil || !d.Deleted {
		t.Errorf("with nobody there: %+v, %v", d, err)
	}
	w.agree(5, 0)
}
