package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Protocol is the version of the exec protocol. A driver refuses a request of another version, and Exec an answer.
const Protocol = "enichain.cloud/1"

// maxMessage bounds a request and an answer, in bytes. 15 ENIs of 50 addresses take some 15 KiB.
const maxMessage = 4 << 20

// Op names the method of Driver that a request calls.
type Op string

// The operations.
const (
	OpNode     Op = "node"
	OpENIs     Op = "enis"
	OpLimits   Op = "limits"
	OpAssign   Op = "assign"
	OpUnassign Op = "unassign"

	OpAssignPrefixes     Op = "assign-prefixes"
	OpUnassignPrefixes   Op = "unassign-prefixes"
	OpAssignIPv6         Op = "assign-ipv6"
	OpAssignIPv6Prefixes Op = "assign-ipv6-prefixes"
	OpSubnets            Op = "subnets"
	OpCreateENI          Op = "create-eni"
	OpDeleteENI          Op = "delete-eni"
	OpTaggedENIs         Op = "tagged-enis"
)

// Request is what a driver reads from its standard input: one call.
type Request struct {
	Protocol string `json:"protocol"`
	Op       Op     `json:"op"`
	// TimeoutMillis is for how long from now on the answer is waited for; 0 is for as long as it takes. It is no time of day:
	// somebody may set the clock in the middle of a call.
	TimeoutMillis int64 `json:"timeoutMillis,omitempty"`
	// Config is the "driver" object of the network configuration, as it stands there.
	Config json.RawMessage `json:"config,omitempty"`

	InstanceID   string            `json:"instanceID,omitempty"`   // enis, delete-eni
	InstanceType string            `json:"instanceType,omitempty"` // limits
	ENI          string            `json:"eni,omitempty"`          // what assigns and unassigns; delete-eni
	Count        int               `json:"count,omitempty"`        // what assigns
	Addresses    []netip.Addr      `json:"addresses,omitempty"`    // unassign
	Prefixes     []netip.Prefix    `json:"prefixes,omitempty"`     // unassign-prefixes
	Query        *SubnetQuery      `json:"query,omitempty"`        // subnets
	Create       *CreateENIRequest `json:"create,omitempty"`       // create-eni
	Tags         map[string]string `json:"tags,omitempty"`         // tagged-enis
}

// Answer is what a driver writes to its standard output: an error, or what the operation returns. unassign,
// unassign-prefixes and delete-eni return nothing.
type Answer struct {
	Protocol  string         `json:"protocol"`
	Error     *Error         `json:"error,omitempty"`
	Node      *Node          `json:"node,omitempty"`      // node
	ENIs      []ENI          `json:"enis,omitempty"`      // enis, tagged-enis
	Limits    *Limits        `json:"limits,omitempty"`    // limits
	Addresses []netip.Addr   `json:"addresses,omitempty"` // assign, assign-ipv6
	Prefixes  []netip.Prefix `json:"prefixes,omitempty"`  // assign-prefixes, assign-ipv6-prefixes
	Subnets   []Subnet       `json:"subnets,omitempty"`   // subnets
	ENI       *ENI           `json:"eni,omitempty"`       // create-eni
}

// decodeRequest reads one request and refuses what no driver could carry out. Unknown fields are ignored, so that a
// later minor change of the protocol may add some.
func decodeRequest(r io.Reader) (*Request, error) {
	req := &Request{}
	if err := decode(r, req, &req.Protocol); err != nil {
		return nil, invalid("read the request", err)
	}
	if !req.Op.known() {
		return nil, &Error{Class: Unsupported, Message: fmt.Sprintf("op %q is none of protocol %s in this driver's release", req.Op, Protocol)}
	}
	if err := req.check(); err != nil {
		return nil, invalid("read the request", err)
	}
	return req, nil
}

func invalid(doing string, err error) *Error {
	return &Error{Class: Invalid, Message: fmt.Sprintf("%s: %v", doing, err)}
}

// decode reads one JSON value and nothing behind it, and checks the version that it claims.
func decode(r io.Reader, message any, version *string) error {
	text, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return fmt.Errorf("it has more than %d bytes", maxMessage)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("it is empty")
	}
	if err := json.Unmarshal(text, message); err != nil {
		return fmt.Errorf("it is not of protocol %s: %w", Protocol, err)
	}
	if *version != Protocol {
		return fmt.Errorf("it is of protocol %q, and this is %s: the plugins and the driver are of different releases", *version, Protocol)
	}
	return nil
}

// decodeAnswer reads a driver's answer to an operation and refuses one that says less than the operation returns.
func decodeAnswer(r io.Reader, op Op) (*Answer, error) {
	a := &Answer{}
	if err := decode(r, a, &a.Protocol); err != nil {
		return nil, err
	}
	if a.Error != nil {
		if !a.Error.Class.known() {
			a.Error.Class = Internal // a class of a later release: the words still tell what happened
		}
		return a, nil
	}
	return a, a.check(op)
}
