package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/store"
)

// errTimeout is the cause of a call's end by its own deadline.
var errTimeout = fmt.Errorf(`the "timeout" of the "ipam" section is over: %w`, context.DeadlineExceeded)

// diagnose makes the CNI error of a failed call: its code, and what an operator can do.
func diagnose(err error) error { return cnierr.New(codeOf(err), err, hintOf(err)) }

// codeOf is the CNI code of an error.
func codeOf(err error) uint {
	class := cloud.ClassOf(err)
	switch {
	case errors.Is(err, store.ErrUnknownAddress), errors.Is(err, store.ErrNotFree):
		return cnierr.RequestedAddress
	case class.Temporary():
		return cnierr.TryAgainLater
	case class == cloud.Invalid:
		return cnierr.Config
	case class != "":
		return cnierr.Cloud
	case errors.Is(err, store.ErrExhausted):
		return cnierr.TryAgainLater
	}
	return cnierr.IO
}

// hintOf is what an operator can do about an error.
func hintOf(err error) string {
	switch cloud.ClassOf(err) {
	case cloud.Quota:
		return "use a larger instance type, attach another ENI, raise the account's quota, or run fewer containers here; a retry helps once one is gone"
	case cloud.SubnetFull:
		return "the subnet has no address left: free some, or attach an ENI of another subnet"
	case cloud.Throttled:
		return "the cloud limits the calls of this account: a retry helps"
	case cloud.Auth:
		return "give the instance a role that allows the calls which docs/cloud-driver.md lists, or correct the keys"
	case cloud.Unreachable:
		return "see whether the node reaches the metadata service (AWS: 169.254.169.254, Tencent Cloud: metadata.tencentyun.com) and the API's endpoint; a retry helps then"
	case cloud.NotFound:
		return "see whether the ENI or the instance is still there, and in the account and region of the driver's configuration"
	case cloud.Internal:
		return "the failure is the cloud's or the driver's own: a retry helps if it passes"
	case cloud.Unsupported:
		return `see whether the instance type, and the subnets of its ENIs, have what "families" and "prefixes" in the "ipam" section ask for`
	case cloud.Invalid:
		return `see whether "cloud" and "driver" in the "ipam" section are right, and the driver is beside the plugins`
	}
	switch {
	case errors.Is(err, store.ErrUnknownAddress):
		return "ask for a secondary address of one of this node's ENIs, or for none"
	case errors.Is(err, store.ErrNotFree):
		return "ask for another address, or for none"
	case errors.Is(err, store.ErrCorrupt):
		return "move the store away only when no container of this node lives: it knows which addresses they have"
	case errors.Is(err, store.ErrNewer):
		return "install the newer enichain again; the store belongs to it until the node reboots"
	case errors.Is(err, store.ErrExhausted):
		return "no address came free within the \"timeout\" of the \"ipam\" section: a retry helps once one is"
	case errors.Is(err, context.DeadlineExceeded):
		return "the process that holds the lock waits for the cloud, hangs or is stopped: look at it; a retry helps once it is gone"
	}
	return `"dataDir" must be a folder that root can write to, with room left`
}
