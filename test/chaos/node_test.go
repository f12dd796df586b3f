package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/vpcsim"
)

const network = "net"

// node is an instance with its pool.
type node struct{ *world }

func newNode(w *world, r *rand.Rand) *node {
	w.r = r
	return &node{w}
}

func owner(id string) store.Owner {
	return store.Owner{Network: network, ContainerID: id, IfName: "eth0"}
}

// callTimeout is how long a call may take: the cloud is asked again after a failure, at most so long.
const callTimeout = 1500 * time.Millisecond

// add is an ADD.
func (n *node) add(t *testing.T, id string, want netip.Addr) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	var got supply.Grant
	var err error
	dead := mayDie(func() {
		got, err = n.supply(n.conf).Allocate(ctx, supply.Request{Owner: owner(id), IP: want})
	})
	n.did("ADD %s %v: %v %v died %v", id, want, got.Address.IP, err, dead)
	if dead || err != nil {
		n.failed(id)
		return fmt.Errorf("died %v: %w", dead, err)
	}
	if n.away[got.ENI.ID] && n.looked && !n.isLive(id) && !n.attached(got.ENI.ID) {
		t.Errorf("%s was given %s of %s, which is known to be gone", id, got.Address.IP, got.ENI.ID)
	}
	n.granted(t, id, got.Address.IP, time.Duration(*n.conf.Cooldown))
	return nil
}

// del is a DEL.
func (n *node) del(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := n.now()
	_, err := n.supply(n.conf).Release(ctx, owner(id))
	n.did("DEL %s: %v", id, err)
	if err != nil {
		t.Errorf("DEL of %s: %v", id, err)
	}
	n.gone(id, began)
}

// gc is a GC for which only the live containers are valid.
func (n *node) gc(t *testing.T) {
	t.Helper()
	err := n.store.UpdateExisting(t.Context(), func(tx *store.Tx) error {
		owned, err := tx.OwnedIn(network)
		for _, a := range owned {
			if _, valid := n.live[a.Owner.ContainerID]; !valid {
				if _, err := tx.Release(*a.Owner, time.Duration(*n.conf.Cooldown)); err != nil {
					return err
				}
			}
		}
		return err
	})
	n.did("GC: %v", err)
	clear(n.unsure)
}

// snapshot is what store and cloud say at a moment.
type snapshot struct {
	addresses []store.Address
	enis      []store.ENI
	counts    map[string]store.Counts
	intents   []store.Intent
	cloud     map[netip.Addr]string // ENI of each secondary address that is attached
}

func (n *node) snapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{counts: map[string]store.Counts{}, cloud: map[netip.Addr]string{}}
	for _, e := range n.ENIs(n.instanceID) {
		for _, ip := range e.Secondary {
			if e.State == vpcsim.Attached {
				s.cloud[ip] = e.ID
			}
		}
	}
	err := n.store.Update(t.Context(), func(tx *store.Tx) (err error) {
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
func (n *node) check(t *testing.T) snapshot {
	t.Helper()
	s := n.snapshot(t)
	maps.DeleteFunc(n.away, func(eni string, _ bool) bool { return n.attached(eni) })
	held := map[string]store.Address{}
	counted := map[string]store.Counts{}
	for _, a := range s.addresses {
		c := counted[a.ENI]
		switch a.State {
		case store.Free:
			c.Free++
		case store.Cooling:
			c.Cooling++
		case store.Releasing:
			c.Releasing++
		case store.Assigned:
			c.Assigned++
			n.checkOwner(t, a, held)
		}
		counted[a.ENI] = c
		switch {
		case n.away[a.ENI]: // EC2 assigns to an ENI that is attached to nothing, too
			n.excused[a.IP] = true
		case s.cloud[a.IP] == a.ENI:
			delete(n.excused, a.IP)
		}
	}
	for _, e := range s.enis {
		got, want := s.counts[e.ID], counted[e.ID]
		got.Changed = 0
		if got != want {
			t.Errorf("%s counts %+v, and has %+v", e.ID, got, want)
		}
		delete(counted, e.ID)
	}
	for eni, c := range counted {
		t.Errorf("%+v of %s, which is not in the store", c, eni)
	}
	for _, id := range ids(n.live) {
		a, ok := held[id]
		switch ip := n.live[id]; {
		case !ok || a.IP != ip:
			t.Errorf("%s was given %s, and the store has %v for it", id, ip, a.IP)
		case s.cloud[ip] != a.ENI && !n.excused[ip]:
			t.Errorf("%s has %s of %s, which in the cloud is of %q", id, ip, a.ENI, s.cloud[ip])
		}
	}
	return s
}

func (n *node) checkOwner(t *testing.T, a store.Address, held map[string]store.Address) {
	t.Helper()
	if a.Owner == nil {
		t.Errorf("%s is assigned to nobody", a.IP)
		return
	}
	id := a.Owner.ContainerID
	if other, twice := held[id]; twice {
		t.Errorf("%s has %s and %s", id, other.IP, a.IP)
	}
	held[id] = a
	if _, live := n.live[id]; !live && !n.unsure[id] {
		t.Errorf("%s is %s's, which is gone", a.IP, id)
	}
}

// checkIndexes compares the store's indexes with its addresses.
func (n *node) checkIndexes(t *testing.T, s snapshot) {
	t.Helper()
	want := map[string]int{}
	for _, a := range s.addresses {
		switch a.State {
		case store.Free, store.Cooling:
			want[string(a.State)]++
		case store.Assigned:
			want["owners"]++
		}
	}
	db, err := bbolt.Open(n.store.Path(), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bbolt.Tx) error {
		for _, bucket := range []string{"free", "cooling", "owners"} {
			if got := tx.Bucket([]byte(bucket)).Inspect().KeyN; got != want[bucket] {
				t.Errorf("the index %q has %d entries, want %d", bucket, got, want[bucket])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
