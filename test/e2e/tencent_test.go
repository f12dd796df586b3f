package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
	"github.com/enichain/enichain/test/vpcsim"
)

// Tencent Cloud's metadata service names no ENI. A node that has asked the API once knows them, and goes by that while the
// API refuses; one that has not says what is missing.
func TestTencentCloudWithoutTheAPI(t *testing.T) {
	t.Parallel()
	const room = 5 // an ENI of the type has 6 addresses
	l := upLab(t, lab.Options{Cloud: vpcsim.TencentCloud, InstanceType: "S5.SMALL1", ENIs: 2})
	conflist := on(l.Cloud, fmt.Sprintf(whole, `, "firstDeviceIndex": 1`, ""))
	n := l.Nodes[0]
	eni := l.VPC.ENIs(n.InstanceID)[1].ID
	if _, err := l.VPC.AddAddresses(eni, room); err != nil {
		t.Fatal(err)
	}
	r := onNode(t, n, conflist)
	runIn(t, r, "c0")
	l.VPC.SetRole("")
	for i := 1; i < room; i++ {
		runIn(t, r, fmt.Sprintf("c%d", i))
	}
	// The pool is full, so that the node asks again what it has.
	if _, err := r.Run(t.Context(), "refused"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s is full with %d", eni, room)) {
		t.Errorf("on a full pool: %v", err)
	}
	for i := range room {
		id := fmt.Sprintf("c%d", i)
		mustPing(t, n.Container(id), node2Primary, probe.From{})
		mustPing(t, n.Container(id), internet, probe.From{}) // which needs the VPC's ranges, and them alone kept
		if err := r.Check(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if _, err := onNode(t, l.Nodes[1], conflist).Run(t.Context(), "refused"); err == nil || !strings.Contains(err.Error(), "no credentials") {
		t.Errorf("on a node that knows nothing: %v", err)
	}
}
