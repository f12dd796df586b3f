package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
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
	before := n.holds(t, id)
	var got warm.Grant
	var err error
	dead := mayDie(func() {
		got, err = n.supply(n.conf).Allocate(ctx, warm.Request{Owner: owner(id), IPs: asked(want)})
	})
	n.did("ADD %s %v: %v %v died %v", id, want, got.Addresses, err, dead)
	if dead || err != nil {
		if after := n.holds(t, id); !slices.Equal(before, after) && (!dead || len(after) < len(n.conf.Families)) {
			t.Errorf("%s held %v before an ADD that failed, and holds %v", id, before, after)
		}
		n.failed(id)
		return fmt.Errorf("died %v: %w", dead, err)
	}
	var ips []netip.Addr
	for _, a := range got.Addresses {
		if n.away[a.ENI] && n.looked && !slices.Contains(before, a.IP) && !n.attached(a.ENI) {
			t.Errorf("%s was given %s of %s, which is known to be gone", id, a.IP, a.ENI)
		}
		ips = append(ips, a.IP)
	}
	n.granted(t, id, ips, n.conf)
	return nil
}

// holds returns what the store has a container hold.
func (n *node) holds(t *testing.T, id string) (ips []netip.Addr) {
	t.Helper()
	err := n.store.View(t.Context(), func(tx *store.Tx) error {
		held, err := tx.AddressesOf(owner(id))
		for _, a := range held {
			ips = append(ips, a.IP)
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNoStore) {
		t.Error(err)
	}
	return ips
}

// asked is the addresses that a request names, where it names one.
func asked(ip netip.Addr) []netip.Addr {
	if !ip.IsValid() {
		return nil
	}
	return []netip.Addr{ip}
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

// checkIndexes compares the store's indexes with its addresses.
func (n *node) checkIndexes(t *testing.T, s snapshot) {
	t.Helper()
	want, owners := map[string]int{"ranges": len(s.ranges)}, map[store.Owner]bool{}
	for _, c := range s.prefixes() {
		want["prefixes"]++
		if c.Free > 0 {
			want["packing"]++
		}
	}
	for _, a := range s.addresses {
		switch a.State {
		case store.Free:
			if a.Prefix.IsValid() {
				want["freeOf"]++
			} else {
				want["free"]++
			}
		case store.Cooling:
			want["cooling"]++
		case store.Assigned:
			owners[*a.Owner] = true
		}
	}
	want["owners"] = len(owners)
	db, err := bbolt.Open(n.store.Path(), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bbolt.Tx) error {
		for _, bucket := range []string{"free", "freeOf", "cooling", "owners", "prefixes", "packing", "ranges"} {
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
