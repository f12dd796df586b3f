// Command eni-cloud-tencent is enichain's cloud driver for Tencent Cloud (docs/cloud-driver.md): one call a process.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/tencent"
)

func main() {
	os.Exit(cloud.Serve(context.Background(), os.Stdin, os.Stdout, func(config json.RawMessage) (cloud.Driver, error) {
		return tencent.New(config, os.Getenv)
	}))
}
