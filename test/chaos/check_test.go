package chaos

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/vpcsim"
)

// snapshot is what store and cloud say at a moment.
type snapshot struct {
	addresses []store.Address
	enis      []store.ENI
	counts    map[string]store.Counts
	intents   []store.Intent
	cloud     map[netip.Addr]string // ENI of each secondary address that is attached
}

func (a *account) snapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{counts: map[string]store.Counts{}, cloud: map[netip.Addr]string{}}
	for _, e := range a.ENIs(a.instanceID) {
		for _, ip := range e.Secondary {
			if e.State == vpcsim.Attached {
				s.cloud[ip] = e.ID
			}
		}
	}
	err := a.update(t.Context(), func(tx *store.Tx) (err error) {
		if s.addresses, err = tx.Addresses(); err != nil {
			return err
		}
		if s.intents, err = tx.Intents(); err != nil {
			return err
		}
		if s.enis, err = tx.ENIs(); err != nil {
			return err
		}
		for _, e := range s.enis {
			if s.counts[e.ID], err = tx.Counts(e.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check looks for what must never be.
func (a *account) check(t *testing.T) snapshot {
	t.Helper()
	s := a.snapshot(t)
	maps.DeleteFunc(a.away, func(eni string, _ bool) bool { return a.attached(eni) })
	held := map[string]store.Address{}
	counted := map[string]store.Counts{}
	for _, x := range s.addresses {
		c := counted[x.ENI]
		switch x.State {
		case store.Free:
			c.Free++
		case store.Cooling:
			c.Cooling++
		case store.Releasing:
			c.Releasing++
		case store.Assigned:
			c.Assigned++
			a.checkOwner(t, x, held)
		}
		counted[x.ENI] = c
		switch {
		case a.away[x.ENI]: // EC2 assigns to an ENI that is attached to nothing, too
			a.excused[x.IP] = true
		case s.cloud[x.IP] == x.ENI:
			delete(a.excused, x.IP)
		}
	}
	for _, e := range s.enis {
		n, want := s.counts[e.ID], counted[e.ID]
		got := store.Counts{Free: n.Free, Assigned: n.Assigned, Cooling: n.Cooling, Releasing: n.Releasing}
		if got != want {
			t.Errorf("%s counts %+v, and has %+v", e.ID, got, want)
		}
		delete(counted, e.ID)
	}
	for eni, c := range counted {
		t.Errorf("%+v of %s, which is not in the store", c, eni)
	}
	for _, id := range ids(a.live) {
		x, ok := held[id]
		switch ip := a.live[id]; {
		case !ok || x.IP != ip:
			t.Errorf("%s was given %s, and the store has %v for it", id, ip, x.IP)
		case s.cloud[ip] != x.ENI && !a.excused[ip]:
			t.Errorf("%s has %s of %s, which in the cloud is of %q", id, ip, x.ENI, s.cloud[ip])
		}
	}
	return s
}

func (a *account) checkOwner(t *testing.T, x store.Address, held map[string]store.Address) {
	t.Helper()
	if x.Owner == nil {
		t.Errorf("%s is assigned to nobody", x.IP)
		return
	}
	id := x.Owner.ContainerID
	if other, twice := held[id]; twice {
		t.Errorf("%s has %s and %s", id, other.IP, x.IP)
	}
	held[id] = x
	if _, live := a.live[id]; !live && !a.unsure[id] {
		t.Errorf("%s is %s's, which is gone", x.IP, id)
	}
}

// thawing says whether addresses cool down that nobody makes free.
func thawing(s snapshot) bool {
	for _, a := range s.addresses {
		if a.State == store.Cooling || a.State == store.Releasing {
			return true
		}
	}
	return false
}

// agree compares cloud and store. What containers hold that was taken away is theirs until they go.
func (a *account) agree(t *testing.T) {
	t.Helper()
	s := a.snapshot(t)
	if len(s.intents) > 0 {
		t.Errorf("left open: %+v", s.intents)
	}
	managed := map[string]bool{}
	for _, e := range s.enis {
		managed[e.ID] = true
	}
	for _, x := range s.addresses {
		if s.cloud[x.IP] != x.ENI && (x.State != store.Assigned || !a.excused[x.IP]) {
			t.Errorf("the store has %s (%s) on %s, the cloud on %q", x.IP, x.State, x.ENI, s.cloud[x.IP])
		}
		delete(s.cloud, x.IP)
	}
	for ip, eni := range s.cloud {
		if managed[eni] {
			t.Errorf("the cloud has %s on %s, and the store does not know", ip, eni)
		}
	}
}
