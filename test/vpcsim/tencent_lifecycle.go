package vpcsim

import (
	"maps"
	"slices"
)

type tencentCreateRequest struct {
	VpcId, SubnetId, InstanceId                       string
	NetworkInterfaceName, NetworkInterfaceDescription string
	PrivateIpAddresses                                []tencentAddress
	SecondaryPrivateIpAddressCount                    int
	SecurityGroupIds                                  []string
	Tags                                              []tencentTag
	AttachType                                        int
	ClientToken                                       string
}

// check says what is wrong with the parameters, whatever there is.
func (q *tencentCreateRequest) check(vpcID string) error {
	switch {
	case q.VpcId == "" || q.SubnetId == "" || q.NetworkInterfaceName == "":
		return errorf("MissingParameter", "VpcId, SubnetId and NetworkInterfaceName are needed.")
	case len(q.NetworkInterfaceName) > 60 || len(q.NetworkInterfaceDescription) > 60:
		return errorf("InvalidParameterValue.TooLong", "A name has at most 60 bytes.")
	case len(q.ClientToken) > 64:
		return errorf("InvalidParameterValue.TooLong", "A ClientToken has at most 64 characters.")
	case q.VpcId != vpcID:
		return errorf("ResourceNotFound", "The VPC %q does not exist.", q.VpcId)
	case q.AttachType != 0:
		return errorf("UnsupportedOperation", "The simulator has standard ENIs only.")
	}
	return nil
}

// newENI is the ENI that is asked for.
func (q *tencentCreateRequest) newENI() (newENI, error) {
	listed, err := parseListed(q.PrivateIpAddresses)
	if err != nil {
		return newENI{}, err
	}
	n := newENI{
		subnetID: q.SubnetId, groups: q.SecurityGroupIds, tags: map[string]string{}, description: q.NetworkInterfaceDescription,
		request: request{count: q.SecondaryPrivateIpAddressCount, listed: listed},
	}
	for _, t := range q.Tags {
		n.tags[t.Key] = t.Value
	}
	return n, nil
}

func (v *VPC) tencentCreate(c *tencentCall, q *tencentCreateRequest) (any, error) {
	if q.InstanceId != "" {
		return nil, errorf("UnknownParameter", "The parameter `InstanceId` is not recognized.")
	}
	return v.startCreate(c, q, func(id string) error {
		v.become(id, Pending, Available)
		return nil
	})
}

func (v *VPC) tencentCreateAndAttach(c *tencentCall, q *tencentCreateRequest) (any, error) {
	if err := checkID("ins", q.InstanceId); err != nil {
		return nil, err
	}
	return v.startCreate(c, q, func(id string) error {
		v.become(id, Pending, Available)
		return v.attachNow(id, q.InstanceId)
	})
}

// startCreate puts an ENI into the model, PENDING, and a task finishes it. Where that fails, the ENI is there all the same,
// attached to nothing.
func (v *VPC) startCreate(c *tencentCall, q *tencentCreateRequest, finish func(id string) error) (any, error) {
	if err := q.check(v.vpcID); err != nil {
		return nil, err
	}
	n, err := q.newENI()
	if err != nil {
		return nil, err
	}
	return v.once(c, q.ClientToken, func() (any, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if q.InstanceId != "" {
			if err := v.checkCreateAndAttach(q, n); err != nil {
				return nil, err
			}
		}
		e, err := v.addHidden(n)
		if err != nil {
			return nil, err
		}
		made, err := v.eniByID(e.ID)
		if err != nil {
			return nil, err
		}
		v.start(c, e.ID, v.delays.Create+v.delays.Attach, func() error { return finish(e.ID) }, func(error) {
			v.become(e.ID, Pending, Available)
		})
		return map[string]any{"NetworkInterface": v.tencentENI(made)}, nil
	})
}

// checkCreateAndAttach says why an ENI that does not exist yet could not be attached; mu is held.
func (v *VPC) checkCreateAndAttach(q *tencentCreateRequest, n newENI) error {
	i, err := v.instanceByID(q.InstanceId)
	if err != nil {
		return err
	}
	if err := v.checkAttach(i, q.SubnetId, v.freeIndex(q.InstanceId)); err != nil {
		return err
	}
	return v.checkRoom(&ENI{InstanceID: q.InstanceId}, n.request)
}

// attachNow attaches an ENI that is Available; change is held.
func (v *VPC) attachNow(id, instanceID string) error {
	v.mu.Lock()
	made, err := v.eniByID(id)
	var e ENI
	if err == nil {
		e, err = v.beginAttachOf(made, instanceID, firstFree)
	}
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return v.finishAttach(e.ID, e.AttachmentID)
}

type tencentENIRequest struct {
	NetworkInterfaceId, InstanceId string
	AttachType                     int
	ClientToken                    string
}

// check reads the IDs that a call needs.
func (q *tencentENIRequest) check() error {
	if err := checkID("eni", q.NetworkInterfaceId); err != nil {
		return err
	}
	return checkID("ins", q.InstanceId)
}

func (v *VPC) tencentAttach(c *tencentCall, q *tencentENIRequest) (any, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	return v.once(c, q.ClientToken, func() (any, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if err := v.tencent.idle(q.NetworkInterfaceId); err != nil {
			return nil, err
		}
		e, err := v.beginAttach(q.NetworkInterfaceId, q.InstanceId, firstFree)
		if err != nil {
			return nil, err
		}
		v.start(c, e.ID, v.delays.Attach, func() error { return v.finishAttach(e.ID, e.AttachmentID) }, func(failed error) {
			if failed == nil {
				return
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			if left, err := v.eniByID(e.ID); err == nil && left.State == Attaching {
				left.release()
			}
		})
		return map[string]any{}, nil
	})
}

func (v *VPC) tencentDetach(c *tencentCall, q *tencentENIRequest) (any, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	return v.once(c, q.ClientToken, func() (any, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		id := q.NetworkInterfaceId
		e, err := v.eniByID(id)
		switch {
		case err != nil:
			return nil, err
		case e.InstanceID != q.InstanceId:
			return nil, errorf("UnsupportedOperation.AttachmentNotFound", "%s is not attached to %s.", id, q.InstanceId)
		}
		if err := v.tencent.idle(id); err != nil {
			return nil, err
		}
		begun, err := v.beginDetach(id)
		if err != nil {
			return nil, err
		}
		v.start(c, id, v.delays.Detach, func() error { return v.finishDetach(id, begun.AttachmentID) }, func(failed error) {
			if failed != nil {
				v.become(id, Detaching, Attached)
			}
		})
		return map[string]any{}, nil
	})
}

type tencentDeleteRequest struct{ NetworkInterfaceId string }

func (v *VPC) tencentDelete(c *tencentCall, q *tencentDeleteRequest) (any, error) {
	id := q.NetworkInterfaceId
	if err := checkID("eni", id); err != nil {
		return nil, err
	}
	return v.once(c, "", func() (any, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		e, err := v.eniByID(id)
		if err == nil {
			err = v.tencent.idle(id)
		}
		switch {
		case err != nil:
			return nil, err
		case e.State != Available: // the documents leave the code open
			return nil, errorf("UnsupportedOperation.InvalidState", "%s is attached, or on its way.", id)
		}
		v.tencent.states[id] = "DELETING"
		v.start(c, id, 0, func() error { return nil }, func(failed error) {
			v.mu.Lock()
			defer v.mu.Unlock()
			delete(v.tencent.states, id)
			if failed == nil {
				v.forget(id)
			}
		})
		return map[string]any{}, nil
	})
}

// tencentTags lists tags in the order of their keys.
func tencentTags(tags map[string]string) []tencentTag {
	all := []tencentTag{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, tencentTag{key, tags[key]})
	}
	return all
}
