package vpcsim

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// State is where an ENI is in its life.
type State string

// The states of an ENI.
const (
	Pending   State = "pending"   // being created
	Available State = "available" // attached to nothing
	Attaching State = "attaching"
	Attached  State = "attached"
	Detaching State = "detaching"
)

// Delays are how long the cloud takes for its work. The zero value is no time: calls answer when the work is done.
type Delays struct {
	Create time.Duration // until a new ENI is Available
	Attach time.Duration // until it is Attached, and its link begins to come
	Detach time.Duration
	// Visible is until a new ENI is known to calls other than the one that made it.
	Visible time.Duration
	// Fabric is how long the network lags behind the model.
	Fabric time.Duration
}

// SetDelays sets the delays of what begins from now on.
func (v *VPC) SetDelays(d Delays) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.delays = d
	v.fabric.setDelay(d.Fabric)
}

// newENI says what an ENI is to be created as. Groups left out are the VPC's default one.
type newENI struct {
	subnetID    string
	primary     netip.Addr // the next free one where it is zero
	request     request
	six         request // of IPv6
	groups      []string
	tags        map[string]string
	description string
	// token makes a repetition find what the first made; asked is all that was asked for, in one text.
	token, asked string
}

// createENI creates an ENI that is attached to nothing.
func (v *VPC) createENI(n newENI) (ENI, error) {
	v.change.Lock()
	defer v.change.Unlock()
	id, found, err := v.madeBy(n.token, n.asked)
	if err != nil {
		return ENI{}, err
	}
	if found {
		return v.now(ENI{ID: id, SubnetID: n.subnetID}), nil
	}
	v.mu.Lock()
	e, err := v.addHidden(n)
	delay := v.delays.Create
	v.mu.Unlock()
	if err != nil {
		return ENI{}, err
	}
	v.remember(n.token, n.asked, e.ID)
	err = v.later(delay, func() error {
		v.become(e.ID, Pending, Available)
		return nil
	})
	return v.now(e), err
}

// addHidden is addENI of one that is not known at once; mu is held.
func (v *VPC) addHidden(n newENI) (ENI, error) {
	e, err := v.addENI(n)
	if err == nil && v.delays.Visible > 0 {
		v.hidden[e.ID] = e.Created.Add(v.delays.Visible)
	}
	return e, err
}

// addENI puts an ENI into the model, Pending; mu is held.
func (v *VPC) addENI(n newENI) (ENI, error) {
	s, err := v.subnetByID(n.subnetID)
	if err != nil {
		return ENI{}, err
	}
	for _, g := range n.groups {
		if !slices.Contains(v.groups, g) {
			return ENI{}, errorf("InvalidGroup.NotFound", "The security group '%s' does not exist", g)
		}
	}
	if v.eniQuota > 0 && len(v.enis) >= v.eniQuota {
		return ENI{}, errorf("NetworkInterfaceLimitExceeded", "You have reached the limit of %d network interfaces.", v.eniQuota)
	}
	if n.primary, err = s.primary(n.primary); err != nil {
		return ENI{}, err
	}
	e := &ENI{
		ID: v.id("eni"), SubnetID: s.ID, Subnet: s.CIDR, Subnet6: s.IPv6, PrimaryIP: n.primary, State: Pending, SecurityGroups: n.groups,
		Tags: maps.Clone(n.tags), Description: n.description, Created: time.Now().UTC(),
	}
	e.MAC = binary.BigEndian.AppendUint32([]byte{0x0a, 0xff}, uint32(v.serial))
	if v.cloud == TencentCloud {
		e.MAC = binary.BigEndian.AppendUint32([]byte{0x52, 0x54}, 0x00bf0000|uint32(v.serial))
	}
	if len(n.groups) == 0 {
		e.SecurityGroups = v.groups[:1]
	}
	s.take(n.primary, e.ID)
	g, err := s.choose(n.request)
	var six grant
	if err == nil {
		six, err = s.choose6(n.six)
	}
	if err != nil {
		s.release(n.primary)
		return ENI{}, err
	}
	s.give(e, g)
	e.add6(six, false)
	v.enis = append(v.enis, e)
	return e.clone(), nil
}

// primary returns the address that is asked for, or the next free one.
func (s *subnet) primary(wanted netip.Addr) (netip.Addr, error) {
	if wanted.IsValid() {
		return wanted, s.check(wanted)
	}
	picked, err := s.pick(1)
	if err != nil {
		return netip.Addr{}, err
	}
	return picked[0], nil
}

// firstFree as a device index leaves the choice to attachENI.
const firstFree = -1

// attachENI begins to attach an ENI.
func (v *VPC) attachENI(id, instanceID string, deviceIndex int) (ENI, error) {
	v.change.Lock()
	defer v.change.Unlock()
	v.mu.Lock()
	e, err := v.beginAttach(id, instanceID, deviceIndex)
	delay := v.delays.Attach
	v.mu.Unlock()
	if err != nil {
		return ENI{}, err
	}
	err = v.later(delay, func() error { return v.finishAttach(e.ID, e.AttachmentID) })
	return v.now(e), err
}

// beginAttach makes an ENI that is known to all Attaching; mu is held.
func (v *VPC) beginAttach(id, instanceID string, deviceIndex int) (ENI, error) {
	e, err := v.apiENI(id)
	if err != nil {
		return ENI{}, err
	}
	return v.beginAttachOf(e, instanceID, deviceIndex)
}

func (v *VPC) beginAttachOf(e *ENI, instanceID string, deviceIndex int) (ENI, error) {
	id := e.ID
	i, err := v.instanceByID(instanceID)
	if err != nil {
		return ENI{}, err
	}
	switch {
	case e.State == Pending:
		return ENI{}, errorf("IncorrectState", "Network interface '%s' is being created.", id)
	case e.State != Available:
		return ENI{}, errorf("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", id)
	}
	if deviceIndex == firstFree {
		deviceIndex = v.freeIndex(instanceID)
	}
	if err := v.checkAttach(i, e.SubnetID, deviceIndex); err != nil {
		return ENI{}, err
	}
	e.InstanceID = instanceID
	if err := cmp.Or(v.checkRoom(e, request{}), v.checkRoom6(e, request{})); err != nil { // EC2's own code for this is not documented
		e.InstanceID = ""
		return ENI{}, err
	}
	e.AttachmentID, e.DeviceIndex, e.State, e.AttachedAt = v.id("eni-attach"), deviceIndex, Attaching, time.Now().UTC()
	return e.clone(), nil
}

func (v *VPC) freeIndex(instanceID string) int {
	index := 0
	for slices.ContainsFunc(v.enisOf(instanceID), func(e ENI) bool { return e.DeviceIndex == index }) {
		index++
	}
	return index
}

// checkAttach says why an ENI of a subnet may not be attached at an index.
func (v *VPC) checkAttach(i *instance, subnetID string, deviceIndex int) error {
	s, err := v.subnetByID(subnetID)
	if err != nil {
		return err
	}
	attached := v.enisOf(i.ID)
	switch {
	case s.Zone != v.zone: // where all instances are
		return errorf("InvalidParameterCombination", "You may not attach a network interface to an instance if they are not in the same availability zone")
	case len(attached) >= i.limits.enis:
		return errorf("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", len(attached)+1, i.Type)
	case deviceIndex < 0 || slices.ContainsFunc(attached, func(e ENI) bool { return e.DeviceIndex == deviceIndex }):
		return errorf("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", i.ID, deviceIndex)
	}
	return nil
}

// finishAttach plugs an ENI in, unless something else became of it meanwhile. An ENI that the fabric cannot plug in is
// Available again.
func (v *VPC) finishAttach(id, attachmentID string) error {
	v.mu.Lock()
	e, err := v.eniByID(id)
	if err != nil || e.State != Attaching || e.AttachmentID != attachmentID {
		v.mu.Unlock()
		return nil
	}
	plugged := e.clone()
	v.mu.Unlock()
	failed := v.plug(plugged)
	v.mu.Lock()
	defer v.mu.Unlock()
	if failed != nil {
		e.release()
		return failed
	}
	e.State = Attached
	v.changed()
	return nil
}

// plug makes an ENI and its addresses appear in the fabric.
func (v *VPC) plug(e ENI) error {
	steps := []step{{func(f Fabric) error { return f.Attach(e) }, func(f Fabric) error { return f.Detach(e) }}}
	all := append([]netip.Addr{e.PrimaryIP}, e.held().all()...)
	for _, s := range append(assignSteps(e, all), steps6(e, e.held6())...) {
		steps = append(steps, step{s.do, nil}) // they go with the ENI
	}
	return v.fabric.do(steps...)
}

// release makes an ENI attached to nothing.
func (e *ENI) release() {
	e.State, e.InstanceID, e.AttachmentID, e.DeviceIndex, e.DeleteOnTermination = Available, "", "", 0, false
	e.AttachedAt = time.Time{}
}

// detachENI begins to detach an ENI. The primary one stays for ever.
func (v *VPC) detachENI(id string) (ENI, error) {
	v.change.Lock()
	defer v.change.Unlock()
	v.mu.Lock()
	e, err := v.beginDetach(id)
	delay := v.delays.Detach
	v.mu.Unlock()
	if err != nil {
		return ENI{}, err
	}
	err = v.later(delay, func() error { return v.finishDetach(e.ID, e.AttachmentID) })
	return v.now(e), err
}

// beginDetach makes an ENI Detaching; mu is held.
func (v *VPC) beginDetach(id string) (ENI, error) {
	e, err := v.apiENI(id)
	switch {
	case err != nil:
		return ENI{}, err
	case e.State != Attached:
		return ENI{}, errorf("IncorrectState", "Network interface '%s' is not attached, but %s.", id, e.State)
	case e.DeviceIndex == 0:
		return ENI{}, errorf("OperationNotPermitted", "The network interface at device index 0 and networkCard index 0 cannot be detached.")
	}
	e.State = Detaching
	v.changed()
	return e.clone(), nil
}

// finishDetach pulls an ENI out, unless something else became of it meanwhile. Whether the fabric could or not, the ENI
// is attached to nothing then.
func (v *VPC) finishDetach(id, attachmentID string) error {
	v.mu.Lock()
	e, err := v.eniByID(id)
	if err != nil || e.State != Detaching || e.AttachmentID != attachmentID {
		v.mu.Unlock()
		return nil
	}
	pulled := e.clone()
	e.release()
	v.mu.Unlock()
	return v.fabric.do(step{func(f Fabric) error { return f.Detach(pulled) }, nil})
}

// deleteENI deletes an ENI that is attached to nothing.
func (v *VPC) deleteENI(id string) error {
	v.change.Lock()
	defer v.change.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.apiENI(id)
	if err != nil {
		return err
	}
	if e.InstanceID != "" {
		return errorf("InvalidParameterValue", "Network interface '%s' is currently in use.", id)
	}
	v.forget(id)
	return nil
}

// forget takes an ENI and its addresses out of the model; mu is held.
func (v *VPC) forget(id string) {
	e, err := v.eniByID(id)
	if err != nil {
		return
	}
	if s, err := v.subnetByID(e.SubnetID); err == nil {
		for _, ip := range append([]netip.Addr{e.PrimaryIP}, e.held().all()...) {
			s.release(ip)
		}
	}
	v.enis = slices.DeleteFunc(v.enis, func(other *ENI) bool { return other.ID == id })
	v.changed()
}

// become moves an ENI on from one state; it takes mu.
func (v *VPC) become(id string, from, to State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, err := v.eniByID(id); err == nil && e.State == from {
		e.State = to
	}
}

// now returns an ENI as it is now, or as it was where it is gone; it takes mu.
func (v *VPC) now(was ENI) ENI {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, err := v.eniByID(was.ID); err == nil {
		return e.clone()
	}
	return was
}

// later does the second half of a change: at once, while the caller holds change; or after a delay, with change taken then,
// and with its error kept for FabricErrors. A VPC that is closed first never does it.
func (v *VPC) later(delay time.Duration, finish func() error) error {
	if delay <= 0 {
		return finish()
	}
	v.pending.Go(func() { // ends after the delay, or with Close
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-v.closed:
			return
		case <-timer.C:
		}
		v.change.Lock()
		defer v.change.Unlock()
		if err := finish(); err != nil {
			v.fabric.note(err)
		}
	})
	return nil
}
