package tencent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// CreateENI implements cloud.Driver. The cloud chooses the device index, and deletes no ENI with its instance. The token
// is the API's ClientToken, and a tag: by that a repetition finds what the first call made, however long ago.
func (d *Driver) CreateENI(ctx context.Context, r cloud.CreateENIRequest) (*cloud.ENI, error) {
	if err := r.Check(); err != nil {
		return nil, invalidf("make an ENI: %v", err)
	}
	if r.Prefixes+r.IPv6Prefixes > 0 {
		return nil, errPrefixes()
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	subnets, err := a.subnets(ctx, []filter{{"subnet-id", r.SubnetID}})
	if err != nil {
		return nil, err
	}
	if len(subnets) != 1 {
		return nil, &cloud.Error{Class: cloud.NotFound, Message: "there is no subnet " + r.SubnetID}
	}
	if r.IPv6 > 0 && !subnets[0].CIDR6.IsValid() {
		return nil, errNoIPv6(r.SubnetID)
	}
	e, err := a.made(ctx, r)
	if err == nil && e == nil {
		e, err = a.make(ctx, r, subnets[0].vpc)
	}
	if err != nil {
		return nil, err
	}
	if e, err = a.complete(ctx, e, r); err != nil {
		return nil, err
	}
	e.Subnet, e.Gateway = subnets[0].CIDR, subnets[0].Gateway
	e.Subnet6, e.Gateway6 = subnets[0].CIDR6, gateway6(subnets[0].CIDR6)
	return &e.ENI, nil
}

// made returns the ENI that an earlier call with the token made, when it is attached to something or to nothing and no
// longer on its way; nil where there is none.
func (a *api) made(ctx context.Context, r cloud.CreateENIRequest) (*listed, error) {
	found, err := a.tagged(ctx, map[string]string{cloud.TagToken: r.Token})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if len(found) > 1 {
		return nil, &cloud.Error{Class: cloud.Internal, Message: fmt.Sprintf("%d ENIs carry the token of one request: %s and %s are two", len(found), found[0].ID, found[1].ID)}
	}
	return a.await(ctx, found[0].ID, "at rest", atRest)
}

// make makes the ENI and attaches it, in one call. One that is made and not attached is left to complete.
func (a *api) make(ctx context.Context, r cloud.CreateENIRequest, vpc string) (*listed, error) {
	in, err := a.createRequest(ctx, r, vpc)
	if err != nil {
		return nil, err
	}
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.CreateAndAttachNetworkInterfaceResponse, error) {
		return a.vpc.CreateAndAttachNetworkInterfaceWithContext(ctx, in)
	})
	switch {
	case cloud.CodeOf(err) == "UnsupportedOperation.IdempotentParameterMismatch": // made with other tags or security groups, those of then
		return a.madeEarlier(ctx, r)
	case err != nil:
		return nil, err
	}
	taskErr := a.finished(ctx, value(out.Response.RequestId))
	if cloud.ClassOf(taskErr) == cloud.Unreachable {
		return nil, taskErr
	}
	id := ""
	if out.Response.NetworkInterface != nil {
		id = value(out.Response.NetworkInterface.NetworkInterfaceId)
	}
	if id == "" {
		return nil, errors.Join(taskErr, &cloud.Error{Class: cloud.Internal, Message: "the cloud's answer names no ENI"})
	}
	e, err := a.appeared(ctx, id)
	switch {
	case err != nil:
		return nil, cmp.Or(taskErr, err)
	case taskErr != nil && e.State == cloud.Available: // made, and refused to be attached
		return nil, call.Undone(taskErr, a.delete(ctx, id))
	}
	return e, nil
}

// madeEarlier is made of an ENI that the cloud knows by its token, and may not list yet. It is gone where it never is listed.
func (a *api) madeEarlier(ctx context.Context, r cloud.CreateENIRequest) (*listed, error) {
	until := time.Now().Add(visibleAfter)
	for p := (call.Poll{}); ; {
		e, err := a.made(ctx, r)
		switch {
		case err != nil || e != nil:
			return e, err
		case time.Now().After(until):
			return nil, errGone("the ENI")
		case !p.Wait(ctx):
			return nil, &cloud.Error{Class: cloud.Unreachable, Message: "the ENI that was made for token " + r.Token + " is not listed in time"}
		}
	}
}

// visibleAfter is how long the API may not list an ENI that was made.
const visibleAfter = 10 * time.Second

// appeared waits until a new ENI, which the API may not list at once, is listed and at rest. One that never is was deleted
// since: the API answers a ClientToken with what it once made.
func (a *api) appeared(ctx context.Context, eni string) (*listed, error) {
	until := time.Now().Add(visibleAfter)
	e, err := a.await(ctx, eni, "there and at rest", func(e *listed) bool {
		if e == nil {
			return time.Now().After(until)
		}
		return atRest(e)
	})
	if err == nil && e == nil {
		err = errGone(eni)
	}
	return e, err
}

func errGone(eni string) *cloud.Error {
	return &cloud.Error{Class: cloud.NotFound, Message: eni + ", which was made for this token, is gone: another token is needed"}
}

// atRest says of an ENI that nothing is being done to it; one that is gone is at rest too.
func atRest(e *listed) bool {
	return e == nil || e.State == cloud.Available || e.State == cloud.Attached
}

func (a *api) createRequest(ctx context.Context, r cloud.CreateENIRequest, vpc string) (*vpcsdk.CreateAndAttachNetworkInterfaceRequest, error) {
	groups := r.SecurityGroups
	if len(groups) == 0 {
		primary, err := a.primary(ctx, r.InstanceID)
		if err != nil {
			return nil, err
		}
		groups = primary.SecurityGroups
	}
	in := vpcsdk.NewCreateAndAttachNetworkInterfaceRequest()
	in.VpcId, in.SubnetId, in.InstanceId, in.ClientToken = &vpc, &r.SubnetID, &r.InstanceID, &r.Token
	in.NetworkInterfaceName = new("enichain-" + r.InstanceID)
	in.NetworkInterfaceDescription = new("made by enichain for containers of " + r.InstanceID)
	in.AttachType = new(uint64(0)) // standard
	if r.Addresses > 0 {
		in.SecondaryPrivateIpAddressCount = new(uint64(r.Addresses))
	}
	for _, group := range groups {
		in.SecurityGroupIds = append(in.SecurityGroupIds, &group)
	}
	tags := maps.Clone(r.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[cloud.TagToken] = r.Token
	for _, key := range slices.Sorted(maps.Keys(tags)) { // a repetition has to be the same, byte for byte
		in.Tags = append(in.Tags, &vpcsdk.Tag{Key: &key, Value: new(tags[key])})
	}
	return in, nil
}

// complete brings an ENI that was made to where it should be: attached to the instance, with its addresses usable.
func (a *api) complete(ctx context.Context, e *listed, r cloud.CreateENIRequest) (*listed, error) {
	if e.State == cloud.Available {
		if err := a.attach(ctx, e.ID, r); err != nil {
			return nil, err
		}
	} else if e.InstanceID != r.InstanceID {
		return nil, invalidf("the ENI of this request, %s, is attached to %s", e.ID, e.InstanceID)
	}
	e, err := a.ready(ctx, e.ID)
	if err != nil || len(e.Addresses) >= r.Addresses && len(e.IPv6) >= r.IPv6 {
		return e, err
	}
	if missing := r.Addresses - len(e.Addresses); missing > 0 {
		_, err = a.assign(ctx, e.ID, missing)
	}
	// The call that makes an ENI gives it no IPv6.
	if missing := r.IPv6 - len(e.IPv6); missing > 0 && err == nil {
		_, err = a.assign6(ctx, e.ID, missing)
	}
	if class := cloud.ClassOf(err); err != nil && class != cloud.Quota && class != cloud.SubnetFull { // else it has what there is
		return nil, err
	}
	return a.ready(ctx, e.ID)
}

// ready waits until an ENI is attached and all its addresses are usable.
func (a *api) ready(ctx context.Context, eni string) (*listed, error) {
	e, err := a.await(ctx, eni, "attached with its addresses", func(e *listed) bool {
		return e == nil || e.State == cloud.Attached && len(e.coming) == 0
	})
	if err == nil && e == nil {
		err = errGone(eni)
	}
	return e, err
}

// attach attaches an ENI that an earlier call left attached to nothing. Where the cloud refuses that, the ENI is deleted.
func (a *api) attach(ctx context.Context, eni string, r cloud.CreateENIRequest) error {
	in := vpcsdk.NewAttachNetworkInterfaceRequest()
	in.NetworkInterfaceId, in.InstanceId = &eni, &r.InstanceID
	out, err := change(ctx, a, func(ctx context.Context) (*vpcsdk.AttachNetworkInterfaceResponse, error) {
		return a.vpc.AttachNetworkInterfaceWithContext(ctx, in)
	})
	if err == nil {
		err = a.finished(ctx, value(out.Response.RequestId))
	}
	switch {
	case err == nil, cloud.CodeOf(err) == "UnsupportedOperation.AttachmentAlreadyExists":
		return nil
	case cloud.ClassOf(err) == cloud.Unreachable || cloud.ClassOf(err) == cloud.Throttled:
		return err
	}
	return call.Undone(err, a.delete(ctx, eni))
}
