package tencent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// pageSize is the most that one answer may list; without it there would be 20.
const pageSize = 100

// State words of ENIs and addresses ("NetworkInterface" and "PrivateIpAddressSpecification" of the VPC API).
const (
	statePending   = "PENDING"
	stateAvailable = "AVAILABLE"
	stateAttaching = "ATTACHING"
	stateDetaching = "DETACHING"
	stateDeleting  = "DELETING"
)

// listed is an ENI with the addresses that it doesn't have yet, or soon no longer.
type listed struct {
	cloud.ENI
	zone, vpc       string
	coming, leaving []netip.Addr
}

// ENIs implements cloud.Driver. Addresses that are being assigned are waited for: whoever asks what became of an
// assignment has to be told of them.
func (d *Driver) ENIs(ctx context.Context, instanceID string) ([]cloud.ENI, error) {
	a, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	found, err := a.settledENIs(ctx, instanceID)
	if err != nil {
		return nil, err
	}
	var enis []cloud.ENI
	for _, e := range found {
		if e.State == cloud.Attached { // one that is being attached has no link yet, and one being detached soon has none
			enis = append(enis, e.ENI)
		}
	}
	if len(enis) == 0 {
		return nil, &cloud.Error{Class: cloud.NotFound, Message: fmt.Sprintf("no ENI is attached to instance %s in this region and account", instanceID)}
	}
	return enis, nil
}

// settledENIs returns the instance's ENIs when no address is coming any more, or has not come in good time.
func (a *api) settledENIs(ctx context.Context, instanceID string) ([]listed, error) {
	const patience = 10 * time.Second
	var found []listed
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for p := (call.Poll{}); ; {
		var err error
		if found, err = a.enis(ctx, ofInstance(instanceID)); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(e listed) bool { return len(e.coming) > 0 }) || !p.Wait(waiting) {
			return found, nil
		}
	}
}

// filter selects what a Describe call lists.
type filter struct {
	name  string
	value string
}

func ofInstance(id string) []filter { return []filter{{"attachment.instance-id", id}} }

func sdkFilters(filters []filter) []*vpcsdk.Filter {
	var all []*vpcsdk.Filter
	for _, f := range filters {
		all = append(all, &vpcsdk.Filter{Name: &f.name, Values: []*string{&f.value}})
	}
	return all
}

// enis returns the ENIs that pass the filters, from all pages.
func (a *api) enis(ctx context.Context, filters []filter) ([]listed, error) {
	in := vpcsdk.NewDescribeNetworkInterfacesRequest()
	in.Filters, in.Limit = sdkFilters(filters), new(uint64(pageSize))
	return a.pages(ctx, in)
}

// eni returns one ENI, or nil where there is none.
func (a *api) eni(ctx context.Context, id string) (*listed, error) {
	in := vpcsdk.NewDescribeNetworkInterfacesRequest()
	in.NetworkInterfaceIds = []*string{&id}
	found, err := a.pages(ctx, in)
	switch {
	case cloud.ClassOf(err) == cloud.NotFound: // the documents leave open whether it is this or an empty list
		return nil, nil
	case err != nil || len(found) == 0:
		return nil, err
	}
	return &found[0], nil
}

func (a *api) pages(ctx context.Context, in *vpcsdk.DescribeNetworkInterfacesRequest) ([]listed, error) {
	var found []listed
	for {
		in.Offset = new(uint64(len(found)))
		page, err := read(ctx, a, func(ctx context.Context) (*vpcsdk.DescribeNetworkInterfacesResponse, error) {
			return a.vpc.DescribeNetworkInterfacesWithContext(ctx, in)
		})
		if err != nil {
			return nil, err
		}
		for _, n := range page.Response.NetworkInterfaceSet {
			e, err := convert(n)
			if err != nil {
				return nil, &cloud.Error{Class: cloud.Internal, Message: err.Error()}
			}
			found = append(found, e)
		}
		if len(page.Response.NetworkInterfaceSet) == 0 || uint64(len(found)) >= value(page.Response.TotalCount) {
			return unique(found), nil
		}
	}
}

// unique drops ENIs that are listed twice: one that went while the pages were read moves the others.
func unique(found []listed) []listed {
	seen := map[string]bool{}
	return slices.DeleteFunc(found, func(e listed) bool {
		again := seen[e.ID]
		seen[e.ID] = true
		return again
	})
}

func convert(n *vpcsdk.NetworkInterface) (listed, error) {
	e := listed{
		ENI: cloud.ENI{
			ID: value(n.NetworkInterfaceId), MAC: strings.ToLower(value(n.MacAddress)), Primary: value(n.Primary),
			SubnetID: value(n.SubnetId), State: stateOf(n), Created: created(n),
		},
		zone: value(n.Zone), vpc: value(n.VpcId),
	}
	if n.Attachment != nil {
		e.InstanceID, e.DeviceIndex = value(n.Attachment.InstanceId), int(value(n.Attachment.DeviceIndex))
	}
	for _, group := range n.GroupSet {
		e.SecurityGroups = append(e.SecurityGroups, value(group))
	}
	for _, tag := range n.TagSet {
		if e.Tags == nil {
			e.Tags = map[string]string{}
		}
		e.Tags[value(tag.Key)] = value(tag.Value)
	}
	for _, p := range n.PrivateIpAddressSet {
		ip, err := netip.ParseAddr(value(p.PrivateIpAddress))
		switch state := value(p.State); {
		case err != nil:
			return e, fmt.Errorf("address of %s: %w", e.ID, err)
		case value(p.Primary):
			e.PrimaryIP = ip
		case state == statePending:
			e.coming = append(e.coming, ip)
		case state == stateAvailable:
			e.Addresses = append(e.Addresses, ip)
		default: // DELETING, or MIGRATING to another ENI
			e.leaving = append(e.leaving, ip)
		}
	}
	for _, ip := range n.Ipv6AddressSet {
		if err := e.addIPv6(ip); err != nil {
			return e, err
		}
	}
	return e, nil
}

// stateOf puts the API's two halves together: AVAILABLE is attached where there is an attachment.
func stateOf(n *vpcsdk.NetworkInterface) cloud.ENIState {
	attached := n.Attachment != nil && value(n.Attachment.InstanceId) != ""
	switch value(n.State) {
	case stateAttaching:
		return cloud.Attaching
	case stateDetaching:
		return cloud.Detaching
	case stateDeleting:
		return cloud.Deleting
	}
	switch {
	case attached: // PENDING too: something about it is being changed
		return cloud.Attached
	case value(n.State) == statePending:
		return cloud.Pending
	}
	return cloud.Available
}

// created is the time of the tag, or else the API's, whose zone is not documented: read as UTC, China's time makes an ENI
// look younger than it is, and never older.
func created(n *vpcsdk.NetworkInterface) time.Time {
	for _, tag := range n.TagSet {
		if value(tag.Key) == cloud.TagCreated {
			if at, err := time.Parse(time.RFC3339, value(tag.Value)); err == nil {
				return at
			}
		}
	}
	at, err := time.Parse(time.DateTime, value(n.CreatedTime))
	if err != nil {
		return time.Time{}
	}
	return at
}
