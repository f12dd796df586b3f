// Package vpcsim is a VPC in memory that speaks a cloud's wire protocols. AWS's: EC2's query API (signed requests, XML
// answers, EC2's own error codes and limits) and the instance metadata service IMDSv2. Tencent Cloud's: the VPC and CVM
// APIs (signed requests, JSON answers, asynchronous tasks) and its metadata service. A Fabric, where one is set, carries
// each change out in a network; without one the VPC is a model only. Nothing in it listens: EC2, IMDS, Tencent and
// TencentMetadata are http.Handlers.
//
// What it answers follows the EC2 API Reference (version 2016-11-15) and the EC2 User Guide, "Instance metadata", and
// Tencent Cloud's documents of the VPC API (version 2017-03-12) and of the instance metadata.
package vpcsim

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Config is what a VPC consists of before anything is launched into it.
type Config struct {
	Cloud            string // AWS, also where empty, or TencentCloud
	Region           string // us-east-1 or ap-guangzhou where empty
	AvailabilityZone string // the region's zone a, or 3, where empty
	CIDRs            []netip.Prefix
	IPv6             netip.Prefix // of the VPC; zero for one without IPv6
	Subnets          []Subnet
	// FabricDelay is how long the fabric lags behind the API; with 0 the API answers when the fabric has done the work.
	FabricDelay time.Duration
	// SecurityGroups are those that exist beside the default one.
	SecurityGroups []string
	// TaskDelay is how long a task of Tencent Cloud takes, beside the Delays; 20 ms where it is 0.
	TaskDelay time.Duration
}

// The clouds that the simulator knows.
const (
	AWS          = "aws"
	TencentCloud = "tencent"
)

// Subnet is a range of a VPC. AWS keeps its first four addresses and the last, Tencent Cloud the first two and the last.
type Subnet struct {
	ID   string
	CIDR netip.Prefix
	IPv6 netip.Prefix // a /64 of the VPC's, or zero
	Zone string       // the VPC's AvailabilityZone, in which its instances are, where empty
	Tags map[string]string
}

// Instance is a virtual machine.
type Instance struct {
	ID   string
	Type string // one that the cloud knows, such as "m5.large" or "S5.MEDIUM4"
}

// ENI is an elastic network interface.
type ENI struct {
	ID             string
	MAC            net.HardwareAddr
	SubnetID       string
	Subnet         netip.Prefix
	PrimaryIP      netip.Addr
	Secondary      []netip.Addr   // oldest first
	Prefixes       []netip.Prefix // oldest first
	Subnet6        netip.Prefix   // zero where the subnet has no IPv6
	PrimaryIP6     netip.Addr     // its own; zero where it has none
	IPv6           []netip.Addr   // the others, oldest first
	Prefixes6      []netip.Prefix // oldest first
	SecurityGroups []string
	Tags           map[string]string
	Description    string
	State          State
	Created        time.Time

	// What follows is zero while it is attached to nothing.
	InstanceID          string
	AttachmentID        string
	DeviceIndex         int // 0 is the instance's primary ENI
	AttachedAt          time.Time
	DeleteOnTermination bool
}

// Gateway returns the address of the VPC's router in the ENI's subnet: the subnet's first.
func (e ENI) Gateway() netip.Addr { return e.Subnet.Masked().Addr().Next() }

func (e ENI) clone() ENI {
	e.MAC, e.Secondary, e.Prefixes = slices.Clone(e.MAC), slices.Clone(e.Secondary), slices.Clone(e.Prefixes)
	e.IPv6, e.Prefixes6 = slices.Clone(e.IPv6), slices.Clone(e.Prefixes6)
	e.SecurityGroups, e.Tags = slices.Clone(e.SecurityGroups), maps.Clone(e.Tags)
	return e
}

// wired says whether the fabric has the ENI plugged in.
func (e ENI) wired() bool { return e.State == Attached || e.State == Detaching }

// Fabric carries out in the network what the API changed. Each method is called after the model accepted the change and
// before the API answers, or Config.FabricDelay later; calls come one at a time and in the order of the changes. An
// error takes the change back and makes the API answer InternalError; with a delay it is only kept for FabricErrors.
type Fabric interface {
	Attach(eni ENI) error // the link appears in the instance
	Detach(eni ENI) error
	Assign(eni ENI, ip netip.Addr) error // also called for the primary address, right after Attach
	Unassign(eni ENI, ip netip.Addr) error
	AssignPrefix(eni ENI, p netip.Prefix) error // of IPv6; those of IPv4 come as addresses
	UnassignPrefix(eni ENI, p netip.Prefix) error
}

// VPC is a simulated VPC. Its methods and handlers may be used concurrently.
type VPC struct {
	cloud               string
	region, zone, vpcID string
	cidrs               []netip.Prefix
	ipv6                netip.Prefix
	started             time.Time
	keys                Credentials
	fabric              fabricQueue
	groups              []string // security groups, the default one first
	closed              chan struct{}
	closing             sync.Once
	pending             work // changes whose second half is still to come

	// change is held across a whole change with its fabric work, so that changes are carried out in order.
	change sync.Mutex

	// mu guards what follows; it is never held across a call of the fabric.
	mu        sync.Mutex
	subnets   []*subnet
	instances []*instance
	enis      []*ENI // in the order of their creation
	serial    uint64
	pageSize  int
	delays    Delays
	hidden    map[string]time.Time // until when a new ENI is known to nobody
	eniQuota  int
	calls     map[string]int
	changes   int // calls that were to change something
	throttled int
	faults    []*Fault
	buckets   []*bucket
	requests  map[string]made // by client token
	stale     view            // what the metadata service answers while it is frozen; nil when it is not
	lag       time.Duration   // how far the metadata service is behind
	views     []pastView      // what it answered and will answer then, oldest first
	tokens    map[string]token
	roleName  string
	role      Credentials
	roleEnds  time.Time // zero for credentials that are always fresh
	tencent   tencentTasks
}

type instance struct {
	Instance
	limits typeLimits
}

// New returns a VPC without instances. It panics where the configuration makes no sense: the caller is a test.
func New(c Config) *VPC {
	v := &VPC{
		cloud: c.Cloud, region: c.Region, zone: c.AvailabilityZone, vpcID: "vpc-0123456789abcdef0",
		cidrs: slices.Clone(c.CIDRs), ipv6: c.IPv6, started: time.Now(), calls: map[string]int{}, tokens: map[string]token{},
		requests: map[string]made{}, hidden: map[string]time.Time{}, closed: make(chan struct{}), groups: append([]string{groupID}, c.SecurityGroups...),
		keys:     newCredentials("AKIA", ""),
		roleName: "enichain-node",
		role:     newCredentials("ASIA", newToken()),
		tencent:  newTencentTasks(c.TaskDelay),
	}
	v.setPlace()
	c.check6()
	for _, s := range c.Subnets {
		if !s.CIDR.Addr().Is4() || s.CIDR.Bits() > 28 {
			panic(fmt.Sprintf("vpcsim: subnet %s %s is not an IPv4 range of at least 16 addresses", s.ID, s.CIDR))
		}
		if !slices.ContainsFunc(c.CIDRs, func(p netip.Prefix) bool { return p.Overlaps(s.CIDR) && p.Bits() <= s.CIDR.Bits() }) {
			panic(fmt.Sprintf("vpcsim: subnet %s %s lies in none of the VPC's ranges %v", s.ID, s.CIDR, c.CIDRs))
		}
		if s.Zone == "" {
			s.Zone = v.zone
		}
		v.subnets = append(v.subnets, newSubnet(s, v.reserved()))
	}
	v.SetDelays(Delays{Fabric: c.FabricDelay})
	return v
}

// setPlace fills in what the configuration leaves out.
func (v *VPC) setPlace() {
	set := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	set(&v.cloud, AWS)
	if v.cloud == TencentCloud {
		v.vpcID, v.keys.AccessKeyID, v.role.AccessKeyID = "vpc-0a1b2c3d", "AKID"+v.keys.AccessKeyID, "AKID"+v.role.AccessKeyID
		set(&v.region, "ap-guangzhou")
		set(&v.zone, v.region+"-3")
		return
	}
	set(&v.region, "us-east-1")
	set(&v.zone, v.region+"a")
}

// reserved is how many addresses at the beginning of a subnet the cloud keeps.
func (v *VPC) reserved() int {
	if v.cloud == TencentCloud {
		return 2 // the network's and the gateway's
	}
	return 4
}

// SetFabric sets what carries changes out; it is to be called before the first AddENI.
func (v *VPC) SetFabric(f Fabric) { v.fabric.set(f) }

// Wait waits for what is still to be done: changes that take time, and the fabric's work.
func (v *VPC) Wait() {
	v.pending.Wait()
	v.fabric.wait()
}

// GiveUp gives up what is still to be done, where there are delays. It does not wait.
func (v *VPC) GiveUp() {
	v.closing.Do(func() {
		close(v.closed)
		v.fabric.close()
	})
}

// Close gives up what is still to be done, and waits for what is being done. It is needed only where there are delays.
func (v *VPC) Close() {
	v.GiveUp()
	v.Wait()
}

// FabricErrors returns what the fabric could not carry out after the API had answered.
func (v *VPC) FabricErrors() []error { return v.fabric.failed() }

// AddInstance launches an instance, without an ENI yet.
func (v *VPC) AddInstance(instanceType string) (Instance, error) {
	limits, ok := v.limitsOf(instanceType)
	if !ok {
		return Instance{}, errorf("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", instanceType)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	kind := "i"
	if v.cloud == TencentCloud {
		kind = "ins"
	}
	i := Instance{ID: v.id(kind), Type: instanceType}
	v.instances = append(v.instances, &instance{Instance: i, limits: limits})
	return i, nil
}

// AddENI creates an ENI and attaches it at once, whatever the delays. Its primary address is the one given, or the
// subnet's next free one where that is zero. The primary ENI is deleted with the instance, as RunInstances has it.
func (v *VPC) AddENI(instanceID, subnetID string, deviceIndex int, primary netip.Addr) (ENI, error) {
	v.change.Lock()
	defer v.change.Unlock()
	e, err := v.launch(instanceID, newENI{subnetID: subnetID, primary: primary}, deviceIndex)
	if err != nil {
		return ENI{}, err
	}
	if err := v.finishAttach(e.ID, e.AttachmentID); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.forget(e.ID)
		return ENI{}, fmt.Errorf("attach %s to %s: %w", e.ID, instanceID, err)
	}
	return v.now(e), nil
}

// launch puts an ENI into the model that is being attached; it takes mu.
func (v *VPC) launch(instanceID string, n newENI, deviceIndex int) (ENI, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, err := v.instanceByID(instanceID)
	if err != nil {
		return ENI{}, err
	}
	if err := v.checkAttach(i, n.subnetID, deviceIndex); err != nil {
		return ENI{}, err
	}
	added, err := v.addENI(n)
	if err != nil {
		return ENI{}, err
	}
	e, err := v.eniByID(added.ID)
	if err != nil {
		return ENI{}, err
	}
	e.State, e.InstanceID, e.AttachmentID, e.DeviceIndex = Attaching, instanceID, v.id("eni-attach"), deviceIndex
	e.AttachedAt, e.DeleteOnTermination = e.Created, deviceIndex == 0
	return e.clone(), nil
}

// ENIs returns the instance's ENIs, those on their way in or out among them, in the order of their device indexes: a snapshot that the caller may keep.
func (v *VPC) ENIs(instanceID string) []ENI {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.enisOf(instanceID)
}

// SetPageSize makes DescribeNetworkInterfaces answer at most n ENIs a page, as EC2 may answer fewer than were asked
// for; 0 is no limit but the caller's.
func (v *VPC) SetPageSize(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pageSize = n
}

// Calls returns how often an action was called, failed calls included; "" counts all that change something.
func (v *VPC) Calls(action string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if action != "" {
		return v.calls[action]
	}
	return v.changes
}
