package vpcsim

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The parameters of requests have the names that the API gives them.

type tencentDescribeENIsRequest struct {
	NetworkInterfaceIds []string //nolint:revive // the API's own spelling, as everywhere below
	Filters             []tencentFilter
	Offset              int
	Limit               *int
}

func (v *VPC) tencentDescribeENIs(_ *tencentCall, q *tencentDescribeENIsRequest) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	chosen := selection{q.NetworkInterfaceIds, q.Filters}
	exact := slices.ContainsFunc(q.Filters, func(f tencentFilter) bool { return f.Name == "ip-exact-match" && truth(f.Values) })
	passes := func(e *ENI) filterTest {
		return func(name string, values []string) (bool, bool) { return v.tencentPasses(e, name, values, exact) }
	}
	if err := chosen.check(passes(&ENI{})); err != nil {
		return nil, err
	}
	for _, id := range q.NetworkInterfaceIds {
		if _, err := v.apiENI(id); err != nil {
			return nil, err
		}
	}
	found := []tencentENI{}
	for _, e := range v.enis {
		if v.visible(e) && chosen.matches(e.ID, passes(e)) {
			found = append(found, v.tencentENI(e))
		}
	}
	shown, err := page(found, q.Offset, q.Limit)
	if err != nil {
		return nil, err
	}
	if v.pageSize > 0 {
		shown = shown[:min(len(shown), v.pageSize)]
	}
	return map[string]any{"NetworkInterfaceSet": shown, "TotalCount": len(found)}, nil
}

func truth(values []string) bool { return len(values) > 0 && strings.EqualFold(values[0], "true") }

// tencentPasses tests an ENI with a filter of DescribeNetworkInterfaces; mu is held.
func (v *VPC) tencentPasses(e *ENI, name string, values []string, exact bool) (passes, known bool) {
	switch name {
	case "vpc-id":
		return oneOf(values, v.vpcID)
	case "subnet-id":
		return oneOf(values, e.SubnetID)
	case "network-interface-id":
		return oneOf(values, e.ID)
	case "attachment.instance-id":
		return oneOf(values, e.InstanceID)
	case "groups.security-group-id":
		return oneOf(values, e.SecurityGroups...)
	case "is-primary":
		return truth(values) == isPrimary(e), true
	case "tag-key":
		return oneOf(values, slices.Collect(maps.Keys(e.Tags))...)
	case "address-ip":
		return hasAddress(e, values, exact), true
	case "ip-exact-match":
		return true, true
	}
	return hasTag(name, values, e.Tags)
}

// hasTag is the test of filters of the form tag:KEY.
func hasTag(name string, values []string, tags map[string]string) (passes, known bool) {
	key, known := strings.CutPrefix(name, "tag:")
	text, has := tags[key]
	return has && slices.Contains(values, text), known
}

// hasAddress compares whole addresses where there are several or exact is set, and else the end of the one.
func hasAddress(e *ENI, values []string, exact bool) bool {
	return slices.ContainsFunc(append([]netip.Addr{e.PrimaryIP}, e.Secondary...), func(ip netip.Addr) bool {
		if len(values) == 1 && !exact {
			return strings.HasSuffix(ip.String(), values[0])
		}
		return slices.Contains(values, ip.String())
	})
}

type tencentENI struct {
	NetworkInterfaceId, NetworkInterfaceName, NetworkInterfaceDescription string
	SubnetId, VpcId                                                       string
	GroupSet                                                              []string
	Primary                                                               bool
	MacAddress, State                                                     string
	PrivateIpAddressSet                                                   []tencentIP
	Ipv6AddressSet                                                        []tencentIPv6
	Attachment                                                            *tencentAttachment
	Zone, CreatedTime                                                     string
	TagSet                                                                []tencentTag
}

type tencentIP struct {
	PrivateIpAddress string
	Primary          bool
	State            string
}

type tencentAttachment struct {
	InstanceId        string
	DeviceIndex       int
	InstanceAccountId string
	AttachTime        string
}

type tencentTag struct{ Key, Value string }

// tencentENI is an ENI as the API shows it; mu is held. There is no state of being attached: Attachment says that.
func (v *VPC) tencentENI(e *ENI) tencentENI {
	t := tencentENI{
		NetworkInterfaceId: e.ID, NetworkInterfaceDescription: e.Description, SubnetId: e.SubnetID, VpcId: v.vpcID,
		GroupSet: e.SecurityGroups, Primary: isPrimary(e), MacAddress: e.MAC.String(), State: v.tencentState(e), Zone: v.zone,
		CreatedTime:         e.Created.Format(time.DateTime),
		PrivateIpAddressSet: []tencentIP{{e.PrimaryIP.String(), true, "AVAILABLE"}}, TagSet: tencentTags(e.Tags),
		Ipv6AddressSet: v.tencentIPv6s(e),
	}
	if e.InstanceID != "" {
		t.Attachment = &tencentAttachment{e.InstanceID, e.DeviceIndex, tencentAppID, e.AttachedAt.Format(time.DateTime)}
	}
	t.PrivateIpAddressSet = append(t.PrivateIpAddressSet, v.tencentIPs(e.Secondary)...)
	return t
}

func isPrimary(e *ENI) bool { return e.InstanceID != "" && e.DeviceIndex == 0 }

// tencentState is an ENI's state in the API's words, which have none for being attached; mu is held.
func (v *VPC) tencentState(e *ENI) string {
	switch e.State {
	case Pending:
		return "PENDING"
	case Attaching:
		return "ATTACHING"
	case Detaching:
		return "DETACHING"
	}
	return v.tencent.state(e.ID)
}

func (v *VPC) tencentIPs(addresses []netip.Addr) []tencentIP {
	var all []tencentIP
	for _, ip := range addresses {
		all = append(all, tencentIP{ip.String(), false, v.tencent.state(ip.String())})
	}
	return all
}

type tencentAssignRequest struct {
	NetworkInterfaceId             string
	PrivateIpAddresses             []tencentAddress
	SecondaryPrivateIpAddressCount int
	ClientToken                    string
}

func (v *VPC) tencentAssign(c *tencentCall, q *tencentAssignRequest) (any, error) {
	if err := checkID("eni", q.NetworkInterfaceId); err != nil {
		return nil, err
	}
	listed, err := parseListed(q.PrivateIpAddresses)
	if err != nil {
		return nil, err
	}
	switch {
	case len(listed) == 0 && q.SecondaryPrivateIpAddressCount == 0:
		return nil, errorf("MissingParameter", "PrivateIpAddresses or SecondaryPrivateIpAddressCount is needed.")
	case q.SecondaryPrivateIpAddressCount < 0:
		return nil, errorf("InvalidParameterValue.Range", "SecondaryPrivateIpAddressCount is %d.", q.SecondaryPrivateIpAddressCount)
	case len(listed) > 0 && q.SecondaryPrivateIpAddressCount > 0:
		return nil, errorf("UnsupportedOperation", "The simulator takes a list or a number.")
	}
	return v.once(c, q.ClientToken, func() (any, error) { return v.startAssign(c, q, listed) })
}

// startAssign takes the addresses at once; they are PENDING until the task has brought them to the fabric.
func (v *VPC) startAssign(c *tencentCall, q *tencentAssignRequest, listed []netip.Addr) (any, error) {
	if err := v.whenIdle(q.NetworkInterfaceId); err != nil {
		return nil, err
	}
	e, g, err := v.grant(q.NetworkInterfaceId, request{count: q.SecondaryPrivateIpAddressCount, listed: listed})
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.setStates("PENDING", g.addresses)
	v.start(c, e.ID, 0, func() error { return v.deliver(e, assignSteps(e, g.addresses)) }, func(failed error) {
		if failed != nil {
			_, _ = v.revoke(e.ID, g) // somebody may have taken them since, behind our back
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.setStates("", g.addresses)
	})
	return map[string]any{"PrivateIpAddressSet": v.tencentIPs(g.addresses)}, nil
}

// deliver has the fabric do its work, where the ENI is plugged in.
func (v *VPC) deliver(e ENI, steps []step) error {
	if !e.wired() {
		return nil
	}
	return v.fabric.do(steps...)
}

// whenIdle says why no task may be started for the ENI; it takes mu.
func (v *VPC) whenIdle(eni string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tencent.idle(eni)
}

// setStates sets the state of addresses; "" is AVAILABLE. mu is held.
func (v *VPC) setStates(state string, addresses []netip.Addr) {
	for _, ip := range addresses {
		if state == "" {
			delete(v.tencent.states, ip.String())
			continue
		}
		v.tencent.states[ip.String()] = state
	}
}

type tencentUnassignRequest struct {
	NetworkInterfaceId string
	PrivateIpAddresses []tencentAddress
	InstanceId         string
}

func (v *VPC) tencentUnassign(c *tencentCall, q *tencentUnassignRequest) (any, error) {
	if err := checkID("eni", q.NetworkInterfaceId); err != nil {
		return nil, err
	}
	listed, err := parseListed(q.PrivateIpAddresses)
	switch {
	case err != nil:
		return nil, err
	case len(listed) == 0:
		return nil, errorf("MissingParameter", "The request is missing a required parameter `PrivateIpAddresses`.")
	case q.InstanceId != "":
		return nil, errorf("UnsupportedOperation", "The simulator does not detach with Unassign.")
	}
	return v.once(c, "", func() (any, error) { return v.startUnassign(c, q.NetworkInterfaceId, listed) })
}

// startUnassign marks the addresses DELETING; the task takes them out of the fabric, and then they are free.
func (v *VPC) startUnassign(c *tencentCall, id string, listed []netip.Addr) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.eniByID(id)
	if err == nil {
		err = v.tencent.idle(id)
	}
	for _, ip := range listed {
		switch {
		case err != nil:
		case ip == e.PrimaryIP:
			err = errorf("UnsupportedOperation", "%s is the primary address of %s.", ip, id)
		case !slices.Contains(e.Secondary, ip):
			err = errorf("ResourceNotFound", "%s is not assigned to %s.", ip, id)
		}
	}
	if err != nil {
		return nil, err
	}
	v.setStates("DELETING", listed)
	eni := e.clone()
	steps := assignSteps(eni, listed)
	for n := range steps {
		steps[n].do, steps[n].undo = steps[n].undo, steps[n].do
	}
	v.start(c, id, 0, func() error { return v.deliver(eni, steps) }, func(failed error) {
		if failed == nil {
			_, _ = v.revoke(id, grant{addresses: listed}) // somebody may have taken them since, behind our back
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.setStates("", listed)
	})
	return map[string]any{}, nil
}

// index is a count as the API's strings carry it.
func index(s string, none int) (int, error) {
	if s == "" {
		return none, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, errorf("InvalidParameterValue.Malformed", "%q is no number.", s)
	}
	return n, nil
}
