// Package supply keeps a node's pool of addresses supplied: it gives containers addresses out of the store, grows the
// pool through a cloud driver when it is empty, keeps some addresses warm, and gives back what is too many. Every change
// of the cloud is journalled before it is asked for, and one whose outcome is unknown is settled by describing, so that
// a process which dies at any instant leaves nothing that the next one does not find.
package supply

import (
	"log/slog"
	"slices"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
)

// The tags of ENIs that we make, beside those of the cloud package and of the configuration.
const (
	TagOwner    = "enichain/owner"    // an ENI with it is managed, whoever made it
	TagInstance = "enichain/instance" // the instance that it was made for, and by which it may be deleted
)

// Supply is the supply of one node's pool, for one call of a plugin or a command.
type Supply struct {
	store  *store.Store
	conf   *netconf.IPAM
	driver func() (cloud.Driver, error)
	log    *slog.Logger
	began  time.Duration // since boot
}

// New returns the supply of the store that the configuration names. The driver is asked for only when it is needed.
func New(conf *netconf.IPAM, driver func() (cloud.Driver, error), log *slog.Logger) *Supply {
	return On(store.At(conf.DataDir), conf, driver, log)
}

// On is New with a store, and its clock, which is the supply's too.
func On(st *store.Store, conf *netconf.IPAM, driver func() (cloud.Driver, error), log *slog.Logger) *Supply {
	return &Supply{store: st, conf: conf, driver: driver, log: log, began: st.Now()}
}

// Driver returns what finds the driver that the configuration names: a binary along a path such as CNI_PATH.
func Driver(conf *netconf.IPAM, path string) func() (cloud.Driver, error) {
	return func() (cloud.Driver, error) {
		if conf.Cloud == netconf.StaticCloud {
			return static{conf.Static}, nil
		}
		binary, err := cloud.FindDriver(conf.Cloud, path)
		if err != nil {
			return nil, err
		}
		return &cloud.Exec{Path: binary, Config: conf.Driver}, nil
	}
}

// Store is where the pool is.
func (s *Supply) Store() *store.Store { return s.store }

// policy is what the operator wants of a family, in the arithmetic's words. Of IPv6 there is enough: it is not limited, and
// comes in prefixes where the cloud has them.
func (s *Supply) policy(f family.Family) pool.Policy {
	p := pool.Policy{
		Min: s.conf.Warm.Min, Target: s.conf.Warm.Target, Max: s.conf.Warm.Max, Batch: s.conf.Batch,
		MaxENIs: s.conf.MaxENIs, MaxAddresses: s.conf.MaxIPs, Prefixes: s.conf.Prefixes, ENIIdle: time.Duration(*s.conf.ENIIdle),
	}
	if f == family.IPv6 {
		p.MaxAddresses, p.Prefixes = 0, true
	}
	return p
}

// gives says whether containers get addresses of the family.
func (s *Supply) gives(f family.Family) bool { return slices.Contains(s.conf.Families, f) }

// pool is what the network may have of the store.
func (s *Supply) pool() warm.Pool { return warm.Of(s.conf) }
