package vpcsim

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
)

// apiVersion is the only version of the EC2 API that the simulator speaks, and maxBody bounds a request.
const (
	apiVersion = "2016-11-15"
	maxBody    = 1 << 20
)

// action is one call of the API. Its answer is a struct that encoding/xml writes.
type action struct {
	changes bool
	do      func(*VPC, *params) (any, error)
}

func actions() map[string]action {
	return map[string]action{
		"DescribeNetworkInterfaces":  {false, (*VPC).describeNetworkInterfaces},
		"DescribeInstanceTypes":      {false, (*VPC).describeInstanceTypes},
		"DescribeSubnets":            {false, (*VPC).describeSubnets},
		"AssignPrivateIpAddresses":   {true, (*VPC).assignPrivateIPAddresses},
		"UnassignPrivateIpAddresses": {true, (*VPC).unassignPrivateIPAddresses},
		"AssignIpv6Addresses":        {true, (*VPC).assignIPv6Addresses},
		"UnassignIpv6Addresses":      {true, (*VPC).unassignIPv6Addresses},
		"CreateNetworkInterface":     {true, (*VPC).createNetworkInterface},
		"AttachNetworkInterface":     {true, (*VPC).attachNetworkInterface},
		"DetachNetworkInterface":     {true, (*VPC).detachNetworkInterface},
		"DeleteNetworkInterface":     {true, (*VPC).deleteNetworkInterface},

		"ModifyNetworkInterfaceAttribute": {true, (*VPC).modifyNetworkInterfaceAttribute},
	}
}

// EC2 returns the handler of EC2's query API. It may be served under any address.
func (v *VPC) EC2() http.Handler { return http.HandlerFunc(v.serveEC2) }

func (v *VPC) serveEC2(w http.ResponseWriter, r *http.Request) {
	requestID := v.uuid()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeError(w, requestID, errorf("InvalidRequest", "cannot read the request: %v", err))
		return
	}
	answer, err := v.answer(r, body)
	if errors.Is(err, errNoAnswer) {
		panic(http.ErrAbortHandler) // net/http's way to close the connection
	}
	if err != nil {
		writeError(w, requestID, err)
		return
	}
	writeXML(w, http.StatusOK, requestID, answer)
}

// errNoAnswer says that the connection is to be closed instead of an answer.
var errNoAnswer = errors.New("no answer")

// answer carries a request out, with the faults that are set for it.
func (v *VPC) answer(r *http.Request, body []byte) (any, error) {
	if err := v.verify(r, body); err != nil {
		return nil, err
	}
	form, err := form(r, body)
	if err != nil {
		return nil, err
	}
	name := form.Get("Action")
	a, known := actions()[name]
	if !known {
		return nil, errorf("InvalidAction", "The action %s is not valid for this web service.", name)
	}
	if version := form.Get("Version"); version != apiVersion {
		return nil, errorf("NoSuchVersion", "The requested version %q is not valid, or does not exist.", version)
	}
	v.count(name, a.changes)
	if !v.admit(name) {
		return nil, errorf("RequestLimitExceeded", "Request limit exceeded.")
	}
	fault := v.fault(name)
	fault.wait(r)
	if fault != nil && !fault.AfterEffect && fault.err() != nil {
		return nil, fault.err()
	}
	answer, err := a.do(v, newParams(form))
	if fault != nil && fault.AfterEffect && err == nil {
		if err = fault.err(); err == nil {
			err = errNoAnswer
		}
	}
	return answer, err
}

// form reads the parameters: EC2 takes them from the query of a GET or from the body of a POST.
func form(r *http.Request, body []byte) (url.Values, error) {
	text := string(body)
	switch {
	case r.Method == http.MethodGet:
		text = r.URL.RawQuery
	case r.Method != http.MethodPost:
		return nil, errorf("InvalidRequest", "The request method %s is not supported.", r.Method)
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, errorf("MalformedQueryString", "The query string contains a syntax error.")
	}
	for name, all := range values {
		if len(all) > 1 {
			return nil, errorf("InvalidParameterCombination", "The parameter %s was given more than once.", name)
		}
	}
	return values, nil
}

func (v *VPC) count(name string, changes bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls[name]++
	if changes {
		v.changes++
	}
}

// errorAnswer is EC2's error document. The order of its elements and the case of RequestID are EC2's.
type errorAnswer struct {
	XMLName   xml.Name    `xml:"Response"`
	Errors    []errorItem `xml:"Errors>Error"`
	RequestID string      `xml:"RequestID"`
}

type errorItem struct {
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

func writeError(w http.ResponseWriter, requestID string, err error) {
	e := &APIError{Code: "InternalError", Status: http.StatusInternalServerError, Message: err.Error()}
	errors.As(err, &e)
	if e.Code == "" { // a fault with a status only: a proxy's page, not EC2's answer
		http.Error(w, e.Message, e.Status)
		return
	}
	writeXML(w, e.Status, requestID, &errorAnswer{Errors: []errorItem{{e.Code, e.Message}}, RequestID: requestID})
}

func writeXML(w http.ResponseWriter, status int, requestID string, answer any) {
	if a, ok := answer.(interface{ setRequestID(string) }); ok {
		a.setRequestID(requestID)
	}
	text, err := xml.Marshal(answer)
	if err != nil {
		panic(err) // an answer type of ours that encoding/xml cannot write
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(slices.Concat([]byte(xml.Header), text)) // a client that went away is no concern of ours
}
