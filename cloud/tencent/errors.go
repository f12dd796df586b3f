package tencent

import (
	"context"
	"errors"
	"net"
	"strings"

	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// classify makes a cloud.Error of an SDK error, without the secrets of the credentials that were used.
func classify(err error, used credential) *cloud.Error {
	e := &cloud.Error{Class: cloud.Internal, Message: err.Error()}
	var sdk *sdkerrors.TencentCloudSDKError
	var network net.Error
	switch {
	case errors.As(err, &sdk):
		e.Class, e.Code, e.Message, e.RequestID = classOf(sdk.Code), sdk.Code, sdk.Message, sdk.RequestId
		switch sdk.Code { // those are the SDK's own words; they would be taken for the cloud's
		case "ClientError.NetworkError", "ClientError.IOError":
			e.Class, e.Code = cloud.Unreachable, ""
		case "ClientError.ParseJsonError", "ClientError.HttpStatusCodeError":
			e.Code, e.Message = "", "what answered is not Tencent Cloud: is a proxy or a wrong endpoint in the way?"
		}
	case errors.As(err, &network) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		e.Class = cloud.Unreachable
	}
	e.Message = call.Redact(e.Message, used.key, used.token)
	return e
}

// classOf sorts Tencent Cloud's codes ("Error codes" of the VPC API's documents).
func classOf(code string) cloud.Class {
	switch code {
	case "LimitExceeded.ActionLimited",
		"UnsupportedOperation.MutexOperationTaskRunning", "UnsupportedOperation.IdempotentProcessing":
		return cloud.Throttled // nothing was done, and will be later
	case "InvalidParameterValue.LimitExceeded":
		return cloud.Quota
	case "UnsupportedOperation.AttachmentNotFound":
		return cloud.NotFound
	}
	if strings.HasSuffix(code, ".NotFound") {
		return cloud.NotFound
	}
	area, _, _ := strings.Cut(code, ".")
	switch area {
	case "RequestLimitExceeded":
		return cloud.Throttled
	case "ResourceInsufficient":
		return cloud.SubnetFull
	case "LimitExceeded":
		return cloud.Quota
	case "AuthFailure", "UnauthorizedOperation":
		return cloud.Auth
	case "ResourceNotFound":
		return cloud.NotFound
	case "InvalidParameter", "InvalidParameterValue", "InvalidAction", "InvalidInstanceId", "MissingParameter", "UnknownParameter",
		"UnsupportedOperation", "UnsupportedRegion", "UnsupportedProtocol", "NoSuchVersion", "ResourceInUse", "ResourceUnavailable":
		return cloud.Invalid
	}
	return cloud.Internal
}
