package vpcsim

import (
	"encoding/xml"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// The answers, as the EC2 API Reference shows them. Every one has EC2's name space and its request ID.

type answerHead struct {
	Space     string `xml:"xmlns,attr"`
	RequestID string `xml:"requestId"`
}

func (h *answerHead) setRequestID(id string) {
	h.Space = "http://ec2.amazonaws.com/doc/" + apiVersion + "/"
	h.RequestID = id
}

type describeNetworkInterfacesAnswer struct {
	XMLName xml.Name `xml:"DescribeNetworkInterfacesResponse"`
	answerHead
	Interfaces []networkInterface `xml:"networkInterfaceSet>item"`
	NextToken  string             `xml:"nextToken,omitempty"`
}

type networkInterface struct {
	ID               string       `xml:"networkInterfaceId"`
	SubnetID         string       `xml:"subnetId"`
	VPCID            string       `xml:"vpcId"`
	AvailabilityZone string       `xml:"availabilityZone"`
	Description      string       `xml:"description"`
	OwnerID          string       `xml:"ownerId"`
	RequesterManaged bool         `xml:"requesterManaged"`
	Status           string       `xml:"status"`
	MAC              string       `xml:"macAddress"`
	PrivateIP        string       `xml:"privateIpAddress"`
	SourceDestCheck  bool         `xml:"sourceDestCheck"`
	Attachment       *attachment  `xml:"attachment"`
	Addresses        []privateIP  `xml:"privateIpAddressesSet>item"`
	Prefixes         []ipv4Prefix `xml:"ipv4PrefixSet>item"`
	Tags             []tagEntry   `xml:"tagSet>item"`
	IPv6             []ipv6Item   `xml:"ipv6AddressesSet>item"`
	Prefixes6        []ipv6Prefix `xml:"ipv6PrefixSet>item"`
	Groups           []groupEntry `xml:"groupSet>item"`
	InterfaceType    string       `xml:"interfaceType"`
}

type attachment struct {
	ID                  string `xml:"attachmentId"`
	InstanceID          string `xml:"instanceId"`
	InstanceOwnerID     string `xml:"instanceOwnerId"`
	DeviceIndex         int    `xml:"deviceIndex"`
	NetworkCardIndex    int    `xml:"networkCardIndex"`
	Status              string `xml:"status"`
	AttachTime          string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

type privateIP struct {
	Address string `xml:"privateIpAddress"`
	Primary bool   `xml:"primary"`
}

type ipv4Prefix struct {
	Prefix string `xml:"ipv4Prefix"`
}

type tagEntry struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type groupEntry struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

const (
	ownerID = "123456789012"
	groupID = "sg-0123456789abcdef0"
)

func (v *VPC) networkInterface(e ENI) networkInterface {
	n := networkInterface{
		ID: e.ID, SubnetID: e.SubnetID, VPCID: v.vpcID, AvailabilityZone: v.zoneOf(e), OwnerID: ownerID, Status: interfaceStatus(e),
		MAC: e.MAC.String(), PrivateIP: e.PrimaryIP.String(), SourceDestCheck: true, InterfaceType: "interface",
		Description: e.Description, Addresses: []privateIP{{e.PrimaryIP.String(), true}},
		Prefixes: prefixItems(e.Prefixes), Tags: tagItems(e.Tags), IPv6: ipv6Items(e), Prefixes6: prefix6Items(e.Prefixes6),
	}
	if e.InstanceID != "" {
		n.Attachment = &attachment{
			ID: e.AttachmentID, InstanceID: e.InstanceID, InstanceOwnerID: ownerID, DeviceIndex: e.DeviceIndex,
			Status: string(e.State), AttachTime: e.AttachedAt.Format(time.RFC3339), DeleteOnTermination: e.DeleteOnTermination,
		}
	}
	for _, ip := range e.Secondary {
		n.Addresses = append(n.Addresses, privateIP{ip.String(), false})
	}
	for i, name := range groupNames(e.SecurityGroups) {
		n.Groups = append(n.Groups, groupEntry{e.SecurityGroups[i], name})
	}
	return n
}

// zoneOf is the zone of an ENI's subnet. The list of subnets never changes.
func (v *VPC) zoneOf(e ENI) string {
	for _, s := range v.subnets {
		if s.ID == e.SubnetID {
			return s.Zone
		}
	}
	return v.zone
}

// interfaceStatus is EC2's word for an ENI's state: one that is on its way in or out is in use.
func interfaceStatus(e ENI) string {
	if e.InstanceID != "" {
		return "in-use"
	}
	return string(e.State)
}

func groupNames(ids []string) []string {
	names := slices.Clone(ids)
	for n, id := range ids {
		if id == groupID {
			names[n] = "default"
		}
	}
	return names
}

func prefixItems(prefixes []netip.Prefix) []ipv4Prefix {
	var items []ipv4Prefix
	for _, p := range prefixes {
		items = append(items, ipv4Prefix{p.String()})
	}
	return items
}

func tagItems(tags map[string]string) []tagEntry {
	var items []tagEntry
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		items = append(items, tagEntry{key, tags[key]})
	}
	return items
}

type assignAnswer struct {
	XMLName xml.Name `xml:"AssignPrivateIpAddressesResponse"`
	answerHead
	ENI      string            `xml:"networkInterfaceId"`
	Assigned []assignedAddress `xml:"assignedPrivateIpAddressesSet>item"`
	Prefixes []ipv4Prefix      `xml:"assignedIpv4PrefixSet>item"`
	Return   bool              `xml:"return"`
}

type assignedAddress struct {
	Address string `xml:"privateIpAddress"`
}

func assigned(eni string, g grant) *assignAnswer {
	a := &assignAnswer{ENI: eni, Prefixes: prefixItems(g.prefixes), Return: true}
	for _, ip := range g.addresses {
		a.Assigned = append(a.Assigned, assignedAddress{ip.String()})
	}
	return a
}

type createAnswer struct {
	XMLName xml.Name `xml:"CreateNetworkInterfaceResponse"`
	answerHead
	Interface   networkInterface `xml:"networkInterface"`
	ClientToken string           `xml:"clientToken,omitempty"`
}

type attachAnswer struct {
	XMLName xml.Name `xml:"AttachNetworkInterfaceResponse"`
	answerHead
	AttachmentID     string `xml:"attachmentId"`
	NetworkCardIndex int    `xml:"networkCardIndex"`
}

type detachAnswer struct {
	XMLName xml.Name `xml:"DetachNetworkInterfaceResponse"`
	answerHead
	Return bool `xml:"return"`
}

type deleteAnswer struct {
	XMLName xml.Name `xml:"DeleteNetworkInterfaceResponse"`
	answerHead
	Return bool `xml:"return"`
}

type modifyAnswer struct {
	XMLName xml.Name `xml:"ModifyNetworkInterfaceAttributeResponse"`
	answerHead
	Return bool `xml:"return"`
}

type describeSubnetsAnswer struct {
	XMLName xml.Name `xml:"DescribeSubnetsResponse"`
	answerHead
	Subnets   []subnetItem `xml:"subnetSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

type subnetItem struct {
	ID               string     `xml:"subnetId"`
	State            string     `xml:"state"`
	VPCID            string     `xml:"vpcId"`
	CIDR             string     `xml:"cidrBlock"`
	Free             int        `xml:"availableIpAddressCount"`
	AvailabilityZone string     `xml:"availabilityZone"`
	OwnerID          string     `xml:"ownerId"`
	Tags             []tagEntry `xml:"tagSet>item"`
	IPv6             []cidr6    `xml:"ipv6CidrBlockAssociationSet>item"`
}

func (v *VPC) describeSubnet(s *subnet) subnetItem {
	return subnetItem{
		ID: s.ID, State: "available", VPCID: v.vpcID, CIDR: s.CIDR.String(), Free: s.free(), AvailabilityZone: s.Zone,
		OwnerID: ownerID, Tags: tagItems(s.Tags), IPv6: cidr6Items(s.IPv6),
	}
}

type unassignAnswer struct {
	XMLName xml.Name `xml:"UnassignPrivateIpAddressesResponse"`
	answerHead
	Return bool `xml:"return"`
}

type describeInstanceTypesAnswer struct {
	XMLName xml.Name `xml:"DescribeInstanceTypesResponse"`
	answerHead
	Types []instanceType `xml:"instanceTypeSet>item"`
}

type instanceType struct {
	Name       string      `xml:"instanceType"`
	BareMetal  bool        `xml:"bareMetal"`
	Hypervisor string      `xml:"hypervisor"`
	Network    networkInfo `xml:"networkInfo"`
}

type networkInfo struct {
	Performance string `xml:"networkPerformance"`
	ENIs        int    `xml:"maximumNetworkInterfaces"`
	MaxCards    int    `xml:"maximumNetworkCards"`
	DefaultCard int    `xml:"defaultNetworkCardIndex"`
	IPv4        int    `xml:"ipv4AddressesPerInterface"`
	IPv6        int    `xml:"ipv6AddressesPerInterface"`
	IPv6Allowed bool   `xml:"ipv6Supported"`
	ENASupport  string `xml:"enaSupport"`

	Cards []networkCard `xml:"networkCards>item"`
}

type networkCard struct {
	Index int `xml:"networkCardIndex"`
	ENIs  int `xml:"maximumNetworkInterfaces"`
}

func describeType(name string, l typeLimits) instanceType {
	hypervisor := "nitro"
	if l.xen {
		hypervisor = "xen"
	}
	info := networkInfo{
		Performance: "Up to 10 Gigabit", ENIs: l.enis * (1 + l.cards), MaxCards: 1 + l.cards,
		IPv4: l.addresses, IPv6: l.addresses6(), IPv6Allowed: !l.four, ENASupport: "required",
	}
	for index := range info.MaxCards {
		info.Cards = append(info.Cards, networkCard{index, l.enis})
	}
	return instanceType{name, false, hypervisor, info}
}
