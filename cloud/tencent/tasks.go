package tencent

import (
	"context"
	"errors"
	"fmt"
	"time"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
)

// How tasks and states are polled. The API allows 20 looks at a task a second, for all nodes of an account together.
const (
	pollFirst = 100 * time.Millisecond
	pollMost  = 2 * time.Second
	// patience bounds the wait for one change where the caller's context doesn't.
	patience = 2 * time.Minute
)

// poll is a pause that grows.
type poll struct{ next time.Duration }

func newPoll() *poll { return &poll{pollFirst} }

// wait waits for the next look, and says whether there is time left for one.
func (p *poll) wait(ctx context.Context) bool {
	pause := p.next
	p.next = min(p.next*3/2, pollMost)
	return sleep(ctx, pause)
}

// finished waits for the end of the task that a changing call began; the task's ID is the call's request ID. One that
// FAILED counts as not done, but whoever asked for it has to look. Where the task cannot be asked for, for want of a
// permission or because it is forgotten, it returns nil, and the states of what it changes have to tell.
func (a *api) finished(ctx context.Context, task string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	in := vpcsdk.NewDescribeVpcTaskResultRequest()
	in.TaskId = &task
	for p := newPoll(); ; {
		out, err := attempt(ctx, a, func(ctx context.Context) (*vpcsdk.DescribeVpcTaskResultResponse, error) {
			return a.vpc.DescribeVpcTaskResultWithContext(ctx, in)
		})
		switch {
		case err == nil && value(out.Response.Status) == "SUCCESS":
			return nil
		case err == nil && value(out.Response.Status) == "FAILED":
			return &cloud.Error{Class: cloud.Internal, Message: redact("the task failed: "+value(out.Response.Output), a.used), RequestID: task}
		case err != nil && (err.Class == cloud.Auth || err.Class == cloud.NotFound || err.Class == cloud.Invalid):
			return nil
		}
		if !p.wait(ctx) {
			return &cloud.Error{Class: cloud.Unreachable, Message: "the cloud's task has not ended in time", RequestID: task}
		}
	}
}

// await describes an ENI until done says so; nil is an ENI that is gone. What it waits for is named in the error.
func (a *api) await(ctx context.Context, id, what string, done func(*listed) bool) (*listed, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for p := newPoll(); ; {
		e, err := a.eni(ctx, id)
		if err != nil {
			return nil, err
		}
		if done(e) {
			return e, nil
		}
		if !p.wait(ctx) {
			return nil, &cloud.Error{Class: cloud.Unreachable, Message: fmt.Sprintf("%s is not %s in time", id, what)}
		}
	}
}

// classOfError is the class of the cloud's error in err; none where there is none.
func classOfError(err error) cloud.Class {
	var e *cloud.Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}
