package tencent

import (
	"context"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	cvmsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/cvm/v20170312"
	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
)

// How calls of the API are repeated. Its rates are 20 to 100 calls a second for an account and region, all its nodes
// together, so those that are refused for the rate spread out.
const (
	attempts       = 6
	attemptTimeout = 15 * time.Second
	backoffFirst   = 300 * time.Millisecond
	backoffMost    = 5 * time.Second
)

// api is the VPC and the CVM API of a region, with the credentials that sign for them.
type api struct {
	vpc  *vpcsdk.Client
	cvm  *cvmsdk.Client
	used credential
}

// connect returns the API. The credentials are fetched first, so that their failure is told from the API's.
func (d *Driver) connect(ctx context.Context) (*api, error) {
	region := d.region
	if region == "" {
		var err error
		if region, err = d.metadata.read(ctx, "placement/region"); err != nil {
			return nil, metadataError(err)
		}
	}
	used, err := d.credentials.get(ctx)
	if err != nil {
		return nil, err
	}
	signer := common.NewTokenCredential(used.id, used.key, used.token)
	vpc, err := vpcsdk.NewClient(signer, region, clientProfile(d.vpc))
	if err != nil {
		return nil, classify(err, used)
	}
	cvm, err := cvmsdk.NewClient(signer, region, clientProfile(d.cvm))
	if err != nil {
		return nil, classify(err, used)
	}
	return &api{vpc, cvm, used}, nil
}

// clientProfile leaves time-outs to the context and repetitions to call, which knows what may be repeated.
func clientProfile(endpoint *url.URL) *profile.ClientProfile {
	p := profile.NewClientProfile()
	p.HttpProfile.Endpoint, p.HttpProfile.Scheme, p.HttpProfile.ReqTimeout = endpoint.Host, endpoint.Scheme, 0
	p.Language = "en-US"
	p.DisableRegionBreaker = true // it would change the endpoint
	return p
}

// read calls what changes nothing, and repeats it after any failure that may pass.
func read[A any](ctx context.Context, a *api, do func(context.Context) (A, error)) (A, error) {
	return call(ctx, a, do, func(c cloud.Class) bool {
		return c == cloud.Throttled || c == cloud.Unreachable || c == cloud.Internal
	})
}

// change calls what changes something, and repeats it only after an answer that proves that nothing was done.
func change[A any](ctx context.Context, a *api, do func(context.Context) (A, error)) (A, error) {
	return call(ctx, a, do, func(c cloud.Class) bool { return c == cloud.Throttled })
}

// call makes attempts until one succeeds, fails for good, or the next could not begin within the context's deadline.
func call[A any](ctx context.Context, a *api, do func(context.Context) (A, error), repeat func(cloud.Class) bool) (A, error) {
	for n := 0; ; n++ {
		answer, err := attempt(ctx, a, do)
		if err == nil {
			return answer, nil
		}
		wait := backoffFirst/2 + rand.N(min(backoffFirst<<n, backoffMost))
		if n == attempts-1 || !repeat(err.Class) || !sleep(ctx, wait) {
			return answer, err
		}
	}
}

// attempt makes one call.
func attempt[A any](ctx context.Context, a *api, do func(context.Context) (A, error)) (A, *cloud.Error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	answer, err := do(ctx)
	if err != nil {
		return answer, classify(err, a.used)
	}
	return answer, nil
}

// sleep waits, and says whether there is time left for anything after it.
func sleep(ctx context.Context, wait time.Duration) bool {
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

// value is what an optional field of an answer has, or zero.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
