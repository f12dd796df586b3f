package vpcsim

import (
	"net/netip"
	"slices"
	"strconv"
)

func (v *VPC) createNetworkInterface(p *params) (any, error) {
	n := newENI{
		subnetID: p.required("SubnetId"), request: p.request(nil, nil), six: p.request6(),
		groups: p.list("SecurityGroupId"), tags: p.tags("network-interface"), description: p.text("Description"),
		token: p.text("ClientToken"), asked: p.asked(),
	}
	if s := p.text("PrivateIpAddress"); s != "" {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			p.fail(errorf("InvalidParameterValue", "Value ( %s ) for parameter privateIpAddress is invalid.", s))
		}
		n.primary = ip
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	e, err := v.createENI(n)
	if err != nil {
		return nil, err
	}
	return &createAnswer{Interface: v.networkInterface(e), ClientToken: n.token}, nil
}

func (v *VPC) attachNetworkInterface(p *params) (any, error) {
	id, instanceID := p.required("NetworkInterfaceId"), p.required("InstanceId")
	index, err := strconv.Atoi(p.required("DeviceIndex"))
	if err != nil {
		p.fail(errorf("InvalidParameterValue", "The device index is no number."))
	}
	if card := p.text("NetworkCardIndex"); card != "" && card != "0" {
		p.fail(errorf("InvalidParameterValue", "The instance has one network card."))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	e, err := v.attachENI(id, instanceID, max(index, 0))
	if err != nil {
		return nil, err
	}
	return &attachAnswer{AttachmentID: e.AttachmentID}, nil
}

func (v *VPC) detachNetworkInterface(p *params) (any, error) {
	id := p.required("AttachmentId")
	p.truth("Force")
	if err := p.done(); err != nil {
		return nil, err
	}
	v.mu.Lock()
	n := slices.IndexFunc(v.enis, func(e *ENI) bool { return e.AttachmentID == id })
	eni := ""
	if n >= 0 {
		eni = v.enis[n].ID
	}
	v.mu.Unlock()
	if eni == "" {
		return nil, errorf("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist", id)
	}
	if _, err := v.detachENI(eni); err != nil {
		return nil, err
	}
	return &detachAnswer{Return: true}, nil
}

func (v *VPC) deleteNetworkInterface(p *params) (any, error) {
	id := p.required("NetworkInterfaceId")
	if err := p.done(); err != nil {
		return nil, err
	}
	if err := v.deleteENI(id); err != nil {
		return nil, err
	}
	return &deleteAnswer{Return: true}, nil
}

// modifyNetworkInterfaceAttribute changes one attribute, as EC2 does: here whether the ENI goes with its instance.
func (v *VPC) modifyNetworkInterfaceAttribute(p *params) (any, error) {
	id := p.required("NetworkInterfaceId")
	attachmentID, remove := p.required("Attachment.AttachmentId"), p.truth("Attachment.DeleteOnTermination")
	if err := p.done(); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.apiENI(id)
	switch {
	case err != nil:
		return nil, err
	case e.AttachmentID != attachmentID:
		return nil, errorf("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist", attachmentID)
	case remove == nil:
		return nil, errorf("MissingParameter", "The request must contain the parameter attachment.deleteOnTermination")
	}
	e.DeleteOnTermination = *remove
	return &modifyAnswer{Return: true}, nil
}

func (v *VPC) describeSubnets(p *params) (any, error) {
	ids, filters := p.list("SubnetId"), p.filters()
	size, after := p.number("MaxResults", 5, 1000, 0), p.text("NextToken")
	if err := p.done(); err != nil {
		return nil, err
	}
	for name := range filters {
		if _, known := v.subnetValues(&subnet{}, name); !known {
			return nil, errorf("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range ids {
		if _, err := v.subnetByID(id); err != nil {
			return nil, err
		}
	}
	answer := &describeSubnetsAnswer{}
	for _, s := range v.subnets {
		switch {
		case after != "": // still on an earlier page
			if s.ID == after {
				after = ""
			}
		case len(ids) > 0 && !slices.Contains(ids, s.ID) || !v.subnetMatches(s, filters):
		case size > 0 && len(answer.Subnets) == size:
			answer.NextToken = answer.Subnets[size-1].ID
			return answer, nil
		default:
			answer.Subnets = append(answer.Subnets, v.describeSubnet(s))
		}
	}
	return answer, nil
}

// subnetValues is filterValues for subnets.
func (v *VPC) subnetValues(s *subnet, filter string) ([]string, bool) {
	switch filter {
	case "subnet-id":
		return []string{s.ID}, true
	case "vpc-id":
		return []string{v.vpcID}, true
	case "availability-zone":
		return []string{s.Zone}, true
	case "state":
		return []string{"available"}, true
	}
	return tagValues(s.Tags, filter)
}

func (v *VPC) subnetMatches(s *subnet, filters map[string][]string) bool {
	for name, wanted := range filters {
		if have, _ := v.subnetValues(s, name); !anyWanted(have, wanted) {
			return false
		}
	}
	return true
}
