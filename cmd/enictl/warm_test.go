package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/enichain/enichain/core/store"
)

func TestWarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", nil) // 3 ENIs with 5 secondary addresses each
	has(t, w.ctl(0, "warm", "7"), "7 addresses are free")
	if enis := w.ENIs(w.instance.ID); len(enis) != 2 {
		t.Errorf("%d ENIs for 7 addresses, want 2", len(enis))
	}
	calls := w.Calls("AssignPrivateIpAddresses")
	has(t, w.ctl(0, "warm", "3"), "7 addresses are free")
	if w.Calls("AssignPrivateIpAddresses") != calls {
		t.Error("the cloud was asked, with enough there")
	}
	has(t, w.ctl(1, "warm", "16"), "15 of 16 addresses are free", "t3.medium takes 3 ENIs")
	has(t, w.ctl(2, "warm", "many"), `"many" is no number`)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "t3.medium", nil)
	has(t, w.ctl(0, "limits"), "(t3.medium): 3 ENIs with 6 addresses each", "containers: 15 at the most")
	tests := []struct {
		name, want string
		more       map[string]any
	}{
		{"all", "15\n", nil},
		{"the primary ENI is left to the host", "10\n", map[string]any{"firstDeviceIndex": 1}},
		{"fewer ENIs", "10\n", map[string]any{"maxENIs": 2}},
		{"fewer addresses", "7\n", map[string]any{"maxIPs": 7}},
	}
	for _, tt := range tests {
		w.ipam["firstDeviceIndex"], w.ipam["maxENIs"], w.ipam["maxIPs"] = 0, 0, 0
		for k, v := range tt.more {
			w.ipam[k] = v
		}
		w.write("10-test.conflist", w.conflist())
		if got := w.ctl(0, "maxpods"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := w.ctl(0, "maxpods", "-host", "3"); got != "10\n" {
		t.Errorf("with 3 on the host's network: %q", got)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", nil)
	has(t, w.ctl(0, "metrics"), "enichain_open_intents 0\n")
	w.add("c1")
	eni := w.ENIs(w.instance.ID)[0].ID
	err := w.store().Update(t.Context(), func(tx *store.Tx) error {
		pause := func(int) time.Duration { return time.Hour }
		return errors.Join(tx.Fail(store.Failure{Class: "quota"}), tx.LetRest("subnet/a\"b", "subnet-full", "", pause))
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "enichain.prom")
	w.ctl(0, "metrics", "-o", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(text), `enichain_addresses{eni="`+eni+`",state="assigned"} 1`, `enichain_addresses{eni="`+eni+`",state="free"} 7`,
		`enichain_resting_seconds{what="subnet/a\"b",class="subnet-full"} 3`, `enichain_last_failure_age_seconds{class="quota"} `,
		"# TYPE enichain_addresses gauge", "enichain_eni_limit 3\n")
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
