package netconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Modes say what may be asked of the cloud.
const (
	Normal       = "normal"        // everything
	AllocateOnly = "allocate-only" // nothing is given back
	Offline      = "offline"       // nothing at all: the pool is what it is
)

// DefaultENIIdle is how long an ENI of ours is kept that no container uses.
const DefaultENIIdle = 5 * time.Minute

// Pool is the part of the "ipam" section that says how the pool breathes.
type Pool struct {
	// Warm is how many free addresses are kept.
	Warm Warm `json:"warm,omitzero"`
	// MaxENIs and MaxIPs are limits below the cloud's own: ENIs with the primary one, addresses of IPv4 without primary ones.
	MaxENIs int `json:"maxENIs,omitempty"`
	MaxIPs  int `json:"maxIPs,omitempty"`
	// Prefixes has the cloud give prefixes where it can, each of which takes the place of an address. It is of IPv4: IPv6, of
	// which there is enough, comes in prefixes wherever the cloud has them.
	Prefixes bool `json:"prefixes,omitempty"`
	// ENIIdle is how long an ENI of ours is kept that no container uses.
	ENIIdle *Duration `json:"eniIdle,omitempty"`
	// Subnets are where ENIs are made, by ID, or else by SubnetTags; the primary ENI's where neither is given.
	Subnets    []string          `json:"subnets,omitempty"`
	SubnetTags map[string]string `json:"subnetTags,omitempty"`
	// SecurityGroups are those of ENIs that are made; the primary ENI's where none is given.
	SecurityGroups []string `json:"securityGroups,omitempty"`
	// Owner is the value of the tag by which our ENIs are known, and Tags are further ones that they get.
	Owner string            `json:"owner,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
	// Manage says which ENIs that we did not make are used: "all", or a list of their IDs.
	Manage Manage `json:"manage,omitzero"`
	// Limits are used in place of what the cloud says of the instance type, for IPv4.
	Limits struct {
		ENIs            int `json:"enis,omitempty"`
		AddressesPerENI int `json:"addressesPerENI,omitempty"`
	} `json:"limits,omitzero"`
	// Mode says what may be asked of the cloud: "normal", "allocate-only" or "offline".
	Mode string `json:"mode,omitempty"`
}

// Warm is how many free addresses are kept: below Min, the pool is filled up to Target; above Max, it gives back down to
// Target; a Max of 0 keeps all.
type Warm struct {
	Min    int `json:"min,omitempty"`
	Target int `json:"target,omitempty"`
	Max    int `json:"max,omitempty"`
}

// Manage says which ENIs that we did not make are used, beside the primary one and those with our tag.
type Manage struct {
	All bool
	IDs []string

	wrong string // what was written, where it is neither: DEL works with it all the same
}

// UnmarshalJSON reads "all" or a list of IDs.
func (m *Manage) UnmarshalJSON(data []byte) error {
	if string(data) == `"all"` {
		m.All = true
	} else if json.Unmarshal(data, &m.IDs) != nil {
		m.wrong = string(data)
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (m Manage) MarshalJSON() ([]byte, error) {
	if m.All {
		return []byte(`"all"`), nil
	}
	return json.Marshal(m.IDs)
}

// complete fills in the defaults.
func (p *Pool) complete() {
	if p.Mode == "" {
		p.Mode = Normal
	}
	if p.Owner == "" {
		p.Owner = "enichain"
	}
	if p.ENIIdle == nil {
		p.ENIIdle = new(Duration(DefaultENIIdle))
	}
	p.Warm.Target = max(p.Warm.Target, p.Warm.Min)
}

// check says what is wrong, as far as that needs nothing else.
func (p *Pool) check() error {
	switch {
	case p.Mode != Normal && p.Mode != AllocateOnly && p.Mode != Offline:
		return fmt.Errorf(`"mode" is %q: "normal", "allocate-only" or "offline" is wanted`, p.Mode)
	case p.Warm.Min < 0, p.Warm.Target < 0, p.Warm.Max < 0, p.MaxENIs < 0, p.MaxIPs < 0, p.Limits.ENIs < 0, p.Limits.AddressesPerENI < 0:
		return errors.New(`"warm", "maxENIs", "maxIPs" and "limits" have no negative numbers`)
	case p.Warm.Max > 0 && p.Warm.Max <= p.Warm.Target:
		return fmt.Errorf(`"warm": "max" %d must be above "target" %d, or 0`, p.Warm.Max, p.Warm.Target)
	case p.Manage.wrong != "":
		return fmt.Errorf(`"manage" is %s: "all" or a list of ENIs is wanted`, p.Manage.wrong)
	case len(p.Subnets) > 0 && len(p.SubnetTags) > 0:
		return errors.New(`"subnets" and "subnetTags" exclude each other`)
	}
	return nil
}
