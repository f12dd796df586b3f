package supply

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
)

// How long things rest after a failure.
const (
	restSubnetFull = 10 * time.Minute
	restQuota      = time.Minute
	restThrottled  = 200 * time.Millisecond // doubled with each failure in a row
	restLongest    = 30 * time.Second
)

// heed makes what failed rest, for all processes, where its error says that trying again at once is no use; a success
// wakes it. It returns err.
func (s *Supply) heed(ctx context.Context, what string, err error) error {
	class := cloud.ClassOf(err)
	pause, rests := pauseAfter(class)
	switch {
	case err != nil && !rests, what != restAPI && class == cloud.Throttled:
		return err
	case what == restAPI && class != cloud.Throttled && err != nil:
		return err // the others have rests of their own
	}
	return s.join(ctx, err, func(tx *store.Tx) error {
		if err == nil {
			return tx.Wake(what)
		}
		return tx.LetRest(what, string(class), err.Error(), pause)
	})
}

// pauseAfter returns how long a failure of the class makes a thing rest, by the number of failures in a row.
func pauseAfter(class cloud.Class) (pause func(attempts int) time.Duration, rests bool) {
	switch class {
	case cloud.SubnetFull:
		return func(int) time.Duration { return restSubnetFull }, true
	case cloud.Quota, cloud.Unsupported:
		return func(int) time.Duration { return restQuota }, true
	case cloud.Throttled:
		return throttledPause, true
	}
	return nil, false
}

// throttledPause doubles with each failure in a row, and is drawn from its upper half: those who share a limit spread out.
func throttledPause(attempts int) time.Duration {
	longest := min(restLongest, restThrottled<<min(attempts-1, 10))
	return longest/2 + rand.N(longest/2)
}

// sleepOut waits until a rest is over. Where ctx ends before, it says so at once, for waiting would be no use.
func (s *Supply) sleepOut(ctx context.Context, rest store.Rest) error {
	left := rest.Until - s.store.Now()
	if left <= 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < left {
		return &cloud.Error{
			Class:   cloud.Class(rest.Class),
			Message: fmt.Sprintf("%s; nothing is asked for %s", rest.Reason, left.Round(time.Millisecond)),
		}
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join records something of a failure, and returns it with what went wrong in recording.
func (s *Supply) join(ctx context.Context, err error, record func(*store.Tx) error) error {
	return errors.Join(err, s.store.Update(ctx, record))
}
