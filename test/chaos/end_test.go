package chaos

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/supply"
)

// end lets the trouble end, and looks whether all comes right; then all containers go, and the account is to be as it was.
func (n *node) end(t *testing.T) {
	t.Helper()
	n.calm()
	n.settle(t)
	n.agree(t)
	for _, id := range n.known() {
		n.del(t, id)
	}
	n.settle(t)
	for range 2 {
		if err := n.add(t, n.newID(), netip.Addr{}); err != nil {
			t.Errorf("with nothing wrong any more: %v", err)
		}
	}
	for _, id := range ids(n.live) {
		n.del(t, id)
	}
	still := *n.conf
	still.Warm = netconf.Warm{}
	n.conf = &still
	n.settle(t)
	n.agree(t)
	n.takeBack(t)
	for _, e := range n.snapshot(t).enis {
		d, err := n.supply(n.conf).Drain(t.Context(), e.ID)
		n.did("drain %s: %+v %v", e.ID, d, err)
		if err != nil || len(d.InUse) > 0 || d.Left > 0 || d.Deleted != d.ENI.Ours {
			t.Errorf("drain %s: %+v, %v", e.ID, d, err)
		}
	}
	n.sweep(t)
	n.asBefore(t)
}

// settle lets time pass and processes learn and refill until nothing happens any more.
func (n *node) settle(t *testing.T) {
	t.Helper()
	quiet := 0
	for range 16 {
		n.pass(11 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		s := n.supply(n.conf)
		err := s.Learn(ctx)
		changes := n.Calls("")
		if err == nil {
			err = s.Refill(ctx)
		}
		cancel()
		n.did("settle: %v, %d changes", err, n.Calls("")-changes)
		now := n.check(t)
		if cloud.ClassOf(err) == cloud.Quota { // containers have all that the type takes
			err = nil
		}
		if err != nil || n.Calls("") != changes || len(now.intents) > 0 || thawing(now) {
			quiet = 0
			continue
		}
		// A process that is just being started has the locks of its parent for a moment, and a refill waits for none.
		if quiet++; quiet == 2 {
			return
		}
	}
	t.Errorf("never settled: %+v", n.snapshot(t))
}

// sweep deletes the ENIs that we made and that are attached to nothing, as the operator's tool does.
func (n *node) sweep(t *testing.T) {
	t.Helper()
	found, err := n.cloud.TaggedENIs(t.Context(), map[string]string{supply.TagOwner: n.conf.Owner})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if e.State != cloud.Available {
			t.Errorf("%s is %s after all were drained", e.ID, e.State)
			continue
		}
		if err := n.cloud.DeleteENI(t.Context(), "", e.ID); err != nil {
			t.Errorf("sweep: %v", err)
		}
	}
}
