package tencent

import (
	"context"
	"net/url"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	cvmsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/cvm/v20170312"
	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
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

// clientProfile leaves time-outs to the context and repetitions to package call, which knows what may be repeated.
func clientProfile(endpoint *url.URL) *profile.ClientProfile {
	p := profile.NewClientProfile()
	p.HttpProfile.Endpoint, p.HttpProfile.Scheme, p.HttpProfile.ReqTimeout = endpoint.Host, endpoint.Scheme, 0
	p.Language = "en-US"
	p.DisableRegionBreaker = true // it would change the endpoint
	return p
}

// read calls what changes nothing, and repeats it after any failure that may pass.
func read[A any](ctx context.Context, a *api, do func(context.Context) (A, error)) (answer A, err error) {
	err = call.Read(ctx, classified(a, do, &answer))
	return answer, err
}

// change calls what changes something, and repeats it only after an answer that proves that nothing was done.
func change[A any](ctx context.Context, a *api, do func(context.Context) (A, error)) (answer A, err error) {
	err = call.Change(ctx, classified(a, do, &answer))
	return answer, err
}

// classified is a call that keeps its answer, and whose failure is of a class.
func classified[A any](a *api, do func(context.Context) (A, error), answer *A) func(context.Context) *cloud.Error {
	return func(ctx context.Context) *cloud.Error {
		var err error
		if *answer, err = do(ctx); err != nil {
			return classify(err, a.used)
		}
		return nil
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
