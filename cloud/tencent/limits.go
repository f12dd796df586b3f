package tencent

import (
	"context"
	"regexp"
	"strconv"

	cvmsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/cvm/v20170312"
	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
)

// Limits implements cloud.Driver. The API knows the limits of instances, not of types: it is asked for this instance's
// where that is of the type. Otherwise, and where the role may not ask, the documents' table goes by the number of cores.
func (d *Driver) Limits(ctx context.Context, instanceType string) (cloud.Limits, error) {
	return with6(d.limits4(ctx, instanceType))
}

func (d *Driver) limits4(ctx context.Context, instanceType string) (cloud.Limits, error) {
	id, err := d.metadata.read(ctx, "instance-id")
	if err != nil {
		return cloud.Limits{}, metadataError(err)
	}
	own, err := d.metadata.read(ctx, "instance/instance-type")
	if err != nil {
		own = "" // some images of the service do not have it
	}
	if own != "" && own != instanceType {
		return limitsByName(instanceType)
	}
	a, err := d.connect(ctx)
	if err != nil {
		return cloud.Limits{}, err
	}
	limits, err := a.limits(ctx, id)
	if cloud.ClassOf(err) != cloud.Auth && cloud.ClassOf(err) != cloud.NotFound {
		return limits, err
	}
	i, instanceErr := a.instance(ctx, id)
	if instanceErr == nil && value(i.InstanceType) == instanceType && value(i.CPU) > 0 {
		return limitsByCores(instanceType, int(value(i.CPU))), nil
	}
	if limits, nameErr := limitsByName(instanceType); nameErr == nil {
		return limits, nil
	}
	return cloud.Limits{}, err
}

// limits asks for an instance's.
func (a *api) limits(ctx context.Context, instanceID string) (cloud.Limits, error) {
	in := vpcsdk.NewDescribeNetworkInterfaceLimitRequest()
	in.InstanceId = &instanceID
	out, err := read(ctx, a, func(ctx context.Context) (*vpcsdk.DescribeNetworkInterfaceLimitResponse, error) {
		return a.vpc.DescribeNetworkInterfaceLimitWithContext(ctx, in)
	})
	if err != nil {
		return cloud.Limits{}, err
	}
	l := cloud.Limits{ENIs: int(value(out.Response.EniQuantity)), AddressesPerENI: int(value(out.Response.EniPrivateIpAddressQuantity))}
	if l.ENIs < 1 || l.AddressesPerENI < 1 {
		return l, &cloud.Error{Class: cloud.NotFound, Message: "Tencent Cloud says nothing of the limits of " + instanceID}
	}
	return l, nil
}

// instance describes an instance.
func (a *api) instance(ctx context.Context, id string) (*cvmsdk.Instance, error) {
	in := cvmsdk.NewDescribeInstancesRequest()
	in.InstanceIds = []*string{&id}
	out, err := read(ctx, a, func(ctx context.Context) (*cvmsdk.DescribeInstancesResponse, error) {
		return a.cvm.DescribeInstancesWithContext(ctx, in)
	})
	if err != nil {
		return nil, err
	}
	if len(out.Response.InstanceSet) == 0 {
		return nil, &cloud.Error{Class: cloud.NotFound, Message: "there is no instance " + id}
	}
	return out.Response.InstanceSet[0], nil
}

// limitsByCores is the table of the ENI documents, "Use limits" (576/18527), with its exceptions.
func limitsByCores(instanceType string, cores int) cloud.Limits {
	exceptions := map[string]cloud.Limits{
		"SA1.SMALL1":   {ENIs: 2, AddressesPerENI: 2},
		"SA1.MEDIUM2":  {ENIs: 2, AddressesPerENI: 10},
		"SA1.MEDIUM4":  {ENIs: 2, AddressesPerENI: 10},
		"SA1.MEDIUM8":  {ENIs: 2, AddressesPerENI: 10},
		"SA1.LARGE16":  {ENIs: 4, AddressesPerENI: 20},
		"S5se.LARGE8":  {ENIs: 4, AddressesPerENI: 20},
		"S5se.LARGE16": {ENIs: 4, AddressesPerENI: 20},
	}
	if l, ok := exceptions[instanceType]; ok {
		return l
	}
	switch {
	case cores >= 12:
		return cloud.Limits{ENIs: 8, AddressesPerENI: 30}
	case cores >= 8:
		return cloud.Limits{ENIs: 6, AddressesPerENI: 20}
	case cores >= 2:
		return cloud.Limits{ENIs: 4, AddressesPerENI: 10}
	}
	return cloud.Limits{ENIs: 2, AddressesPerENI: 6}
}

// limitsByName reads the cores from a type's name: SMALL is one, MEDIUM two, LARGE four, and nXLARGE n times four. Bare
// metal has no ENIs to attach, and other names say nothing.
func limitsByName(instanceType string) (cloud.Limits, error) {
	found := regexp.MustCompile(`^[A-Z][A-Za-z0-9]*\.(?:(SMALL)|(MEDIUM)|(LARGE)|(\d+)XLARGE)\d+$`).FindStringSubmatch(instanceType)
	if found == nil {
		return cloud.Limits{}, &cloud.Error{Class: cloud.NotFound, Message: "nothing is known of the limits of instance type " + instanceType}
	}
	cores := 4
	switch {
	case found[1] != "":
		cores = 1
	case found[2] != "":
		cores = 2
	case found[4] != "":
		n, err := strconv.Atoi(found[4])
		if err != nil {
			return cloud.Limits{}, invalidf("instance type %s: %v", instanceType, err)
		}
		cores = 4 * n
	}
	return limitsByCores(instanceType, cores), nil
}
