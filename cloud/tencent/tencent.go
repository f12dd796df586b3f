// Package tencent is the cloud driver for Tencent Cloud: the metadata service says what the node is, the VPC API names its
// ENIs, lists them and changes them. Every change there is a task that runs on after the call has been answered: a call
// of this driver returns when its task has ended.
package tencent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/enichain/enichain/cloud"
)

// Config is the "driver" object of the network configuration. All of it may be left out. An endpoint given here goes
// before the environment's. An endpoint is a URL, or a host, with a port or without.
type Config struct {
	// Region is the API's; where it is empty TENCENTCLOUD_REGION, then the instance's own.
	Region string `json:"region,omitempty"`
	// VPCEndpoint is the VPC API's; where it is empty TENCENTCLOUD_VPC_ENDPOINT, then vpc.tencentcloudapi.com.
	VPCEndpoint string `json:"vpcEndpoint,omitempty"`
	// CVMEndpoint is the CVM API's; where it is empty TENCENTCLOUD_CVM_ENDPOINT, then cvm.tencentcloudapi.com.
	CVMEndpoint string `json:"cvmEndpoint,omitempty"`
	// Scheme is that of endpoints that have none: https, also where it is empty, or http.
	Scheme string `json:"scheme,omitempty"`
	// MetadataEndpoint is the URL of the metadata service; where it is empty TENCENTCLOUD_METADATA_ENDPOINT, then
	// http://metadata.tencentyun.com.
	MetadataEndpoint string `json:"metadataEndpoint,omitempty"`
}

// Driver implements cloud.Driver.
type Driver struct {
	region      string // "" is the instance's own
	vpc, cvm    *url.URL
	metadata    *metadata
	credentials credentials
}

var _ cloud.Driver = (*Driver)(nil)

// New returns a driver for a configuration, which may be nil. getenv is os.Getenv, or a test's.
func New(config json.RawMessage, getenv func(string) string) (*Driver, error) {
	c := Config{}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &c); err != nil {
			return nil, invalidf("driver configuration: %v", err)
		}
	}
	d := &Driver{region: cmp.Or(c.Region, getenv("TENCENTCLOUD_REGION"))}
	var err error
	if d.vpc, err = endpoint("VPC", c.Scheme, c.VPCEndpoint, getenv("TENCENTCLOUD_VPC_ENDPOINT"), "vpc.tencentcloudapi.com"); err != nil {
		return nil, err
	}
	if d.cvm, err = endpoint("CVM", c.Scheme, c.CVMEndpoint, getenv("TENCENTCLOUD_CVM_ENDPOINT"), "cvm.tencentcloudapi.com"); err != nil {
		return nil, err
	}
	base, err := endpoint("metadata", "http", c.MetadataEndpoint, getenv("TENCENTCLOUD_METADATA_ENDPOINT"), "http://"+metadataHost)
	if err != nil {
		return nil, err
	}
	d.metadata = newMetadata(base)
	return d, d.credentials.init(d.metadata, getenv)
}

func invalidf(format string, args ...any) *cloud.Error {
	return &cloud.Error{Class: cloud.Invalid, Message: fmt.Sprintf(format, args...)}
}

// endpoint parses the first of the values that is not empty. Its text is in no error: it may hold a password.
func endpoint(name, scheme string, values ...string) (*url.URL, error) {
	text := cmp.Or(values...)
	if !strings.Contains(text, "://") {
		text = cmp.Or(scheme, "https") + "://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, invalidf("the %s endpoint is not of the form host:port, http://host:port or https://host", name)
	}
	return u, nil
}
