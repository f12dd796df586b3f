package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
)

// A drained ENI of ours gives nothing more, stays while a container needs it, and goes when none does.
func TestDrain(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, map[string]any{"cooldown": "0s", "batch": c.Medium.Each})
		for i := range c.Medium.Each + 1 {
			w.Add(fmt.Sprint("c", i), nil)
		}
		second := w.ENIs()[1]
		has(t, w.ctl(1, "drain", second.ID), "gives no address any more; 1 are still in use", fmt.Sprint("shop/c", c.Medium.Each))
		if left := w.ENIs()[1].Secondary; len(left) != 1 {
			t.Errorf("its free addresses were not given back: %v", left)
		}
		has(t, w.ctl(1, "drain", second.ID), "1 are still in use") // again
		if ip := w.Add("later", nil); slices.Contains(w.ENIs()[1].Secondary, ip) {
			t.Errorf("%s is of the ENI that is being drained", ip)
		}
		has(t, w.ctl(0, "show"), "draining")

		w.Del(fmt.Sprint("c", c.Medium.Each), nil)
		has(t, w.ctl(0, "drain", second.ID), second.ID+" is deleted")
		for _, e := range w.AllENIs() {
			if e.ID == second.ID {
				t.Error("it is still in the account")
			}
		}
		has(t, w.ctl(0, "drain", second.ID), "nothing to drain")
		if _, known := w.snapshot().eni(second.ID); known {
			t.Error("it is still in the store")
		}
	})
}

// An ENI that enichain did not make is emptied and stays; -undo opens it again.
func TestDrainOfAnENIThatIsNotOurs(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, map[string]any{"cooldown": "0s", "maxENIs": 1})
		w.Add("c1", nil)
		w.Del("c1", nil)
		primary := w.ENIs()[0].ID
		has(t, w.ctl(0, "drain", primary), "it stays, because enichain did not make it")
		if left := w.ENIs()[0].Secondary; len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		has(t, w.ctl(0, "drain", "-undo", primary), "in use again")
		w.Add("c2", nil)
		has(t, w.ctl(1, "drain", "-undo", "eni-none"), "no such ENI")
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Small, map[string]any{"batch": 5})
		for i := range c.Small.All() {
			w.Add(fmt.Sprint("c", i), nil)
		}
		last := c.Small.ENIs - 1
		has(t, w.ctl(0, "sweep", "-age", "0s"), fmt.Sprintf("no ENI is left over: %d have the tag enichain/owner=enichain", last))
		leaked := w.ENIs()[last].ID
		if err := w.DetachENI(leaked); err != nil {
			t.Fatal(err)
		}
		has(t, w.ctl(0, "sweep"), "no ENI is left over") // too young
		has(t, w.ctl(0, "sweep", "-age", "0s"), leaked, w.Instance.ID, "1 ENIs would be deleted")
		if len(w.AllENIs()) != last+1 {
			t.Error("a dry run deleted something")
		}
		has(t, w.ctl(0, "sweep", "-age", "0s", "-yes"), "deleted "+leaked)
		if len(w.AllENIs()) != last {
			t.Errorf("still there: %v", w.AllENIs())
		}
	})
}

func TestWhatIsLeaked(t *testing.T) {
	now := time.Now()
	ours := map[string]string{"enichain/owner": "enichain", "enichain/instance": "i-1", cloud.TagToken: "t1"}
	good := cloud.ENI{ID: "eni-1", State: cloud.Available, Tags: ours, Created: now.Add(-time.Hour)}
	attached, young, ageless, foreign := good, good, good, good
	attached.State, attached.InstanceID = cloud.Attached, "i-2"
	young.Created = now
	ageless.Created = time.Time{}
	foreign.Tags = map[string]string{"enichain/owner": "enichain"}
	tests := []struct {
		name    string
		eni     cloud.ENI
		intents []store.Intent
		want    int
	}{
		{"left over", good, nil, 1},
		{"attached to another", attached, nil, 0},
		{"just made", young, nil, 0},
		{"of unknown age", ageless, nil, 0},
		{"made by a person", foreign, nil, 0},
		{"about to be completed", good, []store.Intent{{Op: store.OpCreateENI, Token: "t1"}}, 0},
		{"about to be deleted", good, []store.Intent{{Op: store.OpDeleteENI, ENI: "eni-1"}}, 0},
	}
	for _, tt := range tests {
		if got := leakedENIs([]cloud.ENI{tt.eni}, tt.intents, now.Add(-time.Minute)); len(got) != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, len(got), tt.want)
		}
	}
}
