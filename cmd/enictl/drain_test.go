package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
)

// A drained ENI of ours gives nothing more, stays while a container needs it, and goes when none does.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", map[string]any{"cooldown": "0s", "batch": 5}) // 3 ENIs with 5 secondary addresses each
	for i := range 6 {
		w.add(fmt.Sprint("c", i))
	}
	second := w.ENIs(w.instance.ID)[1]
	has(t, w.ctl(1, "drain", second.ID), "gives no address any more; 1 are still in use", "shop/c5")
	if left := w.ENIs(w.instance.ID)[1].Secondary; len(left) != 1 {
		t.Errorf("its free addresses were not given back: %v", left)
	}
	has(t, w.ctl(1, "drain", second.ID), "1 are still in use") // again
	if ip := w.add("later"); slices.Contains(w.ENIs(w.instance.ID)[1].Secondary, ip) {
		t.Errorf("%s is of the ENI that is being drained", ip)
	}
	has(t, w.ctl(0, "show"), "draining")

	w.ipamCall("DEL", "c5")
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
}

// An ENI that enichain did not make is emptied and stays; -undo opens it again.
func TestDrainOfAnENIThatIsNotOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", map[string]any{"cooldown": "0s", "maxENIs": 1})
	w.add("c1")
	w.ipamCall("DEL", "c1")
	primary := w.ENIs(w.instance.ID)[0].ID
	has(t, w.ctl(0, "drain", primary), "it stays, because enichain did not make it")
	if left := w.ENIs(w.instance.ID)[0].Secondary; len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	has(t, w.ctl(0, "drain", "-undo", primary), "in use again")
	w.add("c2")
	has(t, w.ctl(1, "drain", "-undo", "eni-none"), "no such ENI")
}

func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", map[string]any{"batch": 5})
	for i := range 11 {
		w.add(fmt.Sprint("c", i))
	}
	has(t, w.ctl(0, "sweep", "-age", "0s"), "no ENI is left over: 2 have the tag enichain/owner=enichain")
	leaked := w.ENIs(w.instance.ID)[2].ID
	if err := w.DetachENI(leaked); err != nil {
		t.Fatal(err)
	}
	has(t, w.ctl(0, "sweep"), "no ENI is left over") // too young
	has(t, w.ctl(0, "sweep", "-age", "0s"), leaked, w.instance.ID, "1 ENIs would be deleted")
	if len(w.AllENIs()) != 3 {
		t.Error("a dry run deleted something")
	}
	has(t, w.ctl(0, "sweep", "-age", "0s", "-yes"), "deleted "+leaked)
	if len(w.AllENIs()) != 2 {
		t.Errorf("still there: %v", w.AllENIs())
	}
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
