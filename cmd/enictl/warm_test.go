package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
)

func TestWarm(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Small, nil)
		has(t, w.ctl(0, "warm", "7"), "7 addresses are free")
		if enis := w.ENIs(); len(enis) != 2 {
			t.Errorf("%d ENIs for 7 addresses, want 2", len(enis))
		}
		calls := w.Calls(c.Action(clouds.Assign))
		has(t, w.ctl(0, "warm", "3"), "7 addresses are free")
		if w.Calls(c.Action(clouds.Assign)) != calls {
			t.Error("the cloud was asked, with enough there")
		}
		all := c.Small.All()
		has(t, w.ctl(1, "warm", fmt.Sprint(all+1)), fmt.Sprintf("%d of %d addresses are free", all, all+1),
			fmt.Sprintf("%s takes %d ENIs", c.Small.Type, c.Small.ENIs))
		has(t, w.ctl(2, "warm", "many"), `"many" is no number`)
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Small, nil)
		has(t, w.ctl(0, "limits"), fmt.Sprintf("(%s): %d ENIs with 6 addresses each", c.Small.Type, c.Small.ENIs), fmt.Sprintf("containers: %d at the most", c.Small.All()))
		tests := []struct {
			name string
			want int
			more map[string]any
		}{
			{"all", c.Small.All(), nil},
			{"the primary ENI is left to the host", c.Small.All() - c.Small.Each, map[string]any{"firstDeviceIndex": 1}},
			{"fewer ENIs", c.Small.Each, map[string]any{"maxENIs": 1}},
			{"fewer addresses", 7, map[string]any{"maxIPs": 7}},
		}
		for _, tt := range tests {
			w.IPAM["firstDeviceIndex"], w.IPAM["maxENIs"], w.IPAM["maxIPs"] = 0, 0, 0
			for k, v := range tt.more {
				w.IPAM[k] = v
			}
			w.configure()
			if got := w.ctl(0, "maxpods"); got != fmt.Sprintln(tt.want) {
				t.Errorf("%s: %q, want %d", tt.name, got, tt.want)
			}
		}
		if got := w.ctl(0, "maxpods", "-host", "3"); got != "10\n" {
			t.Errorf("with 3 on the host's network: %q", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, nil)
		has(t, w.ctl(0, "metrics"), "enichain_open_intents 0\n")
		w.Add("c1", nil)
		eni := w.ENIs()[0].ID
		err := w.Store().Update(t.Context(), func(tx *store.Tx) error {
			pause := func(int) time.Duration { return time.Hour }
			return errors.Join(tx.Fail(store.Failure{Class: "quota"}), tx.LetRest("subnet/a\"b", "subnet-full", "", pause))
		})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(w.Dir, "enichain.prom")
		w.ctl(0, "metrics", "-o", file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		has(t, string(text), `enichain_addresses{eni="`+eni+`",family="ipv4",state="assigned"} 1`, `enichain_addresses{eni="`+eni+`",family="ipv4",state="free"} 7`,
			`enichain_resting_seconds{what="subnet/a\"b",class="subnet-full"} 3`, `enichain_last_failure_age_seconds{class="quota"} `,
			"# TYPE enichain_addresses gauge", fmt.Sprintf("enichain_eni_limit %d\n", c.Medium.ENIs))
		if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}
