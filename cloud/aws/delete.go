package aws

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/enichain/enichain/cloud"
)

// DeleteENI implements cloud.Driver.
func (d *Driver) DeleteENI(ctx context.Context, instanceID, eni string) error {
	a, err := d.connect(ctx)
	if err != nil {
		return err
	}
	return (&journey{api: a, id: eni}).remove(ctx, instanceID)
}

// remove detaches an ENI from the instance, where it is attached, and deletes it.
func (j *journey) remove(ctx context.Context, instanceID string) error {
	return j.follow(ctx, "delete", func(ctx context.Context, e listed, err error) error {
		switch {
		case err != nil: // EC2 has none of the ID
			return nil
		case e.State == cloud.Available:
			return j.delete(ctx)
		case e.Primary:
			return invalidf("%s is the primary ENI of %s, which it stays", e.ID, e.InstanceID)
		case e.attachment != "" && e.InstanceID == "":
			return invalidf("%s is attached, to no instance of this account, and is not ours to detach", e.ID)
		case e.attachment != "" && e.InstanceID != instanceID:
			return invalidf("%s is attached to %s, and is not ours to detach", e.ID, e.InstanceID)
		case e.State == cloud.Attached:
			return j.detach(ctx, e.attachment)
		}
		return errAgain
	})
}

func (j *journey) detach(ctx context.Context, attachment string) error {
	err := j.change(ctx, func(ctx context.Context) error {
		_, err := j.DetachNetworkInterface(ctx, &ec2.DetachNetworkInterfaceInput{AttachmentId: &attachment})
		return err
	})
	if err == nil || hasCode(err, "IncorrectState") || cloud.ClassOf(err) == cloud.NotFound { // it is on its way, or was already
		return j.again(err)
	}
	return j.look(err)
}

func (j *journey) delete(ctx context.Context) error {
	err := j.change(ctx, func(ctx context.Context) error {
		_, err := j.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &j.id})
		return err
	})
	switch {
	case err == nil, cloud.ClassOf(err) == cloud.NotFound:
		return nil
	case hasCode(err, "InvalidNetworkInterface.InUse", "InvalidParameterValue"): // both are "currently in use"
		return j.again(err)
	}
	return j.look(err)
}
