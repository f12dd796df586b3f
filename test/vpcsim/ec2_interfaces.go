package vpcsim

import (
	"net/netip"
	"slices"
	"strconv"
)

// describeNetworkInterfaces answers pages of ENIs in the order of their creation. A page's token is the ID of its last.
func (v *VPC) describeNetworkInterfaces(p *params) (any, error) {
	ids, filters := p.list("NetworkInterfaceId"), p.filters()
	size, after := p.number("MaxResults", 5, 1000, 0), p.text("NextToken")
	if err := p.done(); err != nil {
		return nil, err
	}
	if len(ids) > 0 && size > 0 {
		return nil, errorf("InvalidParameterCombination", "The parameter NetworkInterfaceId cannot be used with the parameter MaxResults")
	}
	if err := checkFilters(filters); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range ids {
		if _, err := v.eniByID(id); err != nil {
			return nil, err
		}
	}
	if v.pageSize > 0 && (size == 0 || v.pageSize < size) {
		size = v.pageSize
	}
	if after != "" {
		if _, err := v.eniByID(after); err != nil {
			return nil, errorf("InvalidPaginationToken", "The specified pagination token is not valid.")
		}
	}
	answer := &describeNetworkInterfacesAnswer{}
	for _, e := range v.enis {
		switch {
		case after != "": // still on an earlier page
			if e.ID == after {
				after = ""
			}
		case len(ids) > 0 && !slices.Contains(ids, e.ID) || !matches(*e, filters):
		case size > 0 && len(answer.Interfaces) == size:
			answer.NextToken = answer.Interfaces[size-1].ID
			return answer, nil
		default:
			answer.Interfaces = append(answer.Interfaces, v.networkInterface(*e))
		}
	}
	return answer, nil
}

// filterValues returns what an ENI has to show for a filter, and whether EC2 knows the filter.
func filterValues(e ENI, filter string) ([]string, bool) {
	switch filter {
	case "attachment.instance-id":
		return []string{e.InstanceID}, true
	case "attachment.device-index":
		return []string{strconv.Itoa(e.DeviceIndex)}, true
	case "attachment.status":
		return []string{"attached"}, true
	case "network-interface-id":
		return []string{e.ID}, true
	case "subnet-id":
		return []string{e.SubnetID}, true
	case "mac-address":
		return []string{e.MAC.String()}, true
	case "addresses.private-ip-address":
		all := []string{e.PrimaryIP.String()}
		for _, ip := range e.Secondary {
			all = append(all, ip.String())
		}
		return all, true
	}
	return nil, false
}

func checkFilters(filters map[string][]string) error {
	for name, values := range filters {
		if _, known := filterValues(ENI{}, name); !known {
			return errorf("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		if len(values) == 0 {
			return errorf("InvalidParameterValue", "The filter '%s' has no value", name)
		}
	}
	return nil
}

// matches says whether the ENI passes every filter, which it does with any of a filter's values.
func matches(e ENI, filters map[string][]string) bool {
	for name, wanted := range filters {
		have, _ := filterValues(e, name)
		if !slices.ContainsFunc(have, func(s string) bool { return slices.Contains(wanted, s) }) {
			return false
		}
	}
	return true
}

func (v *VPC) assignPrivateIPAddresses(p *params) (any, error) {
	id := p.required("NetworkInterfaceId")
	count := p.number("SecondaryPrivateIpAddressCount", 1, 1000, 0)
	listed := p.addresses("PrivateIpAddress")
	if reassign := p.text("AllowReassignment"); reassign != "" && reassign != "false" {
		p.fail(errorf("UnsupportedOperation", "The simulator does not reassign addresses."))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	switch {
	case count == 0 && len(listed) == 0:
		return nil, errorf("MissingParameter", "Either 'secondaryPrivateIpAddressCount' or 'privateIpAddress' must be specified.")
	case count > 0 && len(listed) > 0:
		return nil, errorf("InvalidParameterCombination", "The parameters 'secondaryPrivateIpAddressCount' and 'privateIpAddress' cannot be used together.")
	}
	v.change.Lock()
	defer v.change.Unlock()
	e, granted, err := v.grant(id, count, listed)
	if err != nil {
		return nil, err
	}
	if err := v.fabric.do(assignSteps(e, granted)...); err != nil {
		_, _ = v.revoke(id, granted) // it has just been granted
		return nil, err
	}
	return assigned(id, granted), nil
}

func assignSteps(e ENI, addresses []netip.Addr) []step {
	var steps []step
	for _, ip := range addresses {
		steps = append(steps, step{
			func(f Fabric) error { return f.Assign(e, ip) },
			func(f Fabric) error { return f.Unassign(e, ip) },
		})
	}
	return steps
}

func (v *VPC) unassignPrivateIPAddresses(p *params) (any, error) {
	id := p.required("NetworkInterfaceId")
	listed := p.addresses("PrivateIpAddress")
	if len(listed) == 0 {
		p.fail(errorf("MissingParameter", "The request must contain the parameter privateIpAddress"))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	v.change.Lock()
	defer v.change.Unlock()
	e, err := v.revoke(id, listed)
	if err != nil {
		return nil, err
	}
	steps := assignSteps(e, listed)
	for n := range steps {
		steps[n].do, steps[n].undo = steps[n].undo, steps[n].do
	}
	if err := v.fabric.do(steps...); err != nil {
		_, _, _ = v.grant(id, 0, listed) // they have just been free
		return nil, err
	}
	return &unassignAnswer{Return: true}, nil
}

func (v *VPC) describeInstanceTypes(p *params) (any, error) {
	names := p.list("InstanceType")
	if len(names) == 0 {
		p.fail(errorf("MissingParameter", "The simulator lists only the types that are asked for by InstanceType."))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	answer := &describeInstanceTypesAnswer{}
	for _, name := range names {
		l, known := limitsOf(name)
		if !known {
			return nil, errorf("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
		}
		answer.Types = append(answer.Types, describeType(name, l))
	}
	return answer, nil
}
