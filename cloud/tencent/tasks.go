package tencent

import (
	"context"
	"fmt"
	"time"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// patience bounds the wait for one change where the caller's context doesn't.
const patience = 2 * time.Minute

// finished waits for the end of the task that a changing call began (the API allows 20 looks a second, for all nodes of an
// account together); the task's ID is the call's request ID. One that
// FAILED counts as not done, but whoever asked for it has to look. Where the task cannot be asked for, for want of a
// permission or because it is forgotten, it returns nil, and the states of what it changes have to tell.
func (a *api) finished(ctx context.Context, task string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	in := vpcsdk.NewDescribeVpcTaskResultRequest()
	in.TaskId = &task
	for p := (call.Poll{}); ; {
		var out *vpcsdk.DescribeVpcTaskResultResponse
		err := call.Once(ctx, classified(a, func(ctx context.Context) (*vpcsdk.DescribeVpcTaskResultResponse, error) {
			return a.vpc.DescribeVpcTaskResultWithContext(ctx, in)
		}, &out))
		switch {
		case err == nil && value(out.Response.Status) == "SUCCESS":
			return nil
		case err == nil && value(out.Response.Status) == "FAILED":
			return &cloud.Error{Class: cloud.Internal, Message: call.Redact("the task failed: "+value(out.Response.Output), a.used.key, a.used.token), RequestID: task}
		case err != nil && (err.Class == cloud.Auth || err.Class == cloud.NotFound || err.Class == cloud.Invalid):
			return nil
		}
		if !p.Wait(ctx) {
			return &cloud.Error{Class: cloud.Unreachable, Message: "the cloud's task has not ended in time", RequestID: task}
		}
	}
}

// await describes an ENI until done says so; nil is an ENI that is gone. What it waits for is named in the error.
func (a *api) await(ctx context.Context, id, what string, done func(*listed) bool) (*listed, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for p := (call.Poll{}); ; {
		e, err := a.eni(ctx, id)
		if err != nil {
			return nil, err
		}
		if done(e) {
			return e, nil
		}
		if !p.Wait(ctx) {
			return nil, &cloud.Error{Class: cloud.Unreachable, Message: fmt.Sprintf("%s is not %s in time", id, what)}
		}
	}
}
