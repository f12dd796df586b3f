package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/enichain/enichain/test/clouds"
)

// byPrefixes is a node whose containers get addresses of prefixes.
func byPrefixes(t *testing.T, size clouds.Size) *world {
	t.Helper()
	return newWorld(t, clouds.AWS(), size, map[string]any{"prefixes": true})
}

func TestShowPrefixes(t *testing.T) {
	t.Parallel()
	w := byPrefixes(t, clouds.AWS().Small)
	ip := w.Add("c1", nil)
	eni := w.ENIs()[0]
	has(t, w.ctl(0, "show"), "PREFIX", eni.Prefixes[0].String()+"  "+eni.ID+"  15    1")
	var v shown
	if err := json.Unmarshal([]byte(w.ctl(0, "show", "-o", "json")), &v); err != nil {
		t.Fatal(err)
	}
	want := prefixUse{Prefix: eni.Prefixes[0], ENI: eni.ID, Free: 15, Assigned: 1}
	if len(v.Prefixes) != 1 || v.Prefixes[0] != want || !want.Prefix.Contains(ip) || v.Addresses[0].Prefix != want.Prefix {
		t.Errorf("%+v, want %+v", v.Prefixes, want)
	}
	has(t, w.ctl(0, "metrics"), fmt.Sprintf("enichain_prefixes{eni=%q,family=\"ipv4\",state=\"free\"} 0", eni.ID), fmt.Sprintf("enichain_prefixes{eni=%q,family=\"ipv4\",state=\"used\"} 1", eni.ID))
}

// A subnet without room for prefixes is said, with the cloud's own word for it.
func TestShowSaysWhatHasNoPrefixes(t *testing.T) {
	t.Parallel()
	w := byPrefixes(t, clouds.AWS().Small)
	if err := w.FragmentSubnet("subnet-0"); err != nil {
		t.Fatal(err)
	}
	w.Add("c1", nil)
	has(t, w.ctl(0, "show"), "resting for", "prefixes/subnet-0 (subnet-full", "InsufficientCidrBlocks")
}

func TestLimitsWithPrefixes(t *testing.T) {
	t.Parallel()
	w := byPrefixes(t, clouds.AWS().Small) // 3 ENIs with 5 places each
	has(t, w.ctl(0, "limits"), "6 addresses each, the primary one counted; each other may be a prefix of 16", "containers: 240 at the most; AWS advises")
	if got := w.ctl(0, "maxpods", "-uncapped", "-host", "2"); got != "242\n" {
		t.Errorf("maxpods -uncapped: %q", got)
	}
	w.IPAM["maxIPs"] = 40
	w.configure()
	if got := w.ctl(0, "maxpods", "-host", "2"); got != "42\n" {
		t.Errorf("maxpods with fewer addresses: %q", got)
	}
	for cpus, want := range map[int]int{2: 110, 29: 110, 30: 250, 96: 250} {
		if got := advisedPods(cpus); got != want {
			t.Errorf("%d CPUs: %d pods, want %d", cpus, got, want)
		}
	}
	old := byPrefixes(t, clouds.AWS().Old)
	has(t, old.ctl(0, "limits"), "the instance type takes no prefixes", "containers: 15 at the most\n")
	has(t, old.ctl(1, "doctor"), `"prefixes" is true, and t2.medium takes none`)
}

// Prefixes of an ENI that is drained go back; one of which a container has an address keeps it.
func TestDrainWithPrefixes(t *testing.T) {
	t.Parallel()
	w := byPrefixes(t, clouds.AWS().Small)
	w.ctl(0, "warm", "40")
	w.Add("c1", nil)
	eni := w.ENIs()[0]
	has(t, w.ctl(1, "drain", eni.ID), "1 are still in use", "shop/c1")
	if held := w.ENIs()[0].Prefixes; len(held) != 1 {
		t.Errorf("it has %v still", held)
	}
	w.Del("c1", map[string]any{"cooldown": "0s"})
	has(t, w.ctl(0, "drain", eni.ID), eni.ID+" is empty")
	w.Agree()
}

func TestReconcileWithPrefixes(t *testing.T) {
	t.Parallel()
	w := byPrefixes(t, clouds.AWS().Small)
	w.Add("c1", nil)
	eni := w.ENIs()[0].ID
	added, err := w.AddPrefixes(eni, 1)
	if err != nil {
		t.Fatal(err)
	}
	has(t, w.ctl(1, "reconcile", "-dry-run"), fmt.Sprintf("the store would have got %s of %s", added[0], eni))
	has(t, w.ctl(1, "reconcile"), fmt.Sprintf("the store got %s of %s", added[0], eni)) // status 1: the ENI has no link here
	w.Agree()
}

func TestLintKnowsWhoHasPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clouds.Tencent(), clouds.Tencent().Small, nil)
	w.IPAM["prefixes"] = true
	w.configure()
	has(t, w.ctl(1, "lint", filepath.Join(w.Dir, "10-test.conflist")), `plugins[0].ipam: "prefixes" is true, and tencent has none: leave it out`)
}
