package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// classify makes a cloud.Error of an SDK error, without the secrets of the credentials that were used.
func classify(err error, used awssdk.Credentials) *cloud.Error {
	e := &cloud.Error{Class: cloud.Internal, Message: err.Error()}
	var answered *awshttp.ResponseError
	status := 0
	if errors.As(err, &answered) {
		e.RequestID, status = answered.ServiceRequestID(), answered.HTTPStatusCode()
	}
	var api smithy.APIError
	var send *url.Error
	switch {
	case errors.As(err, &api) && api.ErrorCode() == "UnknownError": // the SDK's word for an answer that isn't EC2's
		e.Class, e.Message = classOf("", status), fmt.Sprintf("HTTP status %d, and not EC2's answer: is a proxy or a wrong endpoint in the way?", status)
	case errors.As(err, &api):
		e.Class, e.Code, e.Message = classOf(api.ErrorCode(), status), api.ErrorCode(), api.ErrorMessage()
	case errors.As(err, &send):
		e.Class, e.Message = cloud.Unreachable, send.Error()
	case errors.Is(err, context.DeadlineExceeded): // the SDK's words for it are of a status code 0
		e.Class, e.Message = cloud.Unreachable, "no answer in time"
	case unanswered(err):
		e.Class = cloud.Unreachable
	}
	e.Message = call.Redact(e.Message, used.SecretAccessKey, used.SessionToken)
	return e
}

// unanswered says whether an error is about the connection or the time, so that nothing is known of the outcome.
func unanswered(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.As(err, new(*smithyhttp.RequestSendError)) ||
		errors.As(err, new(*smithy.CanceledError)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// classOf sorts EC2's codes (EC2 API Reference, "Error codes for the Amazon EC2 API"). An unknown code goes by the HTTP
// status.
func classOf(code string, status int) cloud.Class {
	switch code {
	case "RequestLimitExceeded", "TooManyRequestsException", "SlowDown":
		return cloud.Throttled
	case "InsufficientFreeAddressesInSubnet", "InsufficientCidrBlocks":
		return cloud.SubnetFull
	case "AuthFailure", "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "ExpiredToken",
		"ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClientException",
		"SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "OptInRequired", "Blocked",
		"PendingVerification":
		return cloud.Auth
	case "OperationNotPermitted", "UnsupportedOperation", "NoSuchVersion", "MalformedQueryString":
		return cloud.Invalid
	}
	switch {
	case strings.HasPrefix(code, "Throttl"), strings.HasPrefix(code, "RequestThrottled"):
		return cloud.Throttled
	case strings.HasSuffix(code, "LimitExceeded"):
		return cloud.Quota
	case strings.HasSuffix(code, ".NotFound"):
		return cloud.NotFound
	case strings.HasPrefix(code, "Invalid"), strings.HasPrefix(code, "Missing"), status >= 400 && status < 500:
		return cloud.Invalid
	}
	return cloud.Internal
}
