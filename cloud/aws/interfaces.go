package aws

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/enichain/enichain/cloud"
)

// pageSize is how many ENIs or subnets one answer may list. Calls with neither filter nor MaxResults have a smaller
// allowance.
const pageSize = 100

// listed is an ENI with what EC2 says of it beyond the contract.
type listed struct {
	cloud.ENI
	attachment, zone, vpc string
}

// ENIs implements cloud.Driver.
func (d *Driver) ENIs(ctx context.Context, instanceID string) ([]cloud.ENI, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	all, err := a.enisOf(ctx, instanceID)
	if err != nil {
		return nil, err
	}
	// One that is being attached has no link yet, and one being detached soon has none.
	return told(all, func(e listed) bool { return e.State == cloud.Attached }), nil
}

// told returns the ENIs that pass. One without an address of IPv4, such as EFA's own kind, is no one's business.
func told(all []listed, pass func(listed) bool) []cloud.ENI {
	var enis []cloud.ENI
	for _, e := range all {
		if e.PrimaryIP.IsValid() && pass(e) {
			enis = append(enis, e.ENI)
		}
	}
	return enis
}

// TaggedENIs implements cloud.Driver.
func (d *Driver) TaggedENIs(ctx context.Context, tags map[string]string) ([]cloud.ENI, error) {
	if len(tags) == 0 {
		return nil, invalidf("list ENIs by their tags: there are no tags, and all ENIs of the account are too many")
	}
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	all, err := a.tagged(ctx, tags)
	if err != nil {
		return nil, err
	}
	return told(all, func(listed) bool { return true }), nil
}

func (a *api) tagged(ctx context.Context, tags map[string]string) ([]listed, error) {
	return a.enis(ctx, &ec2.DescribeNetworkInterfacesInput{MaxResults: awssdk.Int32(pageSize), Filters: tagFilters(tags)})
}

// enisOf returns the ENIs of an instance, those on their way in and out among them; there is at least one.
func (a *api) enisOf(ctx context.Context, instanceID string) ([]listed, error) {
	enis, err := a.enis(ctx, &ec2.DescribeNetworkInterfacesInput{
		MaxResults: awssdk.Int32(pageSize), Filters: []types.Filter{filter("attachment.instance-id", instanceID)},
	})
	if err == nil && len(enis) == 0 {
		err = &cloud.Error{Class: cloud.NotFound, Message: fmt.Sprintf("no ENI is attached to instance %s in this region and account", instanceID)}
	}
	return enis, err
}

// eni returns one ENI. An error of class NotFound says that EC2 has none of the ID.
func (a *api) eni(ctx context.Context, id string) (listed, error) {
	enis, err := a.enis(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id}})
	switch {
	case err != nil:
		return listed{}, err
	case len(enis) != 1:
		return listed{}, &cloud.Error{Class: cloud.NotFound, Message: "EC2 lists no ENI " + id}
	}
	return enis[0], nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// tagFilters asks for all of the tags. In a filter's value * and ? are wildcards unless a backslash comes before them.
func tagFilters(tags map[string]string) []types.Filter {
	var filters []types.Filter
	for key, value := range tags {
		filters = append(filters, filter("tag:"+key, strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(value)))
	}
	return filters
}

// enis returns the ENIs asked for, from all pages.
func (a *api) enis(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput) ([]listed, error) {
	var enis []listed
	for {
		var page *ec2.DescribeNetworkInterfacesOutput
		err := a.read(ctx, func(ctx context.Context) (err error) {
			page, err = a.DescribeNetworkInterfaces(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, n := range page.NetworkInterfaces {
			e, err := convert(n)
			if err != nil {
				return nil, &cloud.Error{Class: cloud.Internal, Message: err.Error()}
			}
			enis = append(enis, e)
		}
		if awssdk.ToString(page.NextToken) == "" {
			return enis, nil
		}
		in.NextToken = page.NextToken
	}
}

func convert(n types.NetworkInterface) (listed, error) {
	e := listed{zone: awssdk.ToString(n.AvailabilityZone), vpc: awssdk.ToString(n.VpcId)}
	e.ID, e.MAC = awssdk.ToString(n.NetworkInterfaceId), strings.ToLower(awssdk.ToString(n.MacAddress))
	e.SubnetID, e.State = awssdk.ToString(n.SubnetId), stateOf(n)
	if t := n.Attachment; t != nil {
		e.attachment, e.InstanceID = awssdk.ToString(t.AttachmentId), awssdk.ToString(t.InstanceId)
		e.DeviceIndex, e.DeleteOnTermination = int(awssdk.ToInt32(t.DeviceIndex)), awssdk.ToBool(t.DeleteOnTermination)
		// On the types with several network cards each has a device 0.
		e.Primary = e.InstanceID != "" && e.DeviceIndex == 0 && awssdk.ToInt32(t.NetworkCardIndex) == 0
	}
	for _, g := range n.Groups {
		e.SecurityGroups = append(e.SecurityGroups, awssdk.ToString(g.GroupId))
	}
	e.setTags(n.TagSet)
	return e, e.setAddresses(n)
}

// stateOf is an ENI's state. EC2's status says no more than in-use of one that has an attachment.
func stateOf(n types.NetworkInterface) cloud.ENIState {
	if n.Attachment != nil && n.Attachment.Status != types.AttachmentStatusDetached {
		switch n.Attachment.Status {
		case types.AttachmentStatusAttached:
			return cloud.Attached
		case types.AttachmentStatusDetaching:
			return cloud.Detaching
		}
		return cloud.Attaching
	}
	switch n.Status {
	case "pending": // which the SDK has no word for
		return cloud.Pending
	case types.NetworkInterfaceStatusDetaching:
		return cloud.Detaching
	}
	return cloud.Available
}

// setTags takes the time of creation from the tags: EC2 keeps none of an ENI.
func (e *listed) setTags(tags []types.Tag) {
	for _, t := range tags {
		if e.Tags == nil {
			e.Tags = map[string]string{}
		}
		e.Tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	if created, err := time.Parse(time.RFC3339, e.Tags[cloud.TagCreated]); err == nil {
		e.Created = created.UTC()
	}
}

func (e *listed) setAddresses(n types.NetworkInterface) error {
	for _, p := range n.PrivateIpAddresses {
		ip, err := netip.ParseAddr(awssdk.ToString(p.PrivateIpAddress))
		switch {
		case err != nil:
			return fmt.Errorf("address of %s: %w", e.ID, err)
		case awssdk.ToBool(p.Primary):
			e.PrimaryIP = ip
		default:
			e.Addresses = append(e.Addresses, ip)
		}
	}
	for _, p := range n.Ipv4Prefixes {
		cidr, err := netip.ParsePrefix(awssdk.ToString(p.Ipv4Prefix))
		if err != nil {
			return fmt.Errorf("prefix of %s: %w", e.ID, err)
		}
		e.Prefixes = append(e.Prefixes, cidr)
	}
	return e.setIPv6(n)
}

// Limits implements cloud.Driver.
func (d *Driver) Limits(ctx context.Context, instanceType string) (cloud.Limits, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return cloud.Limits{}, err
	}
	var out *ec2.DescribeInstanceTypesOutput
	err = a.read(ctx, func(ctx context.Context) (err error) {
		out, err = a.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(instanceType)}})
		return err
	})
	if err != nil {
		return cloud.Limits{}, err
	}
	for _, t := range out.InstanceTypes {
		if string(t.InstanceType) == instanceType && t.NetworkInfo != nil {
			return cloud.Limits{
				ENIs:            attachable(t.NetworkInfo),
				AddressesPerENI: int(awssdk.ToInt32(t.NetworkInfo.Ipv4AddressesPerInterface)),
				// EC2 User Guide, "Prefix delegation": instances built on the Nitro System, those of bare metal among them.
				Prefixes:   t.Hypervisor == types.InstanceTypeHypervisorNitro || awssdk.ToBool(t.BareMetal),
				IPv6PerENI: ipv6PerENI(t.NetworkInfo),
			}, nil
		}
	}
	return cloud.Limits{}, &cloud.Error{Class: cloud.NotFound, Message: "EC2 says nothing of instance type " + instanceType}
}

// attachable is how many ENIs network card 0 takes, which is AttachNetworkInterface's. EC2's own sum is of all cards.
func attachable(info *types.NetworkInfo) int {
	for _, card := range info.NetworkCards {
		if awssdk.ToInt32(card.NetworkCardIndex) == 0 {
			return int(awssdk.ToInt32(card.MaximumNetworkInterfaces))
		}
	}
	return int(awssdk.ToInt32(info.MaximumNetworkInterfaces))
}
