package vpcsim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
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
		if _, err := v.apiENI(id); err != nil {
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
		case !v.visible(e):
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
	if strings.HasPrefix(filter, "attachment.") {
		return attachmentValues(e, filter)
	}
	switch filter {
	case "network-interface-id":
		return []string{e.ID}, true
	case "subnet-id":
		return []string{e.SubnetID}, true
	case "mac-address":
		return []string{e.MAC.String()}, true
	case "description":
		return []string{e.Description}, true
	case "group-id":
		return e.SecurityGroups, true
	case "status":
		return []string{interfaceStatus(e)}, true
	case "addresses.private-ip-address":
		all := []string{e.PrimaryIP.String()}
		for _, ip := range e.Secondary {
			all = append(all, ip.String())
		}
		return all, true
	}
	return tagValues(e.Tags, filter)
}

func attachmentValues(e ENI, filter string) ([]string, bool) {
	values := map[string]string{
		"attachment.instance-id": e.InstanceID, "attachment.attachment-id": e.AttachmentID, "attachment.status": string(e.State),
		"attachment.device-index":          strconv.Itoa(e.DeviceIndex),
		"attachment.delete-on-termination": strconv.FormatBool(e.DeleteOnTermination),
	}
	value, known := values[filter]
	if e.InstanceID == "" {
		return nil, known
	}
	return []string{value}, known
}

// tagValues is for the filters tag:KEY and tag-key.
func tagValues(tags map[string]string, filter string) ([]string, bool) {
	if filter == "tag-key" {
		return slices.Collect(maps.Keys(tags)), true
	}
	key, ok := strings.CutPrefix(filter, "tag:")
	if value, has := tags[key]; ok && has {
		return []string{value}, true
	}
	return nil, ok
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
		if !anyWanted(have, wanted) {
			return false
		}
	}
	return true
}

// anyWanted says whether a filter's value is there. EC2 takes * and ? in it for wildcards, which the simulator knows only
// behind a backslash, as themselves.
func anyWanted(have, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool {
		return slices.Contains(have, strings.NewReplacer(`\\`, `\`, `\*`, "*", `\?`, "?").Replace(w))
	})
}

func (v *VPC) assignPrivateIPAddresses(p *params) (any, error) {
	id, r := p.required("NetworkInterfaceId"), p.request(p.addresses("PrivateIpAddress"), p.prefixes("Ipv4Prefix"))
	if reassign := p.text("AllowReassignment"); reassign != "" && reassign != "false" {
		p.fail(errorf("UnsupportedOperation", "The simulator does not reassign addresses."))
	}
	if r.slots() == 0 {
		p.fail(errorf("MissingParameter", "Either 'secondaryPrivateIpAddressCount' or 'privateIpAddress' must be specified."))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	g, err := v.assign(id, r)
	if err != nil {
		return nil, err
	}
	return assigned(id, g), nil
}

func (v *VPC) unassignPrivateIPAddresses(p *params) (any, error) {
	id := p.required("NetworkInterfaceId")
	g := grant{p.addresses("PrivateIpAddress"), p.prefixes("Ipv4Prefix")}
	if len(g.all()) == 0 {
		p.fail(errorf("MissingParameter", "The request must contain the parameter privateIpAddress"))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	if err := v.unassign(id, g); err != nil {
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
