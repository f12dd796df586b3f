package chaos

import (
	"encoding/json"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/aws"
	"github.com/enichain/enichain/cloud/tencent"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// changes are the actions by which a driver changes something.
func changes(c clouds.Cloud) []string {
	var all []string
	for _, call := range []clouds.Call{
		clouds.Assign, clouds.Unassign, clouds.Assign6, clouds.Unassign6, clouds.CreateENI, clouds.DeleteENI,
	} {
		all = append(all, c.Actions(call)...)
	}
	return all
}

// newDriver is the cloud's driver in this process, as it is configured.
func newDriver(t *testing.T, c clouds.Cloud, config map[string]any) cloud.Driver {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var d cloud.Driver
	noEnv := func(string) string { return "" }
	if c.Name == vpcsim.TencentCloud {
		d, err = tencent.New(text, noEnv)
	} else {
		d, err = aws.New(text, noEnv)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}
