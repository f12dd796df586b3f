package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// requestID is how an error names the cloud's request; both clouds' are UUIDs.
var requestID = regexp.MustCompile(`\(request [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\)`)

// situation is one in which an ADD makes a call.
type situation struct {
	call     clouds.Call
	doing    string                        // what the error says was tried
	on       func(n *clouds.Node) []string // and on what
	size     clouds.Size
	before   func(n *clouds.Node)
	failures []clouds.Failure
}

func onENIAndSubnet(n *clouds.Node) []string { return []string{n.First[0].ID, "subnet-0"} }
func onSubnet(n *clouds.Node) []string       { return []string{n.Instance.ID, "subnet-0"} }
func onInstance(n *clouds.Node) []string     { return []string{n.Instance.ID} }

// situations are those in which an ADD needs the cloud.
func situations(c clouds.Cloud) map[string]situation {
	first := func(n *clouds.Node) { n.Add("c0", map[string]any{"batch": 1}) }
	all := map[string]situation{
		"an ENI with room": {
			clouds.Assign, "assign 1 addresses", onENIAndSubnet, c.Small,
			func(n *clouds.Node) {
				n.IPAM["maxENIs"] = 1
				first(n)
			},
			[]clouds.Failure{
				clouds.Throttled, clouds.AddressLimit, clouds.SubnetFull, clouds.NotAllowed, clouds.Refused, clouds.Broken, clouds.Gone,
			},
		},
		"a full ENI": {
			clouds.CreateENI, "create an ENI with 1 addresses", onSubnet, c.Tiny, first,
			[]clouds.Failure{
				clouds.Throttled, clouds.ENILimit, clouds.ENIQuota, clouds.SubnetFull, clouds.NotAllowed, clouds.Refused, clouds.Broken,
			},
		},
		"a full ENI, no subnets": {
			clouds.Subnets, "find a subnet for another ENI", onInstance, c.Tiny, first,
			[]clouds.Failure{clouds.Throttled, clouds.NotAllowed, clouds.Refused, clouds.Broken},
		},
	}
	cold := situation{
		clouds.List, "list the ENIs", onInstance, c.Small, func(*clouds.Node) {},
		[]clouds.Failure{clouds.Throttled, clouds.NotAllowed, clouds.Refused, clouds.Broken},
	}
	if c.Name == vpcsim.AWS { // whose metadata service says enough to go on
		cold.call, cold.doing, cold.on = clouds.AnyCall, "assign 1 addresses", onENIAndSubnet
		cold.failures = []clouds.Failure{clouds.NotAllowed, clouds.Refused} // what is repeated takes all the time for the list
	}
	all["a cold node"] = cold
	return all
}

// codes are the CNI codes of the failures that a retry does not cure. The others have "try again later".
func codeOfFailure(f clouds.Failure) uint {
	switch f {
	case clouds.NotAllowed, clouds.Refused, clouds.Gone:
		return cnierr.Cloud
	}
	return cnierr.TryAgainLater
}

// hintOfFailure is a word of what to do about it.
func hintOfFailure(f clouds.Failure) string {
	return map[clouds.Failure]string{
		clouds.Throttled: "retry", clouds.AddressLimit: "larger instance type", clouds.ENILimit: "larger instance type",
		clouds.ENIQuota: "quota", clouds.SubnetFull: "subnet", clouds.NotAllowed: "role", clouds.Refused: "keys",
		clouds.Broken: "retry", clouds.Gone: "still there",
	}[f]
}

// Whatever the cloud refuses: the error says what was tried, on which ENI and subnet, the cloud's own code and request ID,
// and what to do. So does the next one's, who may not ask again yet.
func TestErrorsSayAll(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for name, s := range situations(c) {
			for _, failure := range s.failures {
				t.Run(fmt.Sprintf("%s, %s", name, failure), func(t *testing.T) {
					t.Parallel()
					n := up(t, c, s.size, "10.0.0.0/24")
					s.before(n)
					fault := clouds.Always(c.Fault(s.call, failure))
					n.Inject(fault)
					for _, id := range []string{"first", "second"} {
						// A busy machine needs some of it for the first answer, without which no error can name the cloud's.
						_, failed := n.Run("ADD", id, map[string]any{"batch": 1, "timeout": "4s"})
						saysAll(t, failed, codeOfFailure(failure), hintOfFailure(failure), append(s.on(n), s.doing, fault.Code)...)
					}
				})
			}
		}
	})
}

// saysAll checks an error of a call that the cloud answered.
func saysAll(t *testing.T, failed *types.Error, code uint, hint string, words ...string) {
	t.Helper()
	if failed == nil {
		t.Error("an address was given")
		return
	}
	if failed.Code != code {
		t.Errorf("code %d, want %d: %s", failed.Code, code, failed.Msg)
	}
	for _, word := range words {
		if !strings.Contains(failed.Msg, word) {
			t.Errorf("%q is not in: %s", word, failed.Msg)
		}
	}
	if !requestID.MatchString(failed.Msg) {
		t.Errorf("no request is named: %s", failed.Msg)
	}
	if !strings.Contains(failed.Details, hint) {
		t.Errorf("the hint does not say %q: %s", hint, failed.Details)
	}
}

// What AWS refuses of the second and the third step of making an ENI is told as well. What was made by then is gone, or
// found by the next.
func TestErrorsOfAWSsStepsSayAll(t *testing.T) {
	t.Parallel()
	c := clouds.AWS()
	for _, tt := range []struct {
		action  string
		failure clouds.Failure
	}{
		{"AttachNetworkInterface", clouds.ENILimit},
		{"AttachNetworkInterface", clouds.NotAllowed},
		{"ModifyNetworkInterfaceAttribute", clouds.NotAllowed},
	} {
		t.Run(fmt.Sprintf("%s, %s", tt.action, tt.failure), func(t *testing.T) {
			t.Parallel()
			n := up(t, c, c.Tiny, "10.0.0.0/24")
			n.Add("c0", nil)
			fault := clouds.Always(c.Fault(clouds.CreateENI, tt.failure))
			fault.Action = tt.action
			n.Inject(fault)
			_, failed := n.Run("ADD", "c1", nil)
			saysAll(t, failed, codeOfFailure(tt.failure), hintOfFailure(tt.failure), n.Instance.ID, "subnet-0", "create an ENI", fault.Code)
			n.ClearFaults()
			n.Update((*store.Tx).WakeAll)
			n.Add("c1", nil)
			if all := n.AllENIs(); len(all) != 2 {
				t.Errorf("%d ENIs are in the account, want 2", len(all))
			}
			n.Agree()
		})
	}
}

// A task of Tencent Cloud's that ends FAILED is a call that was not done: nothing of it is given to a container, and its error
// says as much as that of a call that was refused.
func TestTencentCloudsTaskThatFails(t *testing.T) {
	t.Parallel()
	c := clouds.Tencent()
	for name, s := range map[string]situation{"assign": situations(c)["an ENI with room"], "create": situations(c)["a full ENI"]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := up(t, c, s.size, "10.0.0.0/24")
			s.before(n)
			before := n.Agree()
			n.Inject(clouds.Always(vpcsim.Fault{Action: vpcsim.Task, Code: "InternalError", Message: "The task was given up."}))
			_, failed := n.Run("ADD", "late", map[string]any{"batch": 1, "timeout": "5s"})
			saysAll(t, failed, cnierr.TryAgainLater, "retry", append(s.on(n), s.doing, "the task failed", "InternalError", "given up")...)
			n.ClearFaults()
			n.Add("late", map[string]any{"batch": 1})
			if known := n.Agree(); len(known) != len(before)+1 {
				t.Errorf("the pool has %v, had %v, and one container came", known, before)
			}
		})
	}
}
