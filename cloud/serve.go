package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
)

// Serve is the whole of a driver's main: it reads one request, makes a driver from the configuration in it (nil where
// there is none), calls it, and writes the answer. It returns the exit status: 0, or 1 where the answer is an error.
//
//	func main() { os.Exit(cloud.Serve(context.Background(), os.Stdin, os.Stdout, newDriver)) }
func Serve(ctx context.Context, stdin io.Reader, stdout io.Writer, newDriver func(config json.RawMessage) (Driver, error)) int {
	answer, err := handle(ctx, stdin, newDriver)
	if err != nil {
		answer = &Answer{Error: asError(err)}
	}
	answer.Protocol = Protocol
	if err := json.NewEncoder(stdout).Encode(answer); err != nil || answer.Error != nil {
		return 1
	}
	return 0
}

func handle(ctx context.Context, stdin io.Reader, newDriver func(json.RawMessage) (Driver, error)) (answer *Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "%s\npanic: %v\n", debug.Stack(), p)
			err = &Error{Class: Internal, Message: fmt.Sprintf("the driver panicked: %v", p)}
		}
	}()
	req, err := decodeRequest(stdin)
	if err != nil {
		return nil, err
	}
	if req.TimeoutMillis > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.TimeoutMillis)*time.Millisecond)
		defer cancel()
	}
	d, err := newDriver(req.Config)
	if err != nil {
		if errors.As(err, new(*Error)) {
			return nil, err
		}
		return nil, invalid("read the driver's configuration", err)
	}
	return call(ctx, d, req)
}

func call(ctx context.Context, d Driver, req *Request) (*Answer, error) {
	a := &Answer{}
	var err error
	switch req.Op {
	case OpNode:
		a.Node, err = d.Node(ctx)
	case OpENIs:
		a.ENIs, err = d.ENIs(ctx, req.InstanceID)
	case OpLimits:
		var l Limits
		l, err = d.Limits(ctx, req.InstanceType)
		a.Limits = &l
	case OpAssign:
		a.Addresses, err = d.Assign(ctx, req.ENI, req.Count)
	case OpUnassign:
		err = d.Unassign(ctx, req.ENI, req.Addresses)
	case OpAssignPrefixes:
		a.Prefixes, err = d.AssignPrefixes(ctx, req.ENI, req.Count)
	case OpUnassignPrefixes:
		err = d.UnassignPrefixes(ctx, req.ENI, req.Prefixes)
	case OpAssignIPv6:
		a.Addresses, err = d.AssignIPv6(ctx, req.ENI, req.Count)
	case OpAssignIPv6Prefixes:
		a.Prefixes, err = d.AssignIPv6Prefixes(ctx, req.ENI, req.Count)
	case OpSubnets:
		a.Subnets, err = d.Subnets(ctx, *req.Query)
	case OpCreateENI:
		a.ENI, err = d.CreateENI(ctx, *req.Create)
	case OpDeleteENI:
		err = d.DeleteENI(ctx, req.InstanceID, req.ENI)
	case OpTaggedENIs:
		a.ENIs, err = d.TaggedENIs(ctx, req.Tags)
	}
	return a, err
}

// asError returns the *Error in err, or makes one.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{Class: Unreachable, Message: err.Error()}
	}
	return &Error{Class: Internal, Message: err.Error()}
}
