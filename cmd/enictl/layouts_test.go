package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// layouts are what eni-ptp's section says of the rules, from a comma on.
func layouts() []string {
	return []string{`, "routing": "per-pod"`, `, "routing": "per-eni", "marking": "tcx"`, `, "routing": "per-eni", "marking": "nftables"`}
}

// A node goes from each layout to each other with live containers, and no packet of them is lost meanwhile.
func TestSwitchOfTheLayout(t *testing.T) {
	t.Parallel()
	cloud := clouds.All()[0].Name
	n := newLabNodeOf(t, cloud, layouts()[0])
	fresh := n.snapshot()
	for _, step := range [][2]int{{0, 1}, {1, 2}, {2, 0}, {0, 2}, {2, 1}, {1, 0}} {
		conflist := fmt.Appendf(nil, labConflist, layouts()[step[1]], cloud)
		r, err := chain.NewRuntime(n.Node, bin, conflist)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(t.Context(), "c1"); err != nil {
			t.Errorf("%v: CHECK of a container of before: %v", step, err)
		}
		if !n.reaches() {
			t.Errorf("%v: a container of before reaches nobody", step)
		}
		has(t, n.ctl(1, "repair", "-dry-run"), "would repair")
		before, _, err := n.lab.Drops()
		if err != nil {
			t.Fatal(err)
		}
		stop := n.traffic()
		said := n.ctl(0, "repair")
		for what, err := range stop() {
			t.Errorf("%v: %s: %v", step, what, err)
		}
		// A ping is repeated; the VPC does not forget a packet that left by the wrong ENI.
		if after, _, err := n.lab.Drops(); err != nil || after != before {
			t.Errorf("%v: %d packets left by the wrong ENI, %v", step, after-before, err)
		}
		has(t, said, "put right")
		has(t, n.ctl(0, "repair"), "the kernel is as the store says\n")
		if err := r.Check(t.Context(), "c1"); err != nil {
			t.Errorf("%v: CHECK: %v", step, err)
		}
		if now := strings.Join(n.snapshot(), "\n"); step[1] == 0 && now != strings.Join(fresh, "\n") {
			t.Errorf("%v: other than to begin with:\n%s\nnot:\n%s", step, now, strings.Join(fresh, "\n"))
		}
	}
	if err := n.remove("c1"); err != nil {
		t.Error(err)
	}
}

// remove ends a container.
func (n *labNode) remove(id string) error {
	r, err := chain.NewRuntime(n.Node, bin, fmt.Appendf(nil, labConflist, "", n.cloud))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return r.Del(ctx, id)
}

// traffic pings without pause, until it is stopped: from the container, and to it from its own host and from the other node. Of
// each walk stop returns the first error, if one was lost.
func (n *labNode) traffic() (stop func() map[string]error) {
	ctx, cancel := context.WithCancel(n.t.Context())
	type outcome struct {
		what string
		err  error
	}
	walks := []struct {
		what string
		from *lab.Host
	}{{what: "out", from: n.Container("c1")}, {what: "in", from: &n.Node.Host}}
	outcomes := make(chan outcome, len(walks))
	for _, w := range walks {
		to := n.other
		if w.what == "in" {
			to = n.container
		}
		go func() {
			var err error
			for sent := 0; err == nil && (ctx.Err() == nil || sent < 2); sent++ {
				err = w.from.Do(func() error {
					patience, done := context.WithTimeout(context.Background(), 5*time.Second)
					defer done()
					_, err := probe.Ping(patience, to, probe.From{})
					return err
				})
			}
			outcomes <- outcome{w.what, err}
		}()
	}
	return func() map[string]error {
		cancel()
		lost := map[string]error{}
		for range walks {
			if o := <-outcomes; o.err != nil {
				lost[o.what] = o.err
			}
		}
		return lost
	}
}

// A network goes back to rules per container while another's are per ENI: what that needs stays, and nothing is missed.
func TestRepairBesideAnotherLayout(t *testing.T) {
	t.Parallel()
	cloud := clouds.All()[0].Name
	n := newLabNodeOf(t, cloud, layouts()[1])
	network := func(name, ptp string) *chain.Runtime {
		conflist := fmt.Sprintf(strings.Replace(labConflist, `"enichain"`, `"`+name+`"`, 1), ptp, cloud)
		r, err := chain.NewRuntime(n.Node, bin, []byte(conflist))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if _, err := network("other", layouts()[2]).Run(t.Context(), "c2"); err != nil {
		t.Fatal(err)
	}
	other := network("other", layouts()[0])
	t.Cleanup(func() {
		if err := other.Remove(context.Background(), "c2"); err != nil {
			t.Error(err)
		}
	})
	said := n.ctl(0, "repair")
	has(t, said, "repaired what is left of per-eni on ", "repaired nftables: table enichain-eni marks no container's packets")
	if strings.Contains(said, "serves no container") {
		t.Errorf("what another network's container needs went:\n%s", said)
	}
	has(t, n.ctl(0, "repair"), "the kernel is as the store says\n")
	if err := other.Check(t.Context(), "c2"); err != nil {
		t.Errorf("CHECK of the container that was switched: %v", err)
	}
	if err := network("enichain", layouts()[1]).Check(t.Context(), "c1"); err != nil {
		t.Errorf("CHECK of the other network's: %v", err)
	}
	if !n.reaches() {
		t.Error("the other network's container reaches nobody")
	}
}

// Who flushes nftables' ruleset cuts containers off that it marks: doctor says so, an ADD brings back the marks of all, and so does
// repair.
func TestAFlushedRuleset(t *testing.T) {
	t.Parallel()
	cloud := clouds.All()[0].Name
	n := newLabNodeOf(t, cloud, layouts()[2])
	r, err := chain.NewRuntime(n.Node, bin, fmt.Appendf(nil, labConflist, layouts()[2], cloud))
	if err != nil {
		t.Fatal(err)
	}
	flush := func() {
		t.Helper()
		if out, err := n.Output(t.Context(), nil, "nft", "flush", "ruleset"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		has(t, n.ctl(1, "doctor"), "what 1 containers send leaves by the wrong ENI: enictl repair marks it")
	}
	flush()
	if _, err := r.Run(t.Context(), "c2"); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), "c1"); err != nil || !n.reaches() {
		t.Errorf("after an ADD of another container: %v", err)
	}
	if err := r.Remove(t.Context(), "c2"); err != nil {
		t.Fatal(err)
	}
	flush()
	has(t, n.ctl(0, "repair"), "repaired the marks of ")
	if err := r.Check(t.Context(), "c1"); err != nil || !n.reaches() {
		t.Errorf("after a repair: %v", err)
	}
}

// A store of another network's half-switched container with two families: a repair leaves it what it has.
func TestRepairOfAnotherNetworksHalf(t *testing.T) {
	nstest.New(t).Do(func() error {
		host, err := netstate.Here()
		if err != nil {
			return err
		}
		defer host.Close()
		k := &healer{net: &network{name: "own"}, host: host, say: t.Logf}
		own := &attached{Attachment: layout.Attachment{Routing: netconf.PerENI}}
		c := layout.Attachment{Addresses: []layout.Address{{IP: netip.MustParseAddr("2001:db8::6")}}}
		if err := k.chooseLayout(&c, store.Owner{Network: "other"}, own); err != nil || c.Routing != netconf.PerENI {
			t.Errorf("the second address has the layout %q, %v", c.Routing, err)
		}
		return nil
	})
}

// A store of an older enichain has no numbers of ENIs; repair gives them, and switches the containers that it finds.
func TestRepairOfAStoreWithoutNumbers(t *testing.T) {
	t.Parallel()
	cloud := clouds.All()[0].Name
	n := newLabNodeOf(t, cloud, layouts()[0])
	n.within(func() error { return forgetNumbers(store.At("/run/enichain").Path()) })
	r, err := chain.NewRuntime(n.Node, bin, fmt.Appendf(nil, labConflist, layouts()[1], cloud))
	if err != nil {
		t.Fatal(err)
	}
	has(t, n.ctl(1, "repair", "-dry-run"), "would repair")
	has(t, n.ctl(0, "repair"), "repaired the marks of ")
	if err := r.Check(t.Context(), "c1"); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if !n.reaches() {
		t.Error("the container reaches nobody")
	}
}

// forgetNumbers brings a store to the format before that of the numbers.
func forgetNumbers(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error {
		enis := tx.Bucket([]byte("enis"))
		err := enis.ForEach(func(id, text []byte) error {
			eni := map[string]any{}
			if err := json.Unmarshal(text, &eni); err != nil {
				return err
			}
			if _, has := eni["number"]; !has && eni["primary"] != true {
				return fmt.Errorf("%s has no number: %s", id, text)
			}
			delete(eni, "number")
			old, err := json.Marshal(eni)
			return errors.Join(err, enis.Put(slices.Clone(id), old))
		})
		return errors.Join(err, tx.Bucket([]byte("meta")).Put([]byte("version"), []byte("3")))
	})
}
