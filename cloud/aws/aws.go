// Package aws is the cloud driver for Amazon EC2: the instance metadata service (IMDSv2 only) says what the node is, the
// EC2 API lists ENIs and changes their addresses. It does without the SDK's config package: start-up counts, because
// each call is a process (cmd/eni-cloud-aws), and so does everything that this configuration has no word for, such as
// shared credential files.
package aws

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/enichain/enichain/cloud"
)

// Config is the "driver" object of the network configuration. All of it may be left out. An endpoint given here goes
// before the environment's.
type Config struct {
	// Region is the API's; where it is empty AWS_REGION, AWS_DEFAULT_REGION, then the instance's own.
	Region string `json:"region,omitempty"`
	// EC2Endpoint is the URL of the EC2 API; where it is empty AWS_ENDPOINT_URL_EC2, AWS_ENDPOINT_URL, then the region's.
	EC2Endpoint string `json:"ec2Endpoint,omitempty"`
	// IMDSEndpoint is the URL of the metadata service; where it is empty AWS_EC2_METADATA_SERVICE_ENDPOINT, then
	// http://169.254.169.254.
	IMDSEndpoint string `json:"imdsEndpoint,omitempty"`
}

// Driver implements cloud.Driver.
type Driver struct {
	config      Config
	metadata    *imds.Client
	refusals    *refusals // of the metadata service
	credentials awssdk.CredentialsProvider
}

var _ cloud.Driver = (*Driver)(nil)

// The patience with the metadata service, which sits on the same machine: the SDK's own quarter of a second is too
// short for a node that is busy starting.
const (
	metadataDial    = time.Second
	metadataAnswer  = 2 * time.Second
	metadataBackoff = 300 * time.Millisecond
)

// New returns a driver for a configuration, which may be nil. getenv is os.Getenv, or a test's.
func New(config json.RawMessage, getenv func(string) string) (*Driver, error) {
	d := &Driver{}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &d.config); err != nil {
			return nil, invalidf("driver configuration: %v", err)
		}
	}
	d.config.Region = cmp.Or(d.config.Region, getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"))
	d.config.EC2Endpoint = cmp.Or(d.config.EC2Endpoint, getenv("AWS_ENDPOINT_URL_EC2"), getenv("AWS_ENDPOINT_URL"))
	d.config.IMDSEndpoint = cmp.Or(d.config.IMDSEndpoint, getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "http://169.254.169.254")
	if err := checkEndpoints(d.config); err != nil {
		return nil, err
	}
	d.refusals = &refusals{transport: metadataTransport()}
	d.metadata = imds.New(imds.Options{
		Endpoint:       d.config.IMDSEndpoint,
		HTTPClient:     &http.Client{Transport: d.refusals},
		EnableFallback: awssdk.FalseTernary, // IMDSv1 answers anyone who can make this machine fetch a URL
		Retryer:        retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = metadataBackoff }),
	})
	var err error
	d.credentials, err = newCredentials(d.metadata, getenv)
	return d, err
}

func invalidf(format string, args ...any) *cloud.Error {
	return &cloud.Error{Class: cloud.Invalid, Message: fmt.Sprintf(format, args...)}
}

func checkEndpoints(c Config) error {
	for name, endpoint := range map[string]string{"EC2": c.EC2Endpoint, "metadata": c.IMDSEndpoint} {
		if endpoint == "" {
			continue
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
			return invalidf("the %s endpoint is not of the form http://host:port or https://host", name)
		}
	}
	return nil
}

// metadataTransport never uses a proxy: it would be told this machine's credentials, and would answer with its own.
func metadataTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 nil,
		DialContext:           (&net.Dialer{Timeout: metadataDial}).DialContext,
		ResponseHeaderTimeout: metadataAnswer,
	}
}

// newCredentials returns the static keys of the environment where there are any, and else those of the instance's role.
func newCredentials(metadata *imds.Client, getenv func(string) string) (awssdk.CredentialsProvider, error) {
	key, secret := getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY")
	switch {
	case key != "" && secret != "":
		return credentials.NewStaticCredentialsProvider(key, secret, getenv("AWS_SESSION_TOKEN")), nil
	case key != "" || secret != "":
		return nil, &cloud.Error{Class: cloud.Auth, Message: "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set"}
	}
	return awssdk.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata })), nil
}
