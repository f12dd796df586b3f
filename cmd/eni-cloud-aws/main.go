// Command eni-cloud-aws is enichain's cloud driver for Amazon EC2 (docs/cloud-driver.md): one call a process.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/aws"
)

func main() {
	os.Exit(cloud.Serve(context.Background(), os.Stdin, os.Stdout, func(config json.RawMessage) (cloud.Driver, error) {
		return aws.New(config, os.Getenv)
	}))
}
