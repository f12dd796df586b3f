package supply_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
)

// allocateThis is an ADD that asks for an address.
func (w *world) allocateThis(id, ip string) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	_, err := w.supply(nil).Allocate(ctx, warm.Request{Owner: owner(id), IPs: []netip.Addr{netip.MustParseAddr(ip)}})
	return err
}

// Who asks for an address that is not known asks nothing of a cloud that throttles, as who takes any.
func TestARequestedAddressHeedsThrottling(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	w.learn()
	w.restAPI(time.Hour)
	calls := w.Calls("DescribeNetworkInterfaces")
	if err := w.allocateThis("c1", "10.0.0.200"); cloud.ClassOf(err) != cloud.Throttled {
		t.Errorf("error: %v", err)
	}
	if n := w.Calls("DescribeNetworkInterfaces") - calls; n > 0 {
		t.Errorf("%d calls while the API rests", n)
	}
}

// restAPI makes calls rest for a time.
func (w *world) restAPI(pause time.Duration) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), func(tx *store.Tx) error {
		return tx.LetRest("api", string(cloud.Throttled), "too many calls", func(int) time.Duration { return pause })
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// The pool grows for those who take any address: another one would be no use to who asks for one that is not there, or is
// another's.
func TestThePoolDoesNotGrowForARequestedAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	taken := w.add("c1", nil).IP
	var during map[family.Family]int
	w.driver = watched{w.driver, func() { during = read(w, (*store.Tx).Waiting) }}
	for _, ip := range []string{taken.String(), "10.0.0.250"} {
		if err := w.allocateThis("c2", ip); err == nil {
			t.Errorf("given %s", ip)
		}
		if n := read(w, (*store.Tx).Waiting); len(n)+len(during) > 0 {
			t.Errorf("%s: %v wait while the cloud is asked, and %v after that", ip, during, n)
		}
	}
}

// watched is a driver that calls before it lists ENIs.
type watched struct {
	cloud.Driver
	before func()
}

func (d watched) ENIs(ctx context.Context, instanceID string) ([]cloud.ENI, error) {
	d.before()
	return d.Driver.ENIs(ctx, instanceID)
}
