package vpcsim

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// typeLimits is what an instance type may hold.
type typeLimits struct {
	enis      int  // of the first network card
	addresses int  // IPv4 addresses an ENI, the primary counted
	xen       bool // of the generation before Nitro, which takes no prefixes
	cards     int  // network cards beyond the first, each for as many ENIs; the simulator attaches to the first
	four      bool // of IPv4 alone
}

// limitsOf is what an instance of the type may hold in this cloud.
func (v *VPC) limitsOf(instanceType string) (typeLimits, bool) {
	if v.cloud == TencentCloud {
		return tencentLimits(instanceType)
	}
	return limitsOf(instanceType)
}

// limitsOf knows a handful of EC2's types, with the numbers of the EC2 User Guide, "Maximum IP addresses per network interface".
func limitsOf(instanceType string) (typeLimits, bool) {
	l, ok := map[string]typeLimits{
		"m3.medium":  {2, 6, true, 0, true},
		"t2.medium":  {3, 6, true, 0, false},
		"t3.micro":   {2, 2, false, 0, false},
		"t3.medium":  {3, 6, false, 0, false},
		"m4.xlarge":  {4, 15, true, 0, false},
		"m5.large":   {3, 10, false, 0, false},
		"m5.xlarge":  {4, 15, false, 0, false},
		"c5.4xlarge": {8, 30, false, 0, false},

		"p4d.24xlarge": {15, 50, false, 3, false},
	}[instanceType]
	return l, ok
}

// The methods below expect mu to be held, except where they take it.

func (v *VPC) id(kind string) string {
	v.serial++
	if v.cloud == TencentCloud {
		return fmt.Sprintf("%s-%08x", kind, v.serial)
	}
	return fmt.Sprintf("%s-0%016x", kind, v.serial)
}

func (v *VPC) subnetByID(id string) (*subnet, error) {
	for _, s := range v.subnets {
		if s.ID == id {
			return s, nil
		}
	}
	return nil, errorf("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
}

func (v *VPC) instanceByID(id string) (*instance, error) {
	for _, i := range v.instances {
		if i.ID == id {
			return i, nil
		}
	}
	return nil, errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

func (v *VPC) eniByID(id string) (*ENI, error) {
	for _, e := range v.enis {
		if e.ID == id {
			return e, nil
		}
	}
	return nil, errorf("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
}

// apiENI is eniByID for a call of the API, which learns of a new ENI a little later (EC2 API Reference, "Eventual
// consistency").
func (v *VPC) apiENI(id string) (*ENI, error) {
	e, err := v.eniByID(id)
	if err == nil && !v.visible(e) {
		return nil, errorf("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
	}
	return e, err
}

func (v *VPC) visible(e *ENI) bool { return !time.Now().Before(v.hidden[e.ID]) }

func (v *VPC) enisOf(instanceID string) []ENI {
	var found []ENI
	for _, e := range v.enis {
		if e.InstanceID == instanceID {
			found = append(found, e.clone())
		}
	}
	slices.SortFunc(found, func(a, b ENI) int { return cmp.Compare(a.DeviceIndex, b.DeviceIndex) })
	return found
}
