package clouds

import "github.com/enichain/enichain/test/vpcsim"

// Call is what is asked of a cloud, whatever the cloud's own name for it.
type Call string

// The calls. AnyCall is every one of the API's.
const (
	AnyCall   Call = ""
	Assign    Call = "assign addresses"
	Unassign  Call = "unassign addresses"
	Assign6   Call = "assign addresses of IPv6"
	Unassign6 Call = "unassign addresses of IPv6"
	List      Call = "list ENIs"
	Subnets   Call = "list subnets"
	Limits    Call = "look up limits"
	CreateENI Call = "create an ENI" // which may take several actions
	DeleteENI Call = "delete an ENI" // as may this
	Metadata  Call = "read metadata"
)

// Failure is a way in which a cloud refuses a call, whatever the cloud's own code for it.
type Failure string

// The failures.
const (
	Throttled    Failure = "throttled"
	AddressLimit Failure = "the ENI has all addresses that it may"
	ENILimit     Failure = "the instance has all ENIs that it may"
	ENIQuota     Failure = "the account has all ENIs that it may"
	SubnetFull   Failure = "the subnet is full"
	NotAllowed   Failure = "the role does not allow it"
	Refused      Failure = "the credentials are refused"
	Broken       Failure = "the cloud is broken"
	Gone         Failure = "the ENI is gone"
)

// Actions are the cloud's own names for a call, in the order in which they are made.
func (c Cloud) Actions(call Call) []string { return c.actions[call] }

// Action is the first of the Actions.
func (c Cloud) Action(call Call) string {
	if call == AnyCall {
		return ""
	}
	return c.actions[call][0]
}

// Fault lets a call fail once, unless Times is set in it.
func (c Cloud) Fault(call Call, f Failure) vpcsim.Fault {
	fault := c.failures[f]
	fault.Action = c.Action(call)
	return fault
}

// Lost is the fault of a call that is carried out and whose answer does not arrive.
func (c Cloud) Lost(call Call) vpcsim.Fault {
	return vpcsim.Fault{Action: c.Action(call), AfterEffect: true}
}

// Always is a fault that hits every call.
func Always(f vpcsim.Fault) vpcsim.Fault {
	f.Times = -1
	return f
}
