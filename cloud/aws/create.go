package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// description is of the ENIs that this driver makes, for people who look at the account.
const description = "enichain"

// CreateENI implements cloud.Driver. The steps are those that EC2 has: create, attach, delete with the instance. Each
// begins with a look at what is there, so that it does not matter who made it.
func (d *Driver) CreateENI(ctx context.Context, r cloud.CreateENIRequest) (*cloud.ENI, error) {
	if err := r.Check(); err != nil {
		return nil, invalidf("%v", err)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	subnets, err := a.subnets(ctx, []types.Filter{filter("subnet-id", r.SubnetID)})
	if err != nil {
		return nil, err
	}
	if len(subnets) == 0 {
		return nil, &cloud.Error{Class: cloud.NotFound, Message: "there is no subnet " + r.SubnetID + " with a range of IPv4"}
	}
	if r.IPv6+r.IPv6Prefixes > 0 && !subnets[0].CIDR6.IsValid() {
		return nil, errNoIPv6(r.SubnetID)
	}
	siblings, err := a.enisOf(ctx, r.InstanceID)
	if err != nil {
		return nil, err
	}
	id, err := a.made(ctx, r, siblings)
	if err != nil {
		return nil, err
	}
	c := &creation{journey: journey{api: a, id: id}, request: r, began: time.Now()}
	c.take(siblings)
	e, err := c.complete(ctx)
	if err != nil {
		return nil, err
	}
	e.Subnet, e.Gateway = subnets[0].CIDR, subnets[0].Gateway
	e.Subnet6, e.Gateway6 = subnets[0].CIDR6, gateway6(subnets[0].CIDR6)
	return &e, nil
}

// made returns the ID of the request's ENI: one that an earlier call made, or a new one.
func (a *api) made(ctx context.Context, r cloud.CreateENIRequest, siblings []listed) (string, error) {
	for _, e := range siblings {
		if e.Tags[cloud.TagToken] == r.Token {
			return e.ID, nil
		}
	}
	if len(r.SecurityGroups) == 0 {
		primary, err := primaryOf(r.InstanceID, siblings)
		if err != nil {
			return "", err
		}
		r.SecurityGroups = primary.SecurityGroups
	}
	var out *ec2.CreateNetworkInterfaceOutput
	err := a.tokened(ctx, func(ctx context.Context) (err error) {
		out, err = a.CreateNetworkInterface(ctx, newInput(r))
		return err
	})
	switch {
	case hasCode(err, "IdempotentParameterMismatch"): // made with other tags or security groups, those of then
		return a.madeEarlier(ctx, r.Token)
	case err != nil:
		return "", err
	case out.NetworkInterface == nil:
		return "", &cloud.Error{Class: cloud.Internal, Message: "EC2 made an ENI and does not name it"}
	}
	return awssdk.ToString(out.NetworkInterface.NetworkInterfaceId), nil
}

func newInput(r cloud.CreateENIRequest) *ec2.CreateNetworkInterfaceInput {
	in := &ec2.CreateNetworkInterfaceInput{
		SubnetId: &r.SubnetID, Groups: r.SecurityGroups, Description: awssdk.String(description), ClientToken: &r.Token,
	}
	if r.Addresses > 0 {
		in.SecondaryPrivateIpAddressCount = awssdk.Int32(int32(r.Addresses))
	}
	if r.Prefixes > 0 {
		in.Ipv4PrefixCount = awssdk.Int32(int32(r.Prefixes))
	}
	if r.IPv6 > 0 {
		in.Ipv6AddressCount = awssdk.Int32(int32(r.IPv6))
	}
	if r.IPv6Prefixes > 0 {
		in.Ipv6PrefixCount = awssdk.Int32(int32(r.IPv6Prefixes))
	}
	tags := types.TagSpecification{ResourceType: types.ResourceTypeNetworkInterface}
	all := maps.Clone(r.Tags)
	if all == nil {
		all = map[string]string{}
	}
	all[cloud.TagToken] = r.Token
	for _, key := range slices.Sorted(maps.Keys(all)) { // in one order: a repetition has to be the same request
		tags.Tags = append(tags.Tags, types.Tag{Key: &key, Value: awssdk.String(all[key])})
	}
	in.TagSpecifications = []types.TagSpecification{tags}
	return in
}

// madeEarlier finds by its tag what the token made, where EC2 says that it made something else. That may not be listed yet;
// it is gone where it never is.
func (a *api) madeEarlier(ctx context.Context, token string) (string, error) {
	until := time.Now().Add(visibleAfter)
	for p := (call.Poll{}); ; {
		enis, err := a.tagged(ctx, map[string]string{cloud.TagToken: token})
		switch {
		case err != nil:
			return "", err
		case len(enis) > 0:
			return enis[0].ID, nil
		case time.Now().After(until):
			return "", &cloud.Error{Class: cloud.NotFound, Message: "the ENI that was made for token " + token + " is gone: another token is needed"}
		case !p.Wait(ctx):
			return "", &cloud.Error{Class: cloud.Unreachable, Message: "the ENI that was made for token " + token + " is not listed in time"}
		}
	}
}

// creation takes an ENI that was made to where the request wants it.
type creation struct {
	journey
	request cloud.CreateENIRequest
	began   time.Time
	taken   map[int]bool // device indexes
	refused int          // of them, how often EC2 said so
}

// take notes which device indexes are not free.
func (c *creation) take(siblings []listed) {
	c.taken = map[int]bool{0: true}
	for _, e := range siblings {
		c.taken[e.DeviceIndex] = true
	}
}

// complete attaches the ENI and has it deleted with the instance. What EC2 refuses to attach is deleted.
func (c *creation) complete(ctx context.Context) (cloud.ENI, error) {
	var done cloud.ENI
	err := c.follow(ctx, "attach", func(ctx context.Context, e listed, err error) error {
		done = e.ENI
		switch {
		case err != nil && time.Since(c.began) < visibleAfter:
			return errAgain
		case err != nil:
			return err
		case e.State == cloud.Available:
			return c.attach(ctx)
		case e.InstanceID != "" && e.InstanceID != c.request.InstanceID:
			return invalidf("attach %s to %s: it is attached to %s", e.ID, c.request.InstanceID, e.InstanceID)
		case e.State != cloud.Attached:
			return errAgain
		case !e.DeleteOnTermination:
			return c.bind(ctx, e)
		}
		return nil
	})
	return done, err
}

// attach asks for the ENI to be attached at a device index that is free. Whether it was is the next look's to tell.
func (c *creation) attach(ctx context.Context) error {
	index := c.index()
	err := c.change(ctx, func(ctx context.Context) error {
		_, err := c.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{
			NetworkInterfaceId: &c.id, InstanceId: &c.request.InstanceID, DeviceIndex: awssdk.Int32(int32(index)),
		})
		return err
	})
	switch {
	case err == nil, hasCode(err, "InvalidNetworkInterface.InUse", "InvalidNetworkInterfaceID.NotFound", "IncorrectState"):
		return c.again(err)
	case hasCode(err, "InvalidParameterValue") && c.request.DeviceIndex == 0 && c.refused < unclear:
		return c.nextIndex(ctx, index, err)
	}
	if err = c.look(err); errors.Is(err, errAgain) || cloud.ClassOf(err).Ambiguous() || cloud.ClassOf(err) == cloud.Throttled {
		return err
	}
	return c.giveUp(ctx, err)
}

// index is the one asked for, or the first that is free.
func (c *creation) index() int {
	index := c.request.DeviceIndex
	for index == 0 || c.request.DeviceIndex == 0 && c.taken[index] {
		index++
	}
	return index
}

// nextIndex looks which indexes are taken now: another process may attach at the same time.
func (c *creation) nextIndex(ctx context.Context, index int, refusal error) error {
	siblings, err := c.enisOf(ctx, c.request.InstanceID)
	if err != nil {
		return err
	}
	c.take(siblings)
	c.refused++
	for n := range c.refused { // those too that EC2 doesn't list yet
		c.taken[index-n] = true
	}
	return c.again(refusal)
}

// bind has the ENI deleted with its instance.
func (c *creation) bind(ctx context.Context, e listed) error {
	err := c.change(ctx, func(ctx context.Context) error {
		_, err := c.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: &e.ID,
			Attachment: &types.NetworkInterfaceAttachmentChanges{
				AttachmentId: &e.attachment, DeleteOnTermination: awssdk.Bool(true),
			},
		})
		return err
	})
	if err == nil {
		return errAgain // the next look shows it
	}
	return c.look(err)
}

// giveUp deletes an ENI that EC2 refuses to attach, and says so.
func (c *creation) giveUp(ctx context.Context, refusal error) error {
	var e *cloud.Error
	if !errors.As(refusal, &e) {
		return refusal
	}
	told := *e
	told.Message = fmt.Sprintf("attach %s to %s: %s", c.id, c.request.InstanceID, e.Message)
	return call.Undone(&told, (&journey{api: c.api, id: c.id}).remove(ctx, c.request.InstanceID))
}
