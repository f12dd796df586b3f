// Package warm gives containers addresses that the pool has free, and takes them back: all that most calls need, with no cloud.
package warm

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

// Grant is what the owner now has: an address of each family that the network gives.
type Grant struct {
	Addresses []Granted
	Free      int // addresses that are left for others, of the family that has the fewest
}

// Granted is an address, and the ENI that it belongs to.
type Granted struct {
	store.Address
	Of store.ENI
}

// Request is who wants addresses.
type Request struct {
	Owner   store.Owner
	Sandbox store.Sandbox
	IPs     []netip.Addr // those that are wanted, one of a family at the most; of the other families, any
	// Abandoned says that nobody waits for the answer any more, so that nobody would release what is given; nil is never.
	Abandoned func() bool
}

// ErrAbandoned says that who asked for an address is gone.
var ErrAbandoned = errors.New("who asked for an address is gone")

// SandboxOf is what is known of a container: its network namespace, which the inode identifies beyond its path, and its pod, by
// CNI_ARGS.
func SandboxOf(netns string, inode uint64, cniArgs string) store.Sandbox {
	return store.Sandbox{
		Netns: netns, NetnsInode: inode,
		PodNamespace: netconf.Arg(cniArgs, "K8S_POD_NAMESPACE"), PodName: netconf.Arg(cniArgs, "K8S_POD_NAME"),
	}
}

// Wants returns the address of the family that is wanted; the zero Addr is any.
func (r Request) Wants(f family.Family) netip.Addr {
	for _, ip := range r.IPs {
		if family.Of(ip) == f {
			return ip
		}
	}
	return netip.Addr{}
}

// Pool is what a network may have of the store.
type Pool struct{ conf *netconf.IPAM }

// Of returns the pool of a network, by its configuration.
func Of(conf *netconf.IPAM) Pool { return Pool{conf} }

// Give gives the owner an address of each family that the network gives. An error, such as store.ErrExhausted, is to undo the
// transaction: of some families there may be an address already.
func (p Pool) Give(tx *store.Tx, r Request) (g Grant, err error) {
	if r.Abandoned != nil && r.Abandoned() {
		return Grant{}, ErrAbandoned
	}
	for _, f := range p.conf.Families {
		if err := p.takeOne(tx, r, f); err != nil {
			return Grant{}, err
		}
	}
	err = p.fillIn(tx, r.Owner, &g)
	return g, err
}

// Release ends the owner's hold: its addresses rest, and are free then.
func (p Pool) Release(tx *store.Tx, owner store.Owner) error {
	_, err := tx.Release(owner, time.Duration(*p.conf.Cooldown))
	return err
}

// Lacking says whether a pool with so many free addresses of a family is to be filled.
func (p Pool) Lacking(free int) bool { return free < p.conf.Warm.Min && p.conf.Mode != netconf.Offline }

// Bounded says whether the pool is to give back what it has too much of.
func (p Pool) Bounded() bool { return p.conf.Warm.Max != 0 && p.conf.Mode == netconf.Normal }

// Usable says whether containers may have addresses of the ENI.
func (p Pool) Usable(e store.ENI) bool {
	return e.DeviceIndex >= p.conf.FirstDeviceIndex && !e.Draining && !e.Lost
}

// Stays says whether the ENI is there anyway, for it is not one that we made, and serves all families of the network: what can
// be had of it is used first and goes back last, so that ours empty out.
func (p Pool) Stays(e store.ENI) bool {
	return (!e.Ours || e.Primary) && (e.Gateway6.IsValid() || !slices.Contains(p.conf.Families, family.IPv6))
}

// rank orders the ENIs that containers have addresses of, as Take wants it.
func (p Pool) rank(e store.ENI) int {
	switch {
	case !p.Usable(e):
		return -1
	case p.Stays(e):
		return 0
	}
	return 1
}

// takeOne gives the owner an address of the family.
func (p Pool) takeOne(tx *store.Tx, r Request, f family.Family) error {
	if ip := r.Wants(f); ip.IsValid() {
		return p.takeThis(tx, r, ip)
	}
	_, err := tx.Take(r.Owner, r.Sandbox, f, p.rank)
	return err
}

// fillIn says what the owner has: those of the network's families in their order, and before a change of the network's maybe
// of another one.
func (p Pool) fillIn(tx *store.Tx, owner store.Owner, g *Grant) error {
	held, err := tx.AddressesOf(owner)
	if err != nil {
		return err
	}
	slices.SortStableFunc(held, func(a, b store.Address) int {
		order := func(a store.Address) int { return slices.Index(p.conf.Families, family.Of(a.IP)) }
		return cmp.Compare(uint(order(a)), uint(order(b))) // -1 is last
	})
	for _, a := range held {
		eni, known, err := tx.ENI(a.ENI)
		if err == nil && !known {
			err = fmt.Errorf("%w: %s is of %s, which is not in the store", store.ErrCorrupt, a.IP, a.ENI)
		}
		if err != nil {
			return err
		}
		g.Addresses = append(g.Addresses, Granted{a, eni})
	}
	g.Free, err = p.free(tx)
	return err
}

// takeThis gives the owner the address that it asks for, unless that is of an ENI whose addresses are given to nobody new.
func (p Pool) takeThis(tx *store.Tx, r Request, ip netip.Addr) error {
	held, err := tx.AddressesOf(r.Owner)
	if err != nil {
		return err
	}
	a, known, err := tx.Address(ip)
	if err != nil {
		return err
	}
	if known && !slices.ContainsFunc(held, func(a store.Address) bool { return a.IP == ip }) {
		e, _, err := tx.ENI(a.ENI)
		if err != nil {
			return err
		}
		switch {
		case e.Lost:
			return fmt.Errorf("%w: %s, which had it, is gone", store.ErrUnknownAddress, e.ID)
		case e.Draining:
			return fmt.Errorf("%w: %s is draining", store.ErrNotFree, e.ID)
		case e.DeviceIndex < p.conf.FirstDeviceIndex:
			return fmt.Errorf(`%w: %s, which has it, is device %d, and "firstDeviceIndex" is %d`,
				store.ErrNotFree, e.ID, e.DeviceIndex, p.conf.FirstDeviceIndex)
		}
	}
	_, err = tx.TakeThis(ip, r.Owner, r.Sandbox)
	return err
}

// free counts the addresses that a container could have now, of the family that has the fewest.
func (p Pool) free(tx *store.Tx) (int, error) {
	enis, err := tx.ENIs()
	if err != nil {
		return 0, err
	}
	least := math.MaxInt
	for _, f := range p.conf.Families {
		free := 0
		for _, e := range enis {
			if !p.Usable(e) {
				continue
			}
			n, err := tx.Counts(e.ID, f)
			if err != nil {
				return 0, err
			}
			free += n.Free
		}
		least = min(least, free)
	}
	return least, nil
}
