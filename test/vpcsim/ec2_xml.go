package vpcsim

import (
	"encoding/xml"
	"net/netip"
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
	Attachment       attachment   `xml:"attachment"`
	Addresses        []privateIP  `xml:"privateIpAddressesSet>item"`
	IPv6             []privateIP  `xml:"ipv6AddressesSet>item"`
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
		ID: e.ID, SubnetID: e.SubnetID, VPCID: v.vpcID, AvailabilityZone: v.zone, OwnerID: ownerID, Status: "in-use",
		MAC: e.MAC.String(), PrivateIP: e.PrimaryIP.String(), SourceDestCheck: true, InterfaceType: "interface",
		Attachment: attachment{
			ID: e.AttachmentID, InstanceID: e.InstanceID, InstanceOwnerID: ownerID, DeviceIndex: e.DeviceIndex,
			Status: "attached", AttachTime: e.AttachedAt.Format(time.RFC3339), DeleteOnTermination: e.DeviceIndex == 0,
		},
		Addresses: []privateIP{{e.PrimaryIP.String(), true}},
		Groups:    []groupEntry{{groupID, "default"}},
	}
	for _, ip := range e.Secondary {
		n.Addresses = append(n.Addresses, privateIP{ip.String(), false})
	}
	return n
}

type assignAnswer struct {
	XMLName xml.Name `xml:"AssignPrivateIpAddressesResponse"`
	answerHead
	ENI      string            `xml:"networkInterfaceId"`
	Assigned []assignedAddress `xml:"assignedPrivateIpAddressesSet>item"`
	Return   bool              `xml:"return"`
}

type assignedAddress struct {
	Address string `xml:"privateIpAddress"`
}

func assigned(eni string, addresses []netip.Addr) *assignAnswer {
	a := &assignAnswer{ENI: eni, Return: true}
	for _, ip := range addresses {
		a.Assigned = append(a.Assigned, assignedAddress{ip.String()})
	}
	return a
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
	Name    string      `xml:"instanceType"`
	Network networkInfo `xml:"networkInfo"`
}

type networkInfo struct {
	Performance  string `xml:"networkPerformance"`
	ENIs         int    `xml:"maximumNetworkInterfaces"`
	NetworkCards int    `xml:"maximumNetworkCards"`
	IPv4         int    `xml:"ipv4AddressesPerInterface"`
	IPv6         int    `xml:"ipv6AddressesPerInterface"`
	IPv6Allowed  bool   `xml:"ipv6Supported"`
	ENASupport   string `xml:"enaSupport"`
}

func describeType(name string, l typeLimits) instanceType {
	return instanceType{name, networkInfo{
		Performance: "Up to 10 Gigabit", ENIs: l.enis, NetworkCards: 1,
		IPv4: l.addresses, IPv6: l.addresses, IPv6Allowed: true, ENASupport: "required",
	}}
}
