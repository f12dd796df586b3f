// Package call is how a driver calls its cloud's API: it repeats what may be repeated, looks again and again at what goes
// on after an answer, and keeps secrets out of errors.
package call

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/enichain/enichain/cloud"
)

// How calls are repeated. The clouds allow an account, all its nodes together, some 5 to 100 calls a second, so those that
// are refused for the rate spread out.
const (
	attempts       = 6
	attemptTimeout = 15 * time.Second
	backoffFirst   = 300 * time.Millisecond
	backoffMost    = 5 * time.Second
)

// Read makes a call that changes nothing, or that the cloud knows again by its token, and repeats it after any failure that
// may pass.
func Read(ctx context.Context, do func(context.Context) *cloud.Error) error {
	return repeated(ctx, do, func(c cloud.Class) bool {
		return c == cloud.Throttled || c == cloud.Unreachable || c == cloud.Internal
	})
}

// Change makes a call that changes something, and repeats it only after an answer that proves that nothing was done.
func Change(ctx context.Context, do func(context.Context) *cloud.Error) error {
	return repeated(ctx, do, func(c cloud.Class) bool { return c == cloud.Throttled })
}

// Once makes one attempt, which is given up after a while.
func Once(ctx context.Context, do func(context.Context) *cloud.Error) *cloud.Error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return do(ctx)
}

// repeated makes attempts until one succeeds, fails for good, or the next could not begin within the context's deadline.
func repeated(ctx context.Context, do func(context.Context) *cloud.Error, again func(cloud.Class) bool) error {
	var before *cloud.Error
	for n := 0; ; n++ {
		failed := Once(ctx, do)
		if failed == nil {
			return nil
		}
		if ctx.Err() != nil && before != nil { // the time is over, and this is what took it
			failed.Message += "; before that: " + before.Error()
		}
		before = failed
		if n == attempts-1 || !again(failed.Class) || !Sleep(ctx, pause(n)) {
			return failed
		}
	}
}

// pause is how long to wait after the attempt n, from 0: longer each time, and never the same for two processes, which would
// else come back together.
func pause(n int) time.Duration { return backoffFirst/2 + rand.N(min(backoffFirst<<n, backoffMost)) }

// Sleep waits, and says whether there is time left for anything after it.
func Sleep(ctx context.Context, wait time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// The pauses between two looks at what is on its way.
const (
	pollFirst = 100 * time.Millisecond
	pollMost  = 2 * time.Second
)

// Poll is a pause that grows. Its zero value is the first.
type Poll struct{ next time.Duration }

// Wait waits for the next look, and says whether there is time left for one.
func (p *Poll) Wait(ctx context.Context) bool {
	pause := max(p.next, pollFirst)
	p.next = min(pause*3/2, pollMost)
	return Sleep(ctx, pause)
}

// maxErrorText bounds a message, in bytes: an UnauthorizedOperation of EC2 carries an encoded document of some 1000.
const maxErrorText = 2 << 10

// Redact takes what is secret out of a message, and most of what is very long: an API or a proxy may quote the request.
func Redact(message string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			message = strings.ReplaceAll(message, secret, "[secret]")
			message = strings.ReplaceAll(message, url.QueryEscape(secret), "[secret]")
		}
	}
	if len(message) > maxErrorText {
		message = strings.ToValidUTF8(message[:maxErrorText], "") + "..."
	}
	return message
}
