package store

import (
	"fmt"
	"time"
)

// Counts are how many addresses of an ENI are in each state, and when one of them last changed (since boot).
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

// Counts returns the ENI's counts.
func (tx *Tx) Counts(eni string) (Counts, error) {
	var n Counts
	_, err := tx.get(bucketCounts, []byte(eni), &n)
	return n, err
}

// put writes an address and keeps the indexes and counts: all changes of an address go through it, or through drop.
func (tx *Tx) put(a Address) error {
	if err := tx.unindex(a); err != nil {
		return err
	}
	if err := tx.count(a, 1); err != nil {
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

// drop removes an address that no container owns.
func (tx *Tx) drop(a Address) error {
	if a.State == Assigned {
		return fmt.Errorf("remove %s: %w: %s, %s", a.IP, ErrNotFree, a.State, a.Owner)
	}
	if err := tx.unindex(a); err != nil {
		return err
	}
	if err := tx.set(bucketGone, a.IP.AsSlice(), tx.now); err != nil {
		return err
	}
	return tx.b.Bucket(bucketAddresses).Delete(a.IP.AsSlice())
}

// unindex takes an address, as the store has it, out of the indexes and counts.
func (tx *Tx) unindex(a Address) error {
	old, known, err := tx.Address(a.IP)
	if err != nil || !known {
		return err
	}
	if bucket, key := old.index(); key != nil {
		if err := tx.b.Bucket(bucket).Delete(key); err != nil {
			return err
		}
	}
	return tx.count(old, -1)
}

// count counts an address in (1) or out (-1), with its ENI and its prefix.
func (tx *Tx) count(a Address, by int) error {
	n, err := tx.Counts(a.ENI)
	if err == nil && a.Prefix.IsValid() {
		err = tx.countPrefix(a, by, &n)
	}
	if err != nil {
		return err
	}
	n.add(a.State, by)
	n.Changed = tx.now
	return tx.set(bucketCounts, []byte(a.ENI), n)
}
