package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
)

// each runs fn for the numbers below n, all at once, and joins the errors.
func each(n int, fn func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = fn(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// 64 ADDs of distinct containers at once, then their DELs, repeated: no address twice, none lost, nothing left. The
// plugins run with the race detector.
func TestManyAtOnce(t *testing.T) {
	for _, c := range clouds.All() { // one after the other: each has more to do than the machine has processors
		t.Run(c.Name, func(t *testing.T) { manyAtOnce(t, c) })
	}
}

func manyAtOnce(t *testing.T, c clouds.Cloud) {
	const containers, rounds = 64, 3
	l := upLab(t, lab.Options{Cloud: c.Name, Nodes: 1, InstanceType: c.Large.Type})
	n := l.Nodes[0]
	r := onNode(t, n, on(c.Name, fmt.Sprintf(whole, `, "cooldown": "0s"`, "")))
	var before []string
	for round := range rounds {
		ips := make([]netip.Addr, containers)
		if err := each(containers, func(i int) error {
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
		if err := each(containers, func(i int) error { return r.Check(t.Context(), fmt.Sprintf("r%d-c%d", round, i)) }); err != nil {
			t.Fatal(err)
		}
		if err := each(containers, func(i int) error { return r.Remove(t.Context(), fmt.Sprintf("r%d-c%d", round, i)) }); err != nil {
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
