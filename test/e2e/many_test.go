package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
)

// 64 ADDs of distinct containers at once, then their DELs, and again: no address twice, none lost, nothing left.
func TestManyAtOnce(t *testing.T) {
	for _, c := range clouds.All() { // one after the other: each has more to do than the machine has processors
		t.Run(c.Name, func(t *testing.T) { manyAtOnce(t, c) })
	}
}

// The programs with the race detector, several at once, with refills that nobody waits for: those write down what they find.
func TestNoDataRaces(t *testing.T) {
	racing, err := chain.BuildRacing()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := racing.Remove(); err != nil {
			t.Error(err)
		}
	})
	reports := t.TempDir()
	t.Setenv("GORACE", "atexit_sleep_ms=0 log_path="+filepath.Join(reports, "race"))
	for _, c := range clouds.All() {
		t.Run(c.Name, func(t *testing.T) {
			n := upLab(t, lab.Options{Cloud: c.Name, Nodes: 1}).Nodes[0]
			warm := `, "cooldown": "0s", "warm": {"min": 1, "target": 2, "max": 4}`
			r, err := chain.NewRuntime(n, racing, []byte(on(c.Name, fmt.Sprintf(whole, warm, ""))))
			if err != nil {
				t.Fatal(err)
			}
			run := func(ctx context.Context, id string, options ...chain.Option) error {
				_, err := r.Run(ctx, id, options...)
				return err
			}
			for _, do := range []func(context.Context, string, ...chain.Option) error{run, r.Check, r.Remove} {
				if err := chain.Each(8, 8, func(i int) error { return do(t.Context(), fmt.Sprint("c", i)) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := racing.AwaitEnd(); err != nil {
				t.Error(err)
			}
		})
	}
	found, err := filepath.Glob(filepath.Join(reports, "*"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range found {
		report, err := os.ReadFile(path)
		t.Errorf("a race: %s, %v", report, err)
	}
}

func manyAtOnce(t *testing.T, c clouds.Cloud) {
	const containers, rounds = 64, 2
	l := upLab(t, lab.Options{Cloud: c.Name, Nodes: 1, InstanceType: c.Large.Type})
	n := l.Nodes[0]
	r := onNode(t, n, on(c.Name, fmt.Sprintf(whole, `, "cooldown": "0s"`, "")))
	var before []string
	for round := range rounds {
		ips := make([]netip.Addr, containers)
		if err := chain.Each(containers, containers, func(i int) error {
			result, err := r.Run(t.Context(), fmt.Sprintf("r%d-c%d", round, i))
			if err == nil {
				ips[i] = chain.IP(result)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(ips, netip.Addr.Compare)
		if distinct := len(slices.Compact(slices.Clone(ips))); distinct != containers {
			t.Fatalf("round %d: %d addresses for %d containers: %v", round, distinct, containers, ips)
		}
		if err := chain.Each(containers, containers, func(i int) error { return r.Check(t.Context(), fmt.Sprintf("r%d-c%d", round, i)) }); err != nil {
			t.Fatal(err)
		}
		if err := chain.Each(containers, containers, func(i int) error { return r.Remove(t.Context(), fmt.Sprintf("r%d-c%d", round, i)) }); err != nil {
			t.Fatal(err)
		}
		after, err := chain.Snapshot(t.Context(), n, dataDir)
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			before = after // the first round prepares the ENIs
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("round %d left (-before +after):\n%s", round, diff)
		}
	}
	// 64 wait for the first assignment of each ENI: a call for each at the most, and not 64.
	if calls := l.VPC.Calls("AssignPrivateIpAddresses"); calls > 6 {
		t.Errorf("%d calls to assign addresses for %d containers", calls, containers)
	}
	if owners, err := chain.Owners(t.Context(), n, dataDir); err != nil || len(owners) > 0 {
		t.Errorf("owners in the end: %v, %v", owners, err)
	}
}
