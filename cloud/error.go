package cloud

import (
	"errors"
	"fmt"
)

// Class says what a caller can do about an error.
type Class string

// The classes of errors.
const (
	Throttled   Class = "throttled"   // back off and try again
	Quota       Class = "quota"       // the ENI, instance or account holds all that it may
	SubnetFull  Class = "subnet-full" // the subnet has no address left
	Auth        Class = "auth"        // credentials are missing, refused or not sufficient
	Unreachable Class = "unreachable" // no answer; a change may or may not have happened
	NotFound    Class = "not-found"   // the thing named does not exist
	Invalid     Class = "invalid"     // the request or the configuration is wrong
	Internal    Class = "internal"    // the cloud's or the driver's own failure
	Unsupported Class = "unsupported" // the cloud or the driver has no such operation
)

// Temporary says whether the same call may succeed later with nothing changed on this node.
func (c Class) Temporary() bool {
	return c == Throttled || c == Quota || c == SubnetFull || c == Unreachable || c == Internal
}

// Ambiguous says whether a change that failed so may have been made all the same: whoever asked for it has to look.
func (c Class) Ambiguous() bool { return c == Unreachable || c == Internal }

// Error is a failed call, with the cloud's own words.
type Error struct {
	Class     Class  `json:"class"`
	Code      string `json:"code,omitempty"`      // the cloud's code, e.g. RequestLimitExceeded
	Message   string `json:"message"`             // the cloud's message, with no secret in it
	RequestID string `json:"requestID,omitempty"` // for the cloud's support
}

// Error returns the message with the cloud's code and request ID.
func (e *Error) Error() string {
	s := e.Message
	if e.Code != "" {
		s = e.Code + ": " + s
	}
	if e.RequestID != "" {
		s = fmt.Sprintf("%s (request %s)", s, e.RequestID)
	}
	return s
}

// ClassOf is the class of the Error in err; none where there is none.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}

// CodeOf is the cloud's code of the Error in err; none where there is none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
