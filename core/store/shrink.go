package store

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"github.com/enichain/enichain/core/family"
)

// MarkReleasing takes n of the ENI's free addresses of the family that are of no prefix out of use, those first that have been
// free for longest, and returns them: the first of the two steps by which they go back to the cloud.
func (tx *Tx) MarkReleasing(eni string, f family.Family, n int) ([]netip.Addr, error) {
	var chosen []netip.Addr
	begin := poolKey(eni, f)
	c := tx.b.Bucket(bucketFree).Cursor()
	for k, _ := c.Seek(begin); bytes.HasPrefix(k, begin) && len(chosen) < n; k, _ = c.Next() {
		ip, ok := freeAddress(k, len(begin))
		if !ok {
			return nil, fmt.Errorf("%w: free address %x", ErrCorrupt, k)
		}
		chosen = append(chosen, ip)
	}
	for _, ip := range chosen {
		if err := tx.setState(ip, Releasing); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// MarkReleasingAll takes whatever of the ENI is free out of use, for the ENI goes as a whole.
func (tx *Tx) MarkReleasingAll(eni string) error {
	all, err := tx.Addresses()
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.ENI != eni || a.State != Free {
			continue
		}
		if err := tx.setState(a.IP, Releasing); err != nil {
			return err
		}
	}
	return tx.releaseRanges(eni, true)
}

// Unrelease puts addresses that were marked, and that the cloud still has, back to use.
func (tx *Tx) Unrelease(ips []netip.Addr) error {
	for _, ip := range ips {
		if a, known, err := tx.Address(ip); err != nil || !known || a.State != Releasing {
			if err != nil {
				return err
			}
			continue
		}
		if err := tx.setState(ip, Free); err != nil {
			return err
		}
	}
	return nil
}

// UnreleaseAll is Unrelease of whatever of the ENI is marked.
func (tx *Tx) UnreleaseAll(eni string) error {
	all, err := tx.Addresses()
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.ENI != eni {
			continue
		}
		if err := tx.Unrelease([]netip.Addr{a.IP}); err != nil {
			return err
		}
	}
	return tx.releaseRanges(eni, false)
}

// Remove takes addresses out of the store that the cloud no longer has. One that a container owns is an error, and stays.
func (tx *Tx) Remove(ips []netip.Addr) error {
	for _, ip := range ips {
		a, known, err := tx.Address(ip)
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		if err := tx.drop(a); err != nil {
			return err
		}
	}
	return nil
}

// RemoveENI takes an ENI that is gone, and its addresses, out of the store. One of which a container has an address is an
// error, and stays.
func (tx *Tx) RemoveENI(id string) error {
	all, err := tx.Addresses()
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.ENI != id {
			continue
		}
		if err := tx.drop(a); err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
	}
	if err := tx.removeRanges(id); err != nil {
		return err
	}
	for _, f := range family.All() {
		if err := tx.b.Bucket(bucketCounts).Delete([]byte(poolOf(id, f))); err != nil {
			return err
		}
	}
	return tx.b.Bucket(bucketENIs).Delete([]byte(id))
}

func (tx *Tx) setState(ip netip.Addr, state State) error {
	a, known, err := tx.Address(ip)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("%s: %w", ip, ErrUnknownAddress)
	}
	a.State, a.Since, a.Until, a.Owner, a.Sandbox = state, tx.now, 0, nil, nil
	return tx.put(a)
}

// Rest is why something is not asked of the cloud for a while: a call that was throttled, a subnet or an instance that is
// full. All processes heed it.
type Rest struct {
	Until    time.Duration `json:"until"`    // since boot
	Attempts int           `json:"attempts"` // failures in a row
	Class    string        `json:"class"`
	Reason   string        `json:"reason"`
}

// Rests returns what rests now, by what it is: "api", "subnet/ID", "eni/ID", "enis", "prefixes/ID"
// of a subnet, "prefixes" of a new ENI; with a 6 before the slash what is of IPv6.
func (tx *Tx) Rests() (map[string]Rest, error) {
	resting := map[string]Rest{}
	err := tx.b.Bucket(bucketRests).ForEach(func(k, v []byte) error {
		var r Rest
		if err := decode(fmt.Sprintf("rest %q", k), v, &r); err != nil {
			return err
		}
		if r.Until > tx.now {
			resting[string(k)] = r
		}
		return nil
	})
	return resting, err
}

// LetRest makes a thing rest for the time that pause gives for the number of its failures in a row, this one counted.
func (tx *Tx) LetRest(what, class, reason string, pause func(attempts int) time.Duration) error {
	var r Rest
	if _, err := tx.get(bucketRests, []byte(what), &r); err != nil {
		return err
	}
	r = Rest{Attempts: r.Attempts + 1, Class: class, Reason: reason}
	r.Until = tx.now + pause(r.Attempts)
	return tx.set(bucketRests, []byte(what), r)
}

// WakeAll ends all rests, for an operator who knows that their reasons are gone.
func (tx *Tx) WakeAll() error {
	if err := tx.b.DeleteBucket(bucketRests); err != nil {
		return err
	}
	_, err := tx.b.CreateBucket(bucketRests)
	return err
}

// Wake ends a thing's rest and forgets its failures.
func (tx *Tx) Wake(what string) error { return tx.b.Bucket(bucketRests).Delete([]byte(what)) }
