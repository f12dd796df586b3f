package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
)

// placement is where a container's addresses belong.
type placement struct {
	addresses []layout.Address
	// enis are those that own the addresses, and the primary one; none where the addresses are another IPAM's.
	enis []store.ENI
	node store.Node // where the store knows it
	// primary has the node's addresses, the source of what the host sends to its containers; it may be the zero ENI.
	primary store.ENI
}

// families are those of the container's addresses.
func (p placement) families() []family.Family {
	var all []family.Family
	for _, ip := range p.ips() {
		all = append(all, family.Of(ip))
	}
	return all
}

func (p placement) ips() []netip.Addr {
	var ips []netip.Addr
	for _, a := range p.addresses {
		ips = append(ips, a.IP)
	}
	return ips
}

// locate asks the store which ENI owns each address. Another IPAM's addresses are routed by main alone.
func (c *call) locate(ips []netip.Addr) (placement, error) {
	var p placement
	if !c.conf.OwnIPAM() {
		for _, ip := range ips {
			p.addresses = append(p.addresses, layout.Address{IP: ip, Table: layout.TableMain})
		}
		return p, nil
	}
	if slices.Equal(c.taken.ips(), ips) {
		return c.taken, nil
	}
	return c.locateInStore(ips)
}

func (c *call) locateInStore(ips []netip.Addr) (p placement, err error) {
	found, err := c.view(func(tx *store.Tx) error {
		if err := p.addPrimary(tx); err != nil {
			return err
		}
		for _, ip := range ips {
			if err := p.add(tx, ip); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && !found {
		err = cnierr.New(cnierr.IO, fmt.Errorf("no store in %s, where the ENI of %v should be", c.conf.IPAM.DataDir, ips), hintStore)
	}
	return p, err
}

// locateNumbered is locate where ENIs need numbers: one that a store has from before ENIs had them gets its own.
func (c *call) locateNumbered(ips []netip.Addr) (placement, error) {
	p, err := c.locate(ips)
	if err != nil || c.conf.Routing != netconf.PerENI {
		return p, err
	}
	for _, eni := range p.enis {
		if eni.Number != 0 || eni.Primary {
			continue
		}
		if err := c.remember(eni.ID, func(*store.ENI) {}); err != nil {
			return p, err
		}
		c.taken = placement{}
		return c.locate(ips)
	}
	return p, nil
}

func (p *placement) addPrimary(tx *store.Tx) error {
	node, known, err := tx.Node()
	if err != nil || !known || node.PrimaryENI == "" {
		return err
	}
	primary, known, err := tx.ENI(node.PrimaryENI)
	if err != nil || !known {
		return err
	}
	p.enis = append(p.enis, primary)
	p.node, p.primary = node, primary
	return nil
}

func (p *placement) add(tx *store.Tx, ip netip.Addr) error {
	address, known, err := tx.Address(ip)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("the store does not have the address %s", ip)
	}
	eni, known, err := tx.ENI(address.ENI)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("the store does not have %s, the ENI of %s", address.ENI, ip)
	}
	p.put(ip, eni)
	return nil
}

// put adds an address of an ENI.
func (p *placement) put(ip netip.Addr, eni store.ENI) {
	p.addresses = append(p.addresses, layout.AddressOn(eni, ip))
	if !slices.ContainsFunc(p.enis, func(e store.ENI) bool { return e.ID == eni.ID }) {
		p.enis = append(p.enis, eni)
	}
}

// numbered returns the addresses of all containers in the store, with their ENIs' numbers.
func (c *call) numbered() (all []layout.Address, err error) {
	_, err = c.view(func(tx *store.Tx) error {
		enis, err := tx.ENIs()
		if err != nil {
			return err
		}
		addresses, err := tx.Addresses()
		for _, a := range addresses {
			i := slices.IndexFunc(enis, func(e store.ENI) bool { return e.ID == a.ENI })
			if a.State == store.Assigned && i >= 0 {
				all = append(all, layout.AddressOn(enis[i], a.IP))
			}
		}
		return err
	})
	return all, err
}

// prepareHost lets the host forward, prepares the ENIs, or repairs them, and returns the MTU of the container's link: the
// configured one, or the least of the ENIs that own its addresses.
func (c *call) prepareHost(p placement, repair bool) (int, error) {
	forwarding, err := c.host.Forwarding(p.families())
	if err != nil {
		return 0, err
	}
	if err := c.host.Apply(forwarding); err != nil {
		return 0, err
	}
	prepare := func(eni store.ENI) (netstate.Link, error) { return c.host.PrepareENI(eni, c.conf.Routing) }
	if repair {
		prepare = func(eni store.ENI) (netstate.Link, error) { return c.host.RepairENI(eni, c.conf.Routing) }
	}
	mtu := 0
	for _, eni := range p.enis {
		link, err := prepare(eni)
		if errors.Is(err, netstate.ErrNoLink) {
			if err = c.awaitLink(eni); err == nil {
				link, err = prepare(eni)
			}
		}
		if errors.Is(err, netstate.ErrNoLink) {
			return 0, cnierr.New(cnierr.Kernel, err, "the ENI is assigned to this node in the store but no link of the host has its "+
				"MAC: see whether it is attached, and in the host's namespace")
		}
		if err != nil {
			return 0, err
		}
		if eni.IfIndex != link.Index {
			if err := c.remember(eni.ID, func(now *store.ENI) { now.IfIndex = link.Index }); err != nil {
				return 0, err
			}
			c.removeLeftovers()
		}
		if eni.ID == p.primary.ID {
			c.uplink = link.Device
		}
		if p.owns(eni) && (mtu == 0 || link.MTU < mtu) {
			mtu = link.MTU
		}
	}
	if c.conf.MTU != 0 {
		return c.conf.MTU, nil
	}
	if len(p.enis) == 0 {
		return c.uplinkMTU(p.addresses[0].IP)
	}
	return mtu, nil
}

// linkWait is how long the link of an ENI that the cloud calls attached may take to show up.
const linkWait = 20 * time.Second

// awaitLink waits for the link of an ENI that was just made.
func (c *call) awaitLink(eni store.ENI) error {
	_, err := c.host.AwaitENILink(time.Now().Add(min(linkWait, time.Duration(c.conf.IPAM.Timeout))), eni)
	if err != nil {
		return fmt.Errorf("find the link of %s: %w", eni.ID, err)
	}
	return nil
}

// owns says whether one of the addresses leaves by the ENI.
func (p placement) owns(eni store.ENI) bool {
	return slices.ContainsFunc(p.addresses, func(a layout.Address) bool { return a.Table == layout.TableOf(eni) })
}

// marked returns an ENI whose number packets of the container carry; alone says that they carry no other.
func (p placement) marked() (eni store.ENI, alone bool) {
	alone = true
	for _, a := range p.addresses {
		i := slices.IndexFunc(p.enis, func(e store.ENI) bool { return a.Number != 0 && e.Number == a.Number })
		if i < 0 || eni.ID != "" && eni.ID != p.enis[i].ID {
			alone = false
			continue
		}
		eni = p.enis[i]
	}
	return eni, alone
}

// uplinkMTU returns the MTU of the host's default route's link, and 0, the kernel's choice, where it has none.
func (c *call) uplinkMTU(ip netip.Addr) (int, error) {
	route, found, err := c.host.RouteTo(layout.Elsewhere(ip))
	if err != nil || !found || route.Dev.Index == 0 {
		return 0, err
	}
	link, err := c.host.LinkByIndex(route.Dev.Index)
	return link.MTU, err
}

// remember keeps what was learnt of an ENI: the index of its link saves the next ADD a dump of all links, its program that it
// is loaded again.
func (c *call) remember(id string, learn func(now *store.ENI)) error {
	ctx, cancel := c.storeTime()
	defer cancel()
	err := store.At(c.conf.IPAM.DataDir).Update(ctx, func(tx *store.Tx) error {
		now, known, err := tx.ENI(id)
		if err != nil || !known {
			return err
		}
		learn(&now)
		return tx.PutENI(now)
	})
	if err != nil {
		return cnierr.New(cnierr.IO, fmt.Errorf("remember what is known of %s: %w", id, err), hintStore)
	}
	return nil
}
