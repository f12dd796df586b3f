package vpcsim

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// tencentType is what CVM says of an instance type beside its limits.
type tencentType struct {
	cores, memory int // GiB
}

// tencentTypes are a handful of types.
func tencentTypes() map[string]tencentType {
	return map[string]tencentType{
		"S5.SMALL1":    {1, 1},
		"S5.MEDIUM4":   {2, 4},
		"S5.LARGE8":    {4, 8},
		"S5.2XLARGE16": {8, 16},
		"S5.4XLARGE32": {16, 32},
		"SA2.MEDIUM4":  {2, 4},
		"SA1.SMALL1":   {1, 1},
	}
}

// tencentLimits goes by the cores, with an exception ("Use limits" of the ENI documents).
func tencentLimits(instanceType string) (typeLimits, bool) {
	t, ok := tencentTypes()[instanceType]
	switch {
	case instanceType == "SA1.SMALL1":
		return typeLimits{enis: 2, addresses: 2}, ok
	case t.cores >= 12:
		return typeLimits{enis: 8, addresses: 30}, ok
	case t.cores >= 8:
		return typeLimits{enis: 6, addresses: 20}, ok
	case t.cores >= 2:
		return typeLimits{enis: 4, addresses: 10}, ok
	}
	return typeLimits{enis: 2, addresses: 6}, ok
}

type tencentDescribeLimitRequest struct{ InstanceId string }

func (v *VPC) tencentDescribeLimit(_ *tencentCall, q *tencentDescribeLimitRequest) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := q.InstanceId
	if e, err := v.eniByID(id); err == nil {
		id = e.InstanceID
	}
	i, err := v.instanceByID(id)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"EniQuantity": i.limits.enis, "EniPrivateIpAddressQuantity": i.limits.addresses,
		"ExtendEniQuantity": nil, "ExtendEniPrivateIpAddressQuantity": nil,
	}, nil
}

// tencentListRequest is of DescribeVpcs and DescribeSubnets, whose numbers are strings.
type tencentListRequest struct {
	VpcIds, SubnetIds []string
	Filters           []tencentFilter
	Offset, Limit     string
}

// page cuts the page that was asked for out of a list.
func listPage[T any](q *tencentListRequest, all []T) ([]T, error) {
	offset, err := index(q.Offset, 0)
	if err != nil {
		return nil, err
	}
	limit, err := index(q.Limit, tencentPage)
	if err != nil {
		return nil, err
	}
	return page(all, offset, &limit)
}

func (v *VPC) tencentDescribeVPCs(_ *tencentCall, q *tencentListRequest) (any, error) {
	passes := func(name string, values []string) (bool, bool) {
		if name == "vpc-id" {
			return oneOf(values, v.vpcID)
		}
		return false, false
	}
	chosen := selection{q.VpcIds, q.Filters}
	if err := chosen.check(passes); err != nil {
		return nil, err
	}
	all := []map[string]any{}
	if chosen.matches(v.vpcID, passes) {
		others := []map[string]any{}
		for _, p := range v.cidrs[1:] {
			others = append(others, map[string]any{"VpcId": v.vpcID, "CidrBlock": p.String(), "AssistantType": 0})
		}
		all = append(all, map[string]any{
			"VpcId": v.vpcID, "VpcName": "enichain", "CidrBlock": v.cidrs[0].String(), "AssistantCidrSet": others,
			"Ipv6CidrBlock": tencentCIDR6(v.ipv6),
			"CreatedTime":   v.started.Format(time.DateTime),
		})
	}
	shown, err := listPage(q, all)
	return map[string]any{"VpcSet": shown, "TotalCount": len(all)}, err
}

func (v *VPC) tencentDescribeSubnets(_ *tencentCall, q *tencentListRequest) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	chosen := selection{q.SubnetIds, q.Filters}
	passes := func(s *subnet) filterTest {
		return func(name string, values []string) (bool, bool) { return v.tencentSubnetPasses(s, name, values) }
	}
	if err := chosen.check(passes(&subnet{})); err != nil {
		return nil, err
	}
	for _, id := range q.SubnetIds {
		if _, err := v.subnetByID(id); err != nil {
			return nil, err
		}
	}
	all := []map[string]any{}
	for _, s := range v.subnets {
		if !chosen.matches(s.ID, passes(s)) {
			continue
		}
		all = append(all, map[string]any{
			"VpcId": v.vpcID, "SubnetId": s.ID, "SubnetName": s.ID, "CidrBlock": s.CIDR.String(), "Zone": s.Zone,
			"Ipv6CidrBlock":           tencentCIDR6(s.IPv6),
			"AvailableIpAddressCount": s.free(), "TotalIpAddressCount": s.total(),
			"CreatedTime": v.started.Format(time.DateTime), "TagSet": tencentTags(s.Tags),
		})
	}
	shown, err := listPage(q, all)
	return map[string]any{"SubnetSet": shown, "TotalCount": len(all)}, err
}

// tencentSubnetPasses tests a subnet with a filter of DescribeSubnets; mu is held.
func (v *VPC) tencentSubnetPasses(s *subnet, name string, values []string) (passes, known bool) {
	switch name {
	case "vpc-id":
		return oneOf(values, v.vpcID)
	case "subnet-id":
		return oneOf(values, s.ID)
	case "zone":
		return oneOf(values, s.Zone)
	case "tag-key":
		return oneOf(values, slices.Collect(maps.Keys(s.Tags))...)
	}
	return hasTag(name, values, s.Tags)
}

type tencentDescribeInstancesRequest struct {
	InstanceIds []string
	Filters     []tencentFilter
	Offset      int
	Limit       *int
}

func (v *VPC) tencentDescribeInstances(_ *tencentCall, q *tencentDescribeInstancesRequest) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	chosen := selection{q.InstanceIds, q.Filters}
	passes := func(i *instance) filterTest {
		return func(name string, values []string) (bool, bool) {
			if name == "instance-id" {
				return oneOf(values, i.ID)
			}
			return false, false
		}
	}
	if err := chosen.check(passes(&instance{})); err != nil {
		return nil, err
	}
	all := []map[string]any{}
	for _, i := range v.instances {
		if chosen.matches(i.ID, passes(i)) {
			all = append(all, v.tencentInstance(i))
		}
	}
	shown, err := page(all, q.Offset, q.Limit)
	return map[string]any{"InstanceSet": shown, "TotalCount": len(all)}, err
}

func (v *VPC) tencentInstance(i *instance) map[string]any {
	t := tencentTypes()[i.Type]
	var addresses []netip.Addr
	var subnetID string
	for _, e := range v.enisOf(i.ID) {
		if e.DeviceIndex == 0 {
			addresses, subnetID = append(addresses, e.PrimaryIP), e.SubnetID
		}
	}
	return map[string]any{
		"InstanceId": i.ID, "InstanceType": i.Type, "InstanceState": "RUNNING", "CPU": t.cores, "Memory": t.memory,
		"Placement":           map[string]any{"Zone": v.zone},
		"VirtualPrivateCloud": map[string]any{"VpcId": v.vpcID, "SubnetId": subnetID},
		"PrivateIpAddresses":  addresses, "SecurityGroupIds": v.groups[:1],
	}
}
