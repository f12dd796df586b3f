package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
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
)

// Request is what a driver reads from its standard input: one call.
type Request struct {
	Protocol string    `json:"protocol"`
	Op       Op        `json:"op"`
	Deadline time.Time `json:"deadline,omitzero"` // when the answer has to be there
	// Config is the "driver" object of the network configuration, as it stands there.
	Config json.RawMessage `json:"config,omitempty"`

	InstanceID   string       `json:"instanceID,omitempty"`   // enis
	InstanceType string       `json:"instanceType,omitempty"` // limits
	ENI          string       `json:"eni,omitempty"`          // assign, unassign
	Count        int          `json:"count,omitempty"`        // assign
	Addresses    []netip.Addr `json:"addresses,omitempty"`    // unassign
}

// Answer is what a driver writes to its standard output: an error, or what the operation returns. unassign returns
// nothing.
type Answer struct {
	Protocol  string       `json:"protocol"`
	Error     *Error       `json:"error,omitempty"`
	Node      *Node        `json:"node,omitempty"`      // node
	ENIs      []ENI        `json:"enis,omitempty"`      // enis
	Limits    *Limits      `json:"limits,omitempty"`    // limits
	Addresses []netip.Addr `json:"addresses,omitempty"` // assign
}

// decodeRequest reads one request and refuses what no driver could carry out. Unknown fields are ignored, so that a
// later minor change of the protocol may add some.
func decodeRequest(r io.Reader) (*Request, error) {
	req := &Request{}
	if err := decode(r, req, &req.Protocol); err != nil {
		return nil, invalid("read the request", err)
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

// check says what is missing for the operation.
func (r *Request) check() error {
	missing := ""
	switch r.Op {
	case OpNode:
	case OpENIs:
		if r.InstanceID == "" {
			missing = "instanceID"
		}
	case OpLimits:
		if r.InstanceType == "" {
			missing = "instanceType"
		}
	case OpAssign:
		if r.Count < 1 {
			return fmt.Errorf("assign %d addresses: at least 1 is needed", r.Count)
		}
		if r.ENI == "" {
			missing = "eni"
		}
	case OpUnassign:
		if err := checkAddresses(r.Addresses); err != nil {
			return err
		}
		if r.ENI == "" {
			missing = "eni"
		}
	default:
		return fmt.Errorf("op %q is none of node, enis, limits, assign, unassign", r.Op)
	}
	if missing != "" {
		return fmt.Errorf("%s needs %s", r.Op, missing)
	}
	return nil
}

func checkAddresses(addresses []netip.Addr) error {
	if len(addresses) == 0 {
		return errors.New("there are no addresses")
	}
	for _, ip := range addresses {
		if !ip.IsValid() {
			return errors.New("an address is empty")
		}
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

func (a *Answer) check(op Op) error {
	switch op {
	case OpNode:
		return a.Node.check()
	case OpENIs:
		// An instance has its primary ENI at the least: an empty list would have every address taken for gone.
		if len(a.ENIs) == 0 {
			return errors.New("it lists no ENIs")
		}
		return checkENIs(a.ENIs)
	case OpLimits:
		if a.Limits == nil || a.Limits.ENIs < 1 || a.Limits.AddressesPerENI < 1 {
			return errors.New("it has no limits")
		}
	case OpAssign:
		return checkAddresses(a.Addresses)
	}
	return nil
}

func (n *Node) check() error {
	switch {
	case n == nil:
		return errors.New("it has no node")
	case n.InstanceID == "":
		return errors.New("the node has no instanceID")
	case len(n.ENIs) == 0:
		return errors.New("the node has no ENIs")
	}
	for _, e := range n.ENIs {
		if e.Primary && e.MAC == n.PrimaryMAC {
			return checkENIs(n.ENIs)
		}
	}
	return fmt.Errorf("none of the node's ENIs is primary and has primaryMAC %q", n.PrimaryMAC)
}

func checkENIs(enis []ENI) error {
	for _, e := range enis {
		mac, err := net.ParseMAC(e.MAC)
		if err != nil || mac.String() != e.MAC {
			return fmt.Errorf("MAC %q of ENI %s is not of the form 0a:1b:2c:3d:4e:5f, in lower case", e.MAC, e.ID)
		}
		if !e.PrimaryIP.IsValid() {
			return fmt.Errorf("ENI %s has no primaryIP", e.ID)
		}
		for _, ip := range e.Addresses {
			if !ip.IsValid() || ip == e.PrimaryIP {
				return fmt.Errorf("the secondary addresses of ENI %s hold an empty one or the primary", e.ID)
			}
		}
	}
	return nil
}

func (c Class) known() bool {
	switch c {
	case Throttled, Quota, SubnetFull, Auth, Unreachable, NotFound, Invalid, Internal:
		return true
	}
	return false
}
