package aws

import (
	"context"
	"fmt"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
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
			return nil, d.metadataError(err)
		}
	}
	used, err := d.credentials.Retrieve(ctx)
	if err != nil {
		return nil, d.credentialsError(err)
	}
	options := ec2.Options{
		Region:      region,
		Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) { return used, nil }),
		HTTPClient:  awshttp.NewBuildableClient(), // with the environment's proxy
		Retryer:     awssdk.NopRetryer{},          // package call repeats, and knows what may be repeated
		AppID:       "enichain",
	}
	at := "in " + region
	if d.config.EC2Endpoint != "" {
		options.BaseEndpoint, at = &d.config.EC2Endpoint, "at "+d.config.EC2Endpoint
	}
	return &api{ec2.New(options), used, at}, nil
}

// credentialsError is for a metadata service that gave no credentials: there may be none, or no answer.
func (d *Driver) credentialsError(err error) *cloud.Error {
	e := d.metadataError(err)
	if e.Class == cloud.Internal {
		e.Class = cloud.Auth
	}
	e.Message = "no credentials: AWS_ACCESS_KEY_ID is not set and the instance's role gives none (is a role attached?): " + e.Message
	return e
}

// read calls what changes nothing, and repeats it after any failure that may pass.
func (a *api) read(ctx context.Context, do func(context.Context) error) error {
	return call.Read(ctx, a.classified(do))
}

// tokened calls what changes something and carries a client token, and so makes at a repetition what it made before.
func (a *api) tokened(ctx context.Context, do func(context.Context) error) error {
	return a.read(ctx, do)
}

// change calls what changes something, and repeats it only after an answer that proves that nothing was done: EC2's
// Assign has no client token, and the SDK's own retry after a lost answer assigns twice as many.
func (a *api) change(ctx context.Context, do func(context.Context) error) error {
	return call.Change(ctx, a.classified(do))
}

// classified is a call whose failure is of a class, and says where the API is that did not answer.
func (a *api) classified(do func(context.Context) error) func(context.Context) *cloud.Error {
	return func(ctx context.Context) *cloud.Error {
		err := do(ctx)
		if err == nil {
			return nil
		}
		failed := classify(err, a.used)
		if failed.Class == cloud.Unreachable {
			failed.Message = fmt.Sprintf("the EC2 API %s: %s", a.at, failed.Message)
		}
		return failed
	}
}
