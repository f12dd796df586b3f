package vpcsim

import (
	"net/netip"
	"slices"
)

// tencentIPv6 is an address of IPv6, in requests and in answers.
type tencentIPv6 struct {
	Address string
	Primary bool
	State   string `json:",omitempty"`
}

func (v *VPC) tencentIPv6s(e *ENI) []tencentIPv6 {
	all := []tencentIPv6{}
	for _, ip := range e.held6().addresses {
		all = append(all, tencentIPv6{ip.String(), ip == e.PrimaryIP6, v.tencent.state(ip.String())})
	}
	return all
}

type tencentAssign6Request struct {
	NetworkInterfaceId string
	Ipv6AddressCount   int
	ClientToken        string
}

func (v *VPC) tencentAssign6(c *tencentCall, q *tencentAssign6Request) (any, error) {
	if err := checkID("eni", q.NetworkInterfaceId); err != nil {
		return nil, err
	}
	if q.Ipv6AddressCount < 1 {
		return nil, errorf("MissingParameter", "Ipv6Addresses or Ipv6AddressCount is needed.") // the simulator knows the latter
	}
	return v.once(c, q.ClientToken, func() (any, error) { return v.startAssign6(c, q) })
}

// startAssign6 is startAssign for IPv6.
func (v *VPC) startAssign6(c *tencentCall, q *tencentAssign6Request) (any, error) {
	if err := v.whenIdle(q.NetworkInterfaceId); err != nil {
		return nil, err
	}
	e, g, err := v.grant6(q.NetworkInterfaceId, request{count: q.Ipv6AddressCount}, false)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.setStates("PENDING", g.addresses)
	v.start(c, e.ID, 0, func() error { return v.deliver(e, steps6(e, g)) }, func(failed error) {
		if failed != nil {
			_, _ = v.revoke6(e.ID, g) // somebody may have taken them since, behind our back
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.setStates("", g.addresses)
	})
	answer := []tencentIPv6{}
	for _, ip := range g.addresses {
		answer = append(answer, tencentIPv6{ip.String(), false, "PENDING"})
	}
	return map[string]any{"Ipv6AddressSet": answer}, nil
}

type tencentUnassign6Request struct {
	NetworkInterfaceId string
	Ipv6Addresses      []tencentIPv6
}

func (v *VPC) tencentUnassign6(c *tencentCall, q *tencentUnassign6Request) (any, error) {
	if err := checkID("eni", q.NetworkInterfaceId); err != nil {
		return nil, err
	}
	var listed []netip.Addr
	for _, a := range q.Ipv6Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if err != nil || !ip.Is6() {
			return nil, errorf("InvalidParameterValue.Malformed", "%q is no address of IPv6.", a.Address)
		}
		listed = append(listed, ip)
	}
	switch {
	case len(listed) == 0:
		return nil, errorf("MissingParameter", "The request is missing a required parameter `Ipv6Addresses`.")
	case len(listed) > maxListed:
		return nil, errorf("InvalidParameterValue.LimitExceeded", "At most %d addresses can be specified.", maxListed)
	}
	return v.once(c, "", func() (any, error) { return v.startUnassign6(c, q.NetworkInterfaceId, listed) })
}

// startUnassign6 is startUnassign for IPv6.
func (v *VPC) startUnassign6(c *tencentCall, id string, listed []netip.Addr) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.eniByID(id)
	if err == nil {
		err = v.tencent.idle(id)
	}
	if err != nil {
		return nil, err
	}
	for _, ip := range listed {
		switch {
		case ip == e.PrimaryIP6:
			return nil, errorf("UnsupportedOperation", "%s is the primary address of %s.", ip, id)
		case !slices.Contains(e.IPv6, ip):
			return nil, errorf("ResourceNotFound", "%s is not assigned to %s.", ip, id)
		}
	}
	v.setStates("DELETING", listed)
	eni, g := e.clone(), grant{addresses: listed}
	var steps []step
	for _, s := range steps6(eni, g) {
		steps = append(steps, step{s.undo, s.do})
	}
	v.start(c, id, 0, func() error { return v.deliver(eni, steps) }, func(failed error) {
		if failed == nil {
			_, _ = v.revoke6(id, g) // somebody may have taken them since, behind our back
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.setStates("", listed)
	})
	return map[string]any{}, nil
}

// tencentCIDR6 is a range as the API writes it: empty where there is none.
func tencentCIDR6(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}
