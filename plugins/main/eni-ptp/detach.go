package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/core/conntrack"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
)

// attachment is one to be taken away.
type attachment struct {
	owner    store.Owner
	veth     string
	netns    string       // path of the container's namespace, which may be gone
	reported []netip.Addr // what the runtime says were its addresses
}

// detach takes an attachment's rules, veth and connections away, whatever is left of them. It tries each step; remains
// says that the veth is still there, so that its address may not be another's yet. The rules go before the veth, by which whoever
// repeats it after a kill finds them. What can be done while the kernel removes the veth is meanwhile.
func (c *call) detach(a attachment, meanwhile func()) (remains bool, err error) {
	veth, err := c.host.LinkByName(a.veth)
	if err != nil && !errors.Is(err, netstate.ErrNoLink) {
		return true, err
	}
	ips, err := c.addressesToClear(a, veth)
	if err == nil {
		err = errors.Join(c.forgetRules(ips), c.leaveSandbox(a, veth, ips))
	}
	removed := startRemoval(veth)
	meanwhile()
	if e := <-removed; e != nil {
		_, e2 := c.host.LinkByName(a.veth)
		remains = !errors.Is(e2, netstate.ErrNoLink)
		err = errors.Join(err, e)
	}
	err = errors.Join(err, conntrack.Flush(ips...))
	c.log.Info("detached", "addresses", ips, "veth", a.veth, "error", err)
	return remains, err
}

// startRemoval removes a veth, if it is there, and answers when that is done: the kernel waits until every processor has forgotten it
// (netdev_run_todo, net/core/dev.c).
func startRemoval(veth netstate.Link) <-chan error {
	done := make(chan error, 1)
	if veth.Index == 0 {
		done <- nil
		return done
	}
	go func() {
		own, err := netstate.Here()
		if err == nil {
			err = own.RemoveLink(veth.Device)
			own.Close()
		}
		done <- err
	}()
	return done
}

// addressesToClear returns the addresses whose rules are the attachment's. The store's word is proof. Without it, an
// address that was reported, or that is routed to the veth, is the attachment's as long as no other owner has it and it is
// routed nowhere else: a late DEL may not harm who has the address now.
func (c *call) addressesToClear(a attachment, veth netstate.Link) ([]netip.Addr, error) {
	candidates := slices.Clone(a.reported)
	if veth.Index != 0 {
		routed, err := c.host.HostRoutes(veth.Device)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, routed...)
	}
	held, others, err := c.holders(a.owner, candidates)
	if err != nil {
		return nil, err
	}
	ips := held
	for _, ip := range candidates {
		if others[ip] || slices.Contains(ips, ip) {
			continue
		}
		route, found, err := c.host.RouteTo(ip)
		if err != nil {
			return nil, err
		}
		if !found || route.Dst != layout.Host(ip) || route.Dev.Index == veth.Index {
			ips = append(ips, ip)
		}
	}
	if len(ips) == 0 && len(candidates) == 0 && !c.conf.OwnIPAM() {
		// The veth went with its namespace, and CNI before 0.4.0 gives a DEL no prevResult.
		return c.orphans()
	}
	return ips, nil
}

// holders returns what the owner holds by the store, and which of the candidates another does.
func (c *call) holders(owner store.Owner, candidates []netip.Addr) (held []netip.Addr, others map[netip.Addr]bool, err error) {
	others = make(map[netip.Addr]bool)
	_, err = c.view(func(tx *store.Tx) error {
		addresses, err := tx.AddressesOf(owner)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			held = append(held, a.IP)
		}
		for _, ip := range candidates {
			a, known, err := tx.Address(ip)
			if err != nil {
				return err
			}
			others[ip] = known && a.State == store.Assigned && *a.Owner != owner
		}
		return nil
	})
	return held, others, err
}

// orphans returns the addresses that have our rule to main, none to an ENI's table, and no route: an attachment has the
// route before its rules and loses it after them, except with its namespace.
func (c *call) orphans() ([]netip.Addr, error) {
	rules, err := c.host.Rules()
	if err != nil {
		return nil, err
	}
	onENI := make(map[netip.Prefix]bool)
	for _, r := range rules {
		if r.Pref == layout.PrefFromContainer {
			onENI[r.From] = true
		}
	}
	var ips []netip.Addr
	for _, r := range rules {
		if !r.Ours || r.Pref != layout.PrefToContainer || !r.To.IsSingleIP() || onENI[r.To] {
			continue
		}
		route, found, err := c.host.RouteTo(r.To.Addr())
		if err != nil {
			return nil, err
		}
		if !found || route.Dst != r.To {
			ips = append(ips, r.To.Addr())
		}
	}
	return ips, nil
}

// collect detaches the network's attachments that are not live.
func (c *call) collect(found map[store.Owner]trace, live map[netconf.Attachment]bool) error {
	var errs []error
	for owner, f := range found {
		if live[attachmentOf(owner)] {
			continue
		}
		a := attachment{owner: owner, veth: f.veth}
		if f.sandbox != nil {
			a.netns = f.sandbox.Netns
		}
		if _, err := c.detach(a, func() {}); err != nil {
			errs = append(errs, fmt.Errorf("detach %s: %w", owner, err))
		}
	}
	return errors.Join(errs...)
}

func attachmentOf(o store.Owner) netconf.Attachment {
	return netconf.Attachment{ContainerID: o.ContainerID, IfName: o.IfName}
}

// notDead returns those of the attachments that are not provably dead.
func (c *call) notDead(found map[store.Owner]trace) (map[netconf.Attachment]bool, error) {
	live := make(map[netconf.Attachment]bool)
	for owner, f := range found {
		alive := f.sandbox == nil || sandbox.Alive(f.sandbox.Netns, f.sandbox.NetnsInode)
		if !alive { // by its path, which may be in another mount namespace
			var err error
			if alive, err = c.host.PeerLives(f.link); err != nil {
				return nil, err
			}
		}
		if alive {
			live[attachmentOf(owner)] = true
		}
	}
	return live, nil
}

// trace is what is known of an attachment that the store or a veth's alias tells of.
type trace struct {
	veth    string
	link    netstate.Link  // the veth, where it is there
	sandbox *store.Sandbox // nil where the store does not know it
}

// attachments returns all of the network, by owner.
func (c *call) attachments() (map[store.Owner]trace, error) {
	found := make(map[store.Owner]trace)
	_, err := c.view(func(tx *store.Tx) error {
		owned, err := tx.OwnedIn(c.conf.Name)
		for _, a := range owned {
			id := layout.Identify(c.conf.VethPrefix, a.Owner.ContainerID, a.Owner.IfName)
			found[*a.Owner] = trace{veth: id.Veth, sandbox: a.Sandbox}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	links, err := c.host.Links()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if owner, ours := layout.ParseAlias(l.Alias); ours && l.Kind == "veth" && owner.Network == c.conf.Name {
			found[owner] = trace{veth: l.Name, sandbox: found[owner].sandbox}
		}
	}
	for owner, f := range found {
		if i := slices.IndexFunc(links, func(l netstate.Link) bool { return l.Name == f.veth }); i >= 0 {
			f.link = links[i]
			found[owner] = f
		}
	}
	return found, nil
}
