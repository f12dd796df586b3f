package cloud

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// known lists the operations.
func (o Op) known() bool {
	switch o {
	case OpNode, OpENIs, OpLimits, OpAssign, OpUnassign,
		OpAssignPrefixes, OpUnassignPrefixes, OpAssignIPv6, OpAssignIPv6Prefixes, OpSubnets, OpCreateENI, OpDeleteENI, OpTaggedENIs:
		return true
	}
	return false
}

// check says what the operation needs and the request has not.
func (r *Request) check() error {
	switch r.Op {
	case OpENIs:
		return need(r.Op, "instanceID", r.InstanceID)
	case OpLimits:
		return need(r.Op, "instanceType", r.InstanceType)
	case OpAssign, OpAssignPrefixes, OpAssignIPv6, OpAssignIPv6Prefixes:
		if r.Count < 1 {
			return fmt.Errorf("%s needs a count of at least 1, and it is %d", r.Op, r.Count)
		}
		return need(r.Op, "eni", r.ENI)
	case OpUnassign:
		return cmp.Or(checkAddresses(r.Addresses), need(r.Op, "eni", r.ENI))
	case OpUnassignPrefixes:
		return cmp.Or(checkPrefixes(r.Prefixes), need(r.Op, "eni", r.ENI))
	case OpSubnets:
		if r.Query == nil {
			return need(r.Op, "query", "")
		}
		return need(r.Op, "query.instanceID", r.Query.InstanceID)
	case OpCreateENI:
		if r.Create == nil {
			return need(r.Op, "create", "")
		}
		return r.Create.Check()
	case OpDeleteENI:
		return need(r.Op, "eni", r.ENI)
	case OpTaggedENIs:
		if len(r.Tags) == 0 {
			return need(r.Op, "tags", "")
		}
	}
	return nil
}

func need(op Op, field, value string) error {
	if value == "" {
		return fmt.Errorf("%s needs %s", op, field)
	}
	return nil
}

// Check says what is wrong with the request, whatever the cloud.
func (c *CreateENIRequest) Check() error {
	for _, r := range c.Token {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("%s: the token has characters beyond printable ASCII", OpCreateENI)
		}
	}
	switch {
	case len(c.Token) > maxToken:
		return fmt.Errorf("%s: the token has more than %d characters", OpCreateENI, maxToken)
	case min(c.DeviceIndex, c.Addresses, c.Prefixes, c.IPv6, c.IPv6Prefixes) < 0:
		return fmt.Errorf("%s: a number is negative", OpCreateENI)
	case c.Addresses > 0 && c.Prefixes > 0, c.IPv6 > 0 && c.IPv6Prefixes > 0:
		return fmt.Errorf("%s: addresses and prefixes cannot be asked for together", OpCreateENI)
	}
	return cmp.Or(
		need(OpCreateENI, "create.instanceID", c.InstanceID), need(OpCreateENI, "create.subnetID", c.SubnetID),
		need(OpCreateENI, "create.token", c.Token),
	)
}

// maxToken is the longest token that both EC2 and Tencent Cloud take, in characters.
const maxToken = 64

func checkAddresses(addresses []netip.Addr) error {
	if len(addresses) == 0 {
		return errors.New("there are no addresses")
	}
	for _, ip := range addresses {
		if !ip.IsValid() {
			return errors.New("an address is empty")
		}
	}
	return nil
}

func checkPrefixes(prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return errors.New("there are no prefixes")
	}
	for _, p := range prefixes {
		if !p.IsValid() || p != p.Masked() {
			return fmt.Errorf("prefix %s is empty, or names an address within", p)
		}
	}
	return nil
}

// checkFamily refuses addresses of IPv4 where IPv6 was asked for.
func checkFamily(addresses []netip.Addr) error {
	for _, ip := range addresses {
		if !ip.Is6() || ip.Is4In6() {
			return fmt.Errorf("%s is not of IPv6", ip)
		}
	}
	return nil
}

// networks are the first addresses of prefixes.
func networks(prefixes []netip.Prefix) []netip.Addr {
	var all []netip.Addr
	for _, p := range prefixes {
		all = append(all, p.Addr())
	}
	return all
}

// check says what the operation returns and the answer has not.
func (a *Answer) check(op Op) error {
	switch op {
	case OpNode:
		return a.Node.check()
	case OpENIs:
		// An instance has its primary ENI at the least: an empty list would have every address taken for gone.
		if len(a.ENIs) == 0 {
			return errors.New("it lists no ENIs")
		}
		return checkENIs(a.ENIs)
	case OpLimits:
		if a.Limits == nil || a.Limits.ENIs < 1 || a.Limits.AddressesPerENI < 1 {
			return errors.New("it has no limits")
		}
	case OpAssign:
		return checkAddresses(a.Addresses)
	case OpAssignPrefixes:
		return checkPrefixes(a.Prefixes)
	case OpAssignIPv6:
		return cmp.Or(checkAddresses(a.Addresses), checkFamily(a.Addresses))
	case OpAssignIPv6Prefixes:
		return cmp.Or(checkPrefixes(a.Prefixes), checkFamily(networks(a.Prefixes)))
	case OpSubnets:
		return checkSubnets(a.Subnets)
	case OpCreateENI:
		if a.ENI == nil || a.ENI.ID == "" || !a.ENI.Subnet.IsValid() || !a.ENI.Gateway.IsValid() {
			return errors.New("it has no ENI with id, subnet and gateway")
		}
		return checkENIs([]ENI{*a.ENI})
	case OpTaggedENIs:
		return checkENIs(a.ENIs)
	}
	return nil
}

func (n *Node) check() error {
	switch {
	case n == nil:
		return errors.New("it has no node")
	case n.InstanceID == "":
		return errors.New("the node has no instanceID")
	case len(n.ENIs) == 0:
		return errors.New("the node has no ENIs")
	}
	for _, e := range n.ENIs {
		if e.Primary && e.MAC == n.PrimaryMAC {
			return checkENIs(n.ENIs)
		}
	}
	return fmt.Errorf("none of the node's ENIs is primary and has primaryMAC %q", n.PrimaryMAC)
}

func checkENIs(enis []ENI) error {
	for _, e := range enis {
		mac, err := net.ParseMAC(e.MAC)
		if err != nil || mac.String() != e.MAC {
			return fmt.Errorf("MAC %q of ENI %s is not of the form 0a:1b:2c:3d:4e:5f, in lower case", e.MAC, e.ID)
		}
		if !e.PrimaryIP.IsValid() {
			return fmt.Errorf("ENI %s has no primaryIP", e.ID)
		}
		for _, ip := range e.Addresses {
			if !ip.IsValid() || ip == e.PrimaryIP {
				return fmt.Errorf("the secondary addresses of ENI %s hold an empty one or the primary", e.ID)
			}
		}
		if err := checkFamily(e.IPv6); err != nil || e.PrimaryIP6.IsValid() && slices.Contains(e.IPv6, e.PrimaryIP6) {
			return fmt.Errorf("the further addresses of IPv6 of ENI %s hold its own, or one of another kind: %v", e.ID, e.IPv6)
		}
		for _, p := range e.Prefixes {
			if !p.IsValid() || p != p.Masked() {
				return fmt.Errorf("prefix %s of ENI %s is empty, or names an address within", p, e.ID)
			}
		}
	}
	return nil
}

func checkSubnets(subnets []Subnet) error {
	if len(subnets) == 0 {
		return errors.New("it lists no subnets")
	}
	for _, s := range subnets {
		if s.ID == "" || !s.CIDR.IsValid() || !s.Gateway.IsValid() {
			return fmt.Errorf("subnet %q has no id, no cidr or no gateway", s.ID)
		}
	}
	return nil
}

func (c Class) known() bool {
	switch c {
	case Throttled, Quota, SubnetFull, Auth, Unreachable, NotFound, Invalid, Internal, Unsupported:
		return true
	}
	return false
}
