package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
)

func TestShow(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, nil)
		has(t, w.ctl(0, "show"), "network net", "nothing is known of this node yet")

		first, second := w.Add("cart", nil), w.Add("till", nil)
		w.Del("till", nil)
		eni := w.ENIs()[0].ID
		err := w.Store().Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Begin(store.Intent{Op: store.OpAssign, ENI: "eni-77", Count: 3, PID: 4711})
			return errors.Join(err, tx.Fail(store.Failure{Network: "net", Class: "auth", Message: "no credentials"}))
		})
		if err != nil {
			t.Fatal(err)
		}
		table := w.ctl(0, "show")
		has(t, table, fmt.Sprintf("%s (%s) in %s: up to %d ENIs with 10 addresses each", w.Instance.ID, c.Medium.Type, clouds.Region, c.Medium.ENIs), eni, "10.0.0.0/24",
			"shop/cart (eth0 of cart in net)", "was eth0 of till in net", "assign 3 addresses to eni-77, by process 4711",
			"last failure, ", "s ago (auth): no credentials")
		for line := range strings.Lines(table) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == first.String() && f[2] != "assigned" ||
				len(f) > 2 && f[0] == second.String() && f[2] != "cooling" {
				t.Errorf("wrong state: %s", line)
			}
		}

		var v shown
		if err := json.Unmarshal([]byte(w.ctl(0, "show", "-o", "json")), &v); err != nil {
			t.Fatal(err)
		}
		if len(v.ENIs) != 1 || v.ENIs[0].Counts.Assigned != 1 || v.ENIs[0].Counts.Cooling != 1 || len(v.Addresses) != 8 ||
			len(v.Intents) != 1 || v.Failure == nil || v.Node == nil {
			t.Errorf("unexpected: %+v", v)
		}
	})
}

// An ENI that others detached is kept for its containers, and the operator is told what to do about them.
func TestShowOfALostENI(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Small, map[string]any{"batch": 5})
		for i := range 6 {
			w.Add(fmt.Sprint("c", i), nil)
		}
		lost := w.ENIs()[1].ID
		if err := w.DetachENI(lost); err != nil {
			t.Fatal(err)
		}
		w.ctl(1, "reconcile") // status 1: the ENIs have no link here
		has(t, w.ctl(0, "show"), "lost: "+lost, "make the containers with its 1 assigned addresses anew")
		has(t, w.ctl(0, "show", "-o", "json"), `"lost": true`, `"advice": "make the containers`)
		has(t, w.ctl(0, "metrics"), "enichain_lost_enis 1")
		w.Del("c5", nil)
		has(t, w.ctl(0, "show"), "What to do: nothing")
	})
}

func TestTheCommandLine(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, nil)
		has(t, w.ctl(2), "a command is missing")
		has(t, w.ctl(0, "help"), "drain [-undo] ENI", "-conflist")
		has(t, w.ctl(0, "drain", "-h"), "-undo")
		has(t, w.ctl(0, "-version"), "enictl of enichain")
		has(t, w.ctl(2, "shwo"), `there is no command "shwo"`)
		has(t, w.ctl(2, "show", "-x"), "-x")
		has(t, w.ctl(2, "show", "eni-1"), "takes no argument")
		has(t, w.ctl(2, "drain"), "drain takes one argument, not 0")
		has(t, w.ctl(1, "-network", "other", "show"), `no network "other" with eni-ipam`)
		has(t, w.ctl(1, "-conflist", filepath.Join(w.Dir, "none"), "show"), "none")
		bad := w.write("bad", map[string]any{"plugins": []any{map[string]any{"type": "x", "ipam": map[string]any{"type": "eni-ipam"}}}})
		has(t, w.ctl(1, "-conflist", bad, "show"), `"cloud" is missing`, "enictl lint")
	})
}

func TestOptionsMayStandBehindArguments(t *testing.T) {
	tool := &tool{}
	flags := flag.NewFlagSet("drain", flag.ContinueOnError)
	undo := flags.Bool("undo", false, "")
	rest, err := tool.parse(flags, []string{"eni-1", "-undo"}, 1, 1)
	if err != nil || len(rest) != 1 || rest[0] != "eni-1" || !*undo {
		t.Errorf("read as %v, %v: %v", rest, *undo, err)
	}
}
