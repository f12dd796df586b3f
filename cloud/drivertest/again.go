package drivertest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
)

func testCreateAgain(t *testing.T, w *World) {
	before, r := w.All(), request(w)
	first := create(t, w, r)
	if d := diff(first, create(t, w, r)); d != "" {
		t.Errorf("again (-first +second):\n%s", d)
	}
	wantAccount(t, w, before, 1)
}

// What a token made is completed also where tags and security groups are others by now, and it is not listed yet: the cloud
// says then that the token was another request's.
func testCreateOtherwise(t *testing.T, w *World) {
	before, r := w.All(), request(w)
	groups := byID(t, w, w.Node.ENIs[0].ID).SecurityGroups
	w.Hide()
	w.LoseAnswer()
	for len(w.All()) == len(before) { // once, but on a machine that is too busy
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if _, err := w.Driver.CreateENI(ctx, r); err == nil {
			t.Log("the first call was not cut short")
		}
		cancel()
	}
	w.Recover()
	other := r
	other.Tags = map[string]string{"owner": "another", cloud.TagCreated: r.Tags[cloud.TagCreated], "more": "x"}
	other.SecurityGroups = groups[:1]
	got := create(t, w, other)
	if checkCreated(t, w, r, got); !slices.Equal(got.SecurityGroups, groups) {
		t.Errorf("security groups: want %v, got %v", groups, got.SecurityGroups)
	}
	wantAccount(t, w, before, 1)
}

// What is left of a call that was killed, between its steps, is completed by the next with its token.
func testCreateDetached(t *testing.T, w *World) {
	before, r := w.All(), request(w)
	first := create(t, w, r)
	if err := w.Detach(first.ID); err != nil {
		t.Fatal(err)
	}
	second := create(t, w, r)
	checkCreated(t, w, r, second)
	if second.ID != first.ID {
		t.Errorf("want %s again, got %s", first.ID, second.ID)
	}
	wantAccount(t, w, before, 1)
}
