package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// How an ENI's way from state to state is followed: by describing it. The SDK's waiters sleep 10 s and more.
const (
	// settleTimeout bounds it where the caller's context does not. Attaching takes EC2 a few seconds.
	settleTimeout = 2 * time.Minute
	// visibleAfter is how long an ENI may be unknown after it was made (EC2 API Reference, "Eventual consistency").
	visibleAfter = 10 * time.Second
	// unclear is how many changes of one ENI may fail with their outcome unknown.
	unclear = 3
)

// errAgain says that an ENI is on its way and is to be looked at again.
var errAgain = errors.New("still on its way")

// journey is one ENI's way from state to state.
type journey struct {
	*api
	id      string
	unclear int   // changes whose outcome was unknown
	last    error // why the last change is to be followed by another look
}

// follow describes the ENI again and again, with growing pauses, and calls step with what is found, until step returns
// something else than errAgain. An ENI that EC2 does not know has the error of class NotFound with it.
func (j *journey) follow(ctx context.Context, doing string, step func(ctx context.Context, e listed, err error) error) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for p := (call.Poll{}); ; {
		e, err := j.eni(ctx, j.id)
		if err != nil && cloud.ClassOf(err) != cloud.NotFound {
			return err
		}
		if err = step(ctx, e, err); !errors.Is(err, errAgain) {
			return err
		}
		if !p.Wait(ctx) {
			return j.late(doing, e)
		}
	}
}

// late says what there was no time left for.
func (j *journey) late(doing string, e listed) error {
	state := "not known to EC2 yet"
	if e.State != "" {
		state = string(e.State)
	}
	failed := &cloud.Error{Class: cloud.Unreachable, Message: fmt.Sprintf("%s %s: no end in time, it is %s", doing, j.id, state)}
	if j.last != nil {
		failed.Message += ", after " + j.last.Error()
	}
	return failed
}

// again has the ENI looked at again after a change that failed.
func (j *journey) again(err error) error {
	if err != nil {
		j.last = err
	}
	return errAgain
}

// look decides about a change that failed: where its outcome is unknown, a look at the ENI tells.
func (j *journey) look(err error) error {
	if cloud.ClassOf(err).Ambiguous() {
		if j.unclear++; j.unclear <= unclear {
			return j.again(err)
		}
	}
	return err
}

// hasCode says whether an error has one of EC2's codes.
func hasCode(err error, codes ...string) bool { return slices.Contains(codes, cloud.CodeOf(err)) }
