package main

import (
	"errors"
	"net/netip"

	"github.com/enichain/enichain/core/store"
)

// removeLeftovers removes our rules of addresses and numbers that are nobody's. An ENI that is deleted leaves some: its routes go with its
// link, and eni-ipam, which has it deleted, never touches the kernel's network. All rules are dumped for it, so that it is
// for the moment when a new ENI is first seen. It serves no container in particular, and fails none.
func (c *call) removeLeftovers() {
	rules, err := c.host.Rules()
	if err != nil {
		c.log.Warn("look for rules of deleted ENIs", "error", err)
		return
	}
	used, tables, err := c.used() // after the rules: an address has its owner before it has rules, and loses it after them
	if err != nil {
		c.log.Warn("look for rules of deleted ENIs", "error", err)
		return
	}
	for _, r := range rules {
		ip, ours := r.Of()
		var left bool
		switch {
		case ours && !used[ip]:
			left, err = c.host.Unrouted(ip)
		case r.Numbered() && !tables[r.Table]:
			left, err = c.host.Leads(r.Rule)
			left = !left
		}
		if err == nil && left {
			err = c.host.RemoveRule(r.Rule)
			c.log.Info("removed a rule that is nobody's", "rule", r.Rule.String(), "error", err)
		}
		if err != nil {
			c.log.Warn("remove the rules of deleted ENIs", "error", err)
			return
		}
	}
}

// used returns the addresses in the store that are a container's or an ENI's own, and the ENIs' tables.
func (c *call) used() (used map[netip.Addr]bool, tables map[int]bool, err error) {
	used, tables = map[netip.Addr]bool{}, map[int]bool{}
	_, err = c.view(func(tx *store.Tx) error {
		enis, err := tx.ENIs()
		for _, e := range enis {
			used[e.PrimaryIP], used[e.PrimaryIP6], tables[e.Table] = true, true, true
		}
		all, addressErr := tx.Addresses()
		for _, a := range all {
			used[a.IP] = used[a.IP] || a.State == store.Assigned
		}
		return errors.Join(err, addressErr)
	})
	return used, tables, err
}
