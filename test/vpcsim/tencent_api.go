package vpcsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// tencentVersion is the only version of the APIs that the simulator speaks; VPC and CVM have the same.
const tencentVersion = "2017-03-12"

// tencentCall is one call of the API. A changing call's request ID is its task's too.
type tencentCall struct {
	action, requestID string
	body              []byte
}

// tencentAction is one action of the API. Its answer is a struct for "Response", without the request ID.
type tencentAction struct {
	service string
	changes bool
	do      func(*VPC, *tencentCall) (any, error)
}

// tencentActions are those that enichain calls.
func tencentActions() map[string]tencentAction {
	return map[string]tencentAction{
		"DescribeNetworkInterfaces":     {"vpc", false, typed((*VPC).tencentDescribeENIs)},
		"DescribeNetworkInterfaceLimit": {"vpc", false, typed((*VPC).tencentDescribeLimit)},
		"DescribeVpcs":                  {"vpc", false, typed((*VPC).tencentDescribeVPCs)},
		"DescribeSubnets":               {"vpc", false, typed((*VPC).tencentDescribeSubnets)},
		"DescribeVpcTaskResult":         {"vpc", false, typed((*VPC).tencentDescribeTask)},
		"AssignPrivateIpAddresses":      {"vpc", true, typed((*VPC).tencentAssign)},
		"UnassignPrivateIpAddresses":    {"vpc", true, typed((*VPC).tencentUnassign)},
		"AssignIpv6Addresses":           {"vpc", true, typed((*VPC).tencentAssign6)},
		"UnassignIpv6Addresses":         {"vpc", true, typed((*VPC).tencentUnassign6)},
		"CreateNetworkInterface":        {"vpc", true, typed((*VPC).tencentCreate)},
		"AttachNetworkInterface":        {"vpc", true, typed((*VPC).tencentAttach)},
		"DetachNetworkInterface":        {"vpc", true, typed((*VPC).tencentDetach)},
		"DeleteNetworkInterface":        {"vpc", true, typed((*VPC).tencentDelete)},
		"DescribeInstances":             {"cvm", false, typed((*VPC).tencentDescribeInstances)},

		"CreateAndAttachNetworkInterface": {"vpc", true, typed((*VPC).tencentCreateAndAttach)},
	}
}

// typed decodes the parameters of an action. The API refuses those that it doesn't know.
func typed[Q any](do func(*VPC, *tencentCall, *Q) (any, error)) func(*VPC, *tencentCall) (any, error) {
	return func(v *VPC, c *tencentCall) (any, error) {
		q := new(Q)
		if err := decodeStrictly(c.body, q); err != nil {
			return nil, err
		}
		return do(v, c, q)
	}
}

// Tencent returns the handler of Tencent Cloud's VPC and CVM APIs. It may be served under any address.
func (v *VPC) Tencent() http.Handler { return http.HandlerFunc(v.serveTencent) }

func (v *VPC) serveTencent(w http.ResponseWriter, r *http.Request) {
	c := &tencentCall{action: r.Header.Get("X-TC-Action"), requestID: v.uuid()}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var answer any
	if err != nil {
		err = errorf("RequestSizeLimitExceeded", "The request is too large.")
	} else {
		c.body = body
		answer, err = v.tencentAnswer(r, c)
	}
	var failed *APIError
	switch {
	case errors.Is(err, errNoAnswer):
		panic(http.ErrAbortHandler) // net/http's way to close the connection
	case errors.As(err, &failed) && failed.Code == "": // a fault with a status only: a proxy's page, not the API's answer
		http.Error(w, failed.Message, failed.Status)
		return
	}
	writeTencent(w, c.requestID, answer, err)
}

// tencentAnswer carries a request out, with the faults that are set for it.
func (v *VPC) tencentAnswer(r *http.Request, c *tencentCall) (any, error) {
	service, err := v.verifyTC3(r, c.body)
	if err != nil {
		return nil, err
	}
	a, err := v.checkTencent(r, service)
	if err != nil {
		return nil, err
	}
	v.count(c.action, a.changes)
	if !v.admit(c.action) {
		return nil, errorf("RequestLimitExceeded", "Your current request times equals or exceeds the limit, please wait a moment and try again.")
	}
	fault := v.fault(c.action)
	fault.wait(r)
	if fault != nil && !fault.AfterEffect && fault.err() != nil {
		return nil, fault.err()
	}
	answer, err := a.do(v, c)
	if fault != nil && fault.AfterEffect && err == nil {
		if err = fault.err(); err == nil {
			err = errNoAnswer
		}
	}
	return answer, err
}

// checkTencent checks what every request has, and finds its action.
func (v *VPC) checkTencent(r *http.Request, service string) (tencentAction, error) {
	name := r.Header.Get("X-TC-Action")
	a, known := tencentActions()[name]
	switch region := r.Header.Get("X-TC-Region"); {
	case r.Method != http.MethodPost:
		return a, errorf("UnsupportedProtocol", "The simulator takes POST only.")
	case !known || a.service != service:
		return a, errorf("InvalidAction", "The requested action `%s` is invalid or does not exist.", name)
	case r.Header.Get("X-TC-Version") != tencentVersion:
		return a, errorf("NoSuchVersion", "The requested API version does not exist.")
	case region == "":
		return a, errorf("MissingParameter", "The request is missing a required parameter `Region`.")
	case region != v.region:
		return a, errorf("UnsupportedRegion", "The requested region `%s` is not supported.", region)
	}
	return a, nil
}

// writeTencent answers in Tencent Cloud's envelope, whose HTTP status is 200 for errors too.
func writeTencent(w http.ResponseWriter, requestID string, answer any, failed error) {
	fields := map[string]any{}
	if failed != nil {
		e := &APIError{Code: "InternalError", Message: failed.Error()}
		errors.As(failed, &e)
		fields["Error"] = map[string]string{"Code": tencentCode(e.Code), "Message": e.Message}
	} else {
		text, err := json.Marshal(answer)
		if err == nil {
			err = json.Unmarshal(text, &fields)
		}
		if err != nil {
			panic(err) // an answer type of ours that is no object
		}
	}
	fields["RequestId"] = requestID
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"Response": fields}) // a client that went away is no concern of ours
}

// tencentCode translates the model's words, which are EC2's, into Tencent Cloud's. Where the documents leave several, it is
// the one that they list for the call.
func tencentCode(code string) string {
	known := map[string]string{
		"InsufficientFreeAddressesInSubnet":  "ResourceInsufficient.Subnet",
		"PrivateIpAddressLimitExceeded":      "LimitExceeded",
		"AttachmentLimitExceeded":            "LimitExceeded",
		"InvalidNetworkInterfaceID.NotFound": "ResourceNotFound",
		"InvalidSubnetID.NotFound":           "ResourceNotFound",
		"InvalidInstanceID.NotFound":         "InvalidInstanceId.NotFound",
		"InvalidIPAddress.InUse":             "ResourceInUse",
		"InvalidNetworkInterface.InUse":      "UnsupportedOperation.AttachmentAlreadyExists",
		"IncorrectState":                     "UnsupportedOperation.InvalidState",
		"OperationNotPermitted":              "UnsupportedOperation",
		"InvalidParameterCombination":        "UnsupportedOperation.ZoneMismatch", // all that the model has it for here
		"InvalidParameterValue":              "InvalidParameterValue.Range",
		"InvalidGroup.NotFound":              "ResourceNotFound",
		"NetworkInterfaceLimitExceeded":      "LimitExceeded.NetworkInterfaceLimitExceeded",
	}
	if c, ok := known[code]; ok {
		return c
	}
	return code
}

// uuid makes a request ID.
func (v *VPC) uuid() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.serial++
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", v.serial, v.serial)
}
