package store

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/enichain/enichain/core/family"
)

// Counts are how many of an ENI's addresses of a family are in each state, and when one of them last changed (since boot).
type Counts struct {
	Free      int           `json:"free,omitempty"`
	Assigned  int           `json:"assigned,omitempty"`
	Cooling   int           `json:"cooling,omitempty"`
	Releasing int           `json:"releasing,omitempty"`
	Changed   time.Duration `json:"changed,omitempty"`
	// Prefixes is how many prefixes some of these addresses are of, and InPrefixes how many addresses that is. FreePrefixes
	// are those that are free as a whole, and Scattered the free addresses of the others, which cannot go back by themselves.
	Prefixes     int `json:"prefixes,omitempty"`
	InPrefixes   int `json:"inPrefixes,omitempty"`
	FreePrefixes int `json:"freePrefixes,omitempty"`
	Scattered    int `json:"scattered,omitempty"`
}

// Total is how many addresses the ENI has.
func (n Counts) Total() int { return n.Free + n.Assigned + n.Cooling + n.Releasing }

// Places is how many of the ENI's places they take: a prefix takes one, as an address by itself does.
func (n Counts) Places() int { return n.Total() - n.InPrefixes + n.Prefixes }

// add counts an address of the state in (1) or out (-1).
func (n *Counts) add(s State, by int) {
	switch s {
	case Free:
		n.Free += by
	case Assigned:
		n.Assigned += by
	case Cooling:
		n.Cooling += by
	case Releasing:
		n.Releasing += by
	}
}

// change counts an address that was in one state, and is in another; an empty one is none.
func (n *Counts) change(from, to State) {
	n.add(from, -1)
	n.add(to, 1)
}

// Counts returns the counts of an ENI's addresses of a family.
func (tx *Tx) Counts(eni string, f family.Family) (Counts, error) {
	var n Counts
	_, err := tx.get(bucketCounts, []byte(poolOf(eni, f)), &n)
	return n, err
}

// AllCounts returns the counts of the ENIs, by family and ID.
func (tx *Tx) AllCounts(enis []ENI) (map[family.Family]map[string]Counts, error) {
	all := map[family.Family]map[string]Counts{}
	for _, f := range family.All() {
		all[f] = map[string]Counts{}
		for _, e := range enis {
			n, err := tx.Counts(e.ID, f)
			if err != nil {
				return nil, err
			}
			all[f][e.ID] = n
		}
	}
	return all, nil
}

// poolOf names an ENI's addresses of a family in the keys of the store. No ID has a slash.
func poolOf(eni string, f family.Family) string {
	if f == family.IPv6 {
		return eni + "/6"
	}
	return eni
}

// poolKey begins the keys of all that is of those addresses. An ID has no zero byte.
func poolKey(eni string, f family.Family) []byte { return append([]byte(poolOf(eni, f)), 0) }

// put writes an address and keeps the indexes and counts: all changes of an address go through it, or through drop. One of a
// range becomes what the range's others are when it is free, and needs no record then.
func (tx *Tx) put(a Address) error {
	if a.Ranged() && a.State == Free {
		return tx.putBack(a)
	}
	old, err := tx.unindex(a.IP)
	if err == nil {
		err = tx.count(old, a)
	}
	if err != nil {
		return err
	}
	if bucket, key := a.index(); key != nil {
		if err := tx.b.Bucket(bucket).Put(key, nil); err != nil {
			return err
		}
	}
	if err := tx.b.Bucket(bucketGone).Delete(a.IP.AsSlice()); err != nil {
		return err
	}
	return tx.set(bucketAddresses, a.IP.AsSlice(), a)
}

// drop removes an address that no container owns. One of a range goes with the range, and is free until then.
func (tx *Tx) drop(a Address) error {
	switch {
	case a.State == Assigned:
		return fmt.Errorf("remove %s: %w: %s, %s", a.IP, ErrNotFree, a.State, a.Owner)
	case a.Ranged():
		return tx.putBack(a)
	}
	old, err := tx.unindex(a.IP)
	if err == nil {
		err = tx.count(old, Address{})
	}
	if err != nil {
		return err
	}
	if err := tx.set(bucketGone, a.IP.AsSlice(), tx.now); err != nil {
		return err
	}
	return tx.b.Bucket(bucketAddresses).Delete(a.IP.AsSlice())
}

// unindex takes an address out of the indexes, and returns what the store has of it; the zero Address where that is nothing.
func (tx *Tx) unindex(ip netip.Addr) (Address, error) {
	old, known, err := tx.Address(ip)
	if err != nil || !known {
		return Address{}, err
	}
	if bucket, key := old.index(); key != nil {
		err = tx.b.Bucket(bucket).Delete(key)
	}
	return old, err
}

// count counts an address that was so in the store, and is so now; either may be zero.
func (tx *Tx) count(was, is Address) error {
	if was.ENI == is.ENI && was.Prefix == is.Prefix {
		return tx.countAt(is, was.State, is.State)
	}
	for _, change := range []struct {
		at       Address
		from, to State
	}{{was, was.State, ""}, {is, "", is.State}} {
		if change.at.ENI == "" {
			continue
		}
		if err := tx.countAt(change.at, change.from, change.to); err != nil {
			return err
		}
	}
	return nil
}

// countAt counts a change of state with the ENI and the prefix that the address is of.
func (tx *Tx) countAt(a Address, from, to State) error {
	return tx.recount(a.ENI, family.Of(a.IP), a.Prefix, func(n *Counts) { n.change(from, to) })
}

// recount changes the counts of an ENI's addresses of a family, and those of the prefix that they are of, if any.
func (tx *Tx) recount(eni string, f family.Family, p netip.Prefix, change func(*Counts)) error {
	n, err := tx.Counts(eni, f)
	if err == nil && p.IsValid() {
		err = tx.recountPrefix(eni, p, change, &n)
	}
	if err != nil {
		return err
	}
	change(&n)
	n.Changed = tx.now
	return tx.set(bucketCounts, []byte(poolOf(eni, f)), n)
}
