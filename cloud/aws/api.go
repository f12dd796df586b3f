package aws

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/enichain/enichain/cloud"
)

// How calls of the API are repeated. AWS throttles an account's calls to some 5 to 20 a second, all its nodes together,
// so those that are throttled spread out.
const (
	attempts       = 6
	attemptTimeout = 15 * time.Second
	backoffFirst   = 300 * time.Millisecond
	backoffMost    = 5 * time.Second
)

// api is the EC2 API of a region, with the credentials that sign for it.
type api struct {
	*ec2.Client
	used awssdk.Credentials
	at   string // where it is, for an error that has no answer to quote
}

// connect returns the API. The credentials are fetched first, so that their failure is told from the API's.
func (d *Driver) connect(ctx context.Context) (*api, error) {
	region := d.config.Region
	if region == "" {
		var err error
		if region, err = d.read(ctx, "placement/region"); err != nil {
			return nil, metadataError(err)
		}
	}
	used, err := d.credentials.Retrieve(ctx)
	if err != nil {
		return nil, credentialsError(err)
	}
	options := ec2.Options{
		Region:      region,
		Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) { return used, nil }),
		HTTPClient:  awshttp.NewBuildableClient(), // with the environment's proxy
		Retryer:     awssdk.NopRetryer{},          // call repeats, and knows what may be repeated
		AppID:       "enichain",
	}
	at := "in " + region
	if d.config.EC2Endpoint != "" {
		options.BaseEndpoint, at = &d.config.EC2Endpoint, "at "+d.config.EC2Endpoint
	}
	return &api{ec2.New(options), used, at}, nil
}

// credentialsError is for a metadata service that gave no credentials: there may be none, or no answer.
func credentialsError(err error) *cloud.Error {
	e := metadataError(err)
	if e.Class == cloud.Internal {
		e.Class = cloud.Auth
	}
	e.Message = "no credentials: AWS_ACCESS_KEY_ID is not set and the instance's role gives none (is a role attached?): " + e.Message
	return e
}

// read calls what changes nothing, and repeats it after any failure that may pass.
func (a *api) read(ctx context.Context, call func(context.Context) error) error {
	return a.call(ctx, call, func(c cloud.Class) bool {
		return c == cloud.Throttled || c == cloud.Unreachable || c == cloud.Internal
	})
}

// tokened calls what changes something and carries a client token, and so makes at a repetition what it made before.
func (a *api) tokened(ctx context.Context, call func(context.Context) error) error {
	return a.read(ctx, call)
}

// change calls what changes something, and repeats it only after an answer that proves that nothing was done: EC2's
// Assign has no client token, and the SDK's own retry after a lost answer assigns twice as many.
func (a *api) change(ctx context.Context, call func(context.Context) error) error {
	return a.call(ctx, call, func(c cloud.Class) bool { return c == cloud.Throttled })
}

// call makes attempts until one succeeds, fails for good, or the next could not begin within the context's deadline.
func (a *api) call(ctx context.Context, do func(context.Context) error, repeat func(cloud.Class) bool) error {
	var before *cloud.Error
	for n := 0; ; n++ {
		err := attempt(ctx, do)
		if err == nil {
			return nil
		}
		failed := classify(err, a.used)
		if failed.Class == cloud.Unreachable {
			failed.Message = fmt.Sprintf("the EC2 API %s: %s", a.at, failed.Message)
		}
		if ctx.Err() != nil && before != nil { // the time is over, and this is what took it
			failed.Message += "; before that: " + before.Error()
		}
		before = failed
		if n == attempts-1 || !repeat(failed.Class) || !pause(ctx, n) {
			return failed
		}
	}
}

func attempt(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return do(ctx)
}

// pause waits a random time that grows with the attempts, and says whether there is time left for another.
func pause(ctx context.Context, n int) bool {
	return sleep(ctx, backoffFirst/2+rand.N(min(backoffFirst<<n, backoffMost)))
}

// sleep waits, and says whether there is time left for more.
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
