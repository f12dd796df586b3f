package aws_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/test/vpcsim"
)

// trouble is one thing that goes wrong.
func trouble(r *rand.Rand, changes []string) vpcsim.Fault {
	actions := append(slices.Clone(changes), "DescribeNetworkInterfaces", "DescribeSubnets")
	f := vpcsim.Fault{Action: actions[r.IntN(len(actions))], Times: 1 + r.IntN(2)}
	switch r.IntN(5) {
	case 0:
		f.AfterEffect = true // the answer is lost
	case 1:
		f.Code, f.AfterEffect = "InternalError", true
	case 2:
		f.Code = "InternalError"
	case 3:
		f.Code = "RequestLimitExceeded"
	case 4:
		f.Delay = 500 * time.Millisecond
	}
	return f
}

// until repeats a call, each time with little time and more trouble, until it succeeds. What fails has to be what may
// pass.
func until(t *testing.T, s *site, r *rand.Rand, call func(context.Context) error) {
	t.Helper()
	const tries = 40
	for n := range tries {
		s.ClearFaults()
		for range r.IntN(max(1, 4-n/4)) {
			s.Inject(trouble(r, s.Changes))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+r.IntN(1000+200*n))*time.Millisecond)
		err := call(ctx)
		cancel()
		switch {
		case err == nil:
			s.ClearFaults()
			return
		case n == tries-1:
			t.Fatalf("still fails after %d tries: %v", tries, err)
		}
		var failed *cloud.Error
		if !errors.As(err, &failed) || !failed.Class.Temporary() {
			t.Fatalf("want an error that may pass, got %v", err)
		}
	}
}

// Whatever goes wrong, with tokens and repetitions there is one ENI after CreateENI, and none after DeleteENI.
func TestRandomTroubles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(24) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, seed))
			s := newSite(t)
			before := len(s.AllENIs())
			some := func() time.Duration { return time.Duration(r.IntN(100)) * time.Millisecond }
			s.SetDelays(vpcsim.Delays{Create: some(), Attach: some(), Detach: some(), Visible: some()})
			d := s.driver(t, nil)
			var made *cloud.ENI
			until(t, s, r, func(ctx context.Context) (err error) {
				made, err = d.CreateENI(ctx, s.wanted("t"))
				return err
			})
			if err := s.complete("t"); err != nil {
				t.Error(err)
			}
			until(t, s, r, func(ctx context.Context) error { return d.DeleteENI(ctx, s.Instance.ID, made.ID) })
			if left := len(s.AllENIs()); left != before {
				t.Errorf("ENIs of the account: %d before, %d after", before, left)
			}
		})
	}
}
