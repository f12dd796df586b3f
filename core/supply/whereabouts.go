package supply

import (
	"net/netip"
	"slices"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
)

// Place is where an address is: on an ENI, by a prefix or by itself.
type Place struct {
	ENI    string
	Prefix netip.Prefix
}

// Whereabouts say where addresses are.
type Whereabouts struct {
	Listed map[netip.Addr]Place
	Ranges map[netip.Prefix]string // by prefix with too many addresses to list, the ENI
}

// Places says where each address of the ENIs is, beside their own.
func Places(enis []cloud.ENI) Whereabouts {
	at := Whereabouts{map[netip.Addr]Place{}, map[netip.Prefix]string{}}
	for _, e := range enis {
		for _, ip := range slices.Concat(e.Addresses, e.IPv6) {
			at.Listed[ip] = Place{ENI: e.ID}
		}
		for _, p := range e.Prefixes {
			none := true
			for ip := range store.AddressesIn(p) {
				at.Listed[ip], none = Place{e.ID, p}, false
			}
			if none {
				at.Ranges[p.Masked()] = e.ID
			}
		}
	}
	return at
}

// Of says where an address is; false where it is nowhere.
func (w Whereabouts) Of(ip netip.Addr) (Place, bool) {
	if p, listed := w.Listed[ip]; listed {
		return p, true
	}
	for p, eni := range w.Ranges {
		if p.Contains(ip) {
			return Place{eni, p}, true
		}
	}
	return Place{}, false
}

// move records that addresses are elsewhere than the store has it: others took them from one ENI, and the cloud gave them
// to the other, or to the same by another way.
func move(tx *store.Tx, at Whereabouts) error {
	if err := moveRanges(tx, at); err != nil {
		return err
	}
	addresses, err := tx.Addresses()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		now, held := at.Of(a.IP)
		if !held || now == (Place{a.ENI, a.Prefix}) {
			continue
		}
		_, managed, err := tx.ENI(now.ENI)
		if err == nil && managed {
			err = tx.Move(a.IP, now.ENI, now.Prefix)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// moveRanges is move of ranges, with whatever of them is in use.
func moveRanges(tx *store.Tx, at Whereabouts) error {
	ranges, err := tx.Ranges()
	for _, r := range ranges {
		if err != nil {
			return err
		}
		eni, held := at.Ranges[r.Prefix]
		if !held || eni == r.ENI {
			continue
		}
		managed := false
		if _, managed, err = tx.ENI(eni); err == nil && managed {
			err = tx.MoveRange(r, eni)
		}
	}
	return err
}
