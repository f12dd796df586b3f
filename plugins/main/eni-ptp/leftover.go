package main

import (
	"errors"
	"net/netip"

	"github.com/enichain/enichain/core/store"
)

// removeLeftovers removes our rules of addresses that are nobody's. An ENI that is deleted leaves two: its routes go with its
// link, and eni-ipam, which has it deleted, never touches the kernel's network. All rules are dumped for it, so that it is
// for the moment when a new ENI is first seen. It serves no container in particular, and fails none.
func (c *call) removeLeftovers() {
	rules, err := c.host.Rules()
	if err != nil {
		c.log.Warn("look for rules of deleted ENIs", "error", err)
		return
	}
	used, err := c.used() // after the rules: an address has its owner before it has rules, and loses it after them
	if err != nil {
		c.log.Warn("look for rules of deleted ENIs", "error", err)
		return
	}
	for _, r := range rules {
		ip, ours := r.Of()
		if !ours || used[ip] {
			continue
		}
		left, err := c.host.Unrouted(ip)
		if err == nil && left {
			err = c.host.RemoveRule(r.Rule)
			c.log.Info("removed a rule whose address is nobody's", "rule", r.Rule.String(), "error", err)
		}
		if err != nil {
			c.log.Warn("remove the rules of deleted ENIs", "error", err)
			return
		}
	}
}

// used returns the addresses in the store that are a container's or an ENI's own.
func (c *call) used() (map[netip.Addr]bool, error) {
	used := map[netip.Addr]bool{}
	_, err := c.view(func(tx *store.Tx) error {
		enis, err := tx.ENIs()
		for _, e := range enis {
			used[e.PrimaryIP], used[e.PrimaryIP6] = true, true
		}
		all, addressErr := tx.Addresses()
		for _, a := range all {
			used[a.IP] = used[a.IP] || a.State == store.Assigned
		}
		return errors.Join(err, addressErr)
	})
	return used, err
}
