package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/core/family"
)

// Range is a prefix with too many addresses to list, as AWS's /80s of IPv6 are: only those that are in use, or cool down, have a
// record.
type Range struct {
	Prefix netip.Prefix `json:"prefix"`
	ENI    string       `json:"eni"`
	// Next is the number, within the prefix, of the address that is looked at next: one that was in use comes back last.
	Next uint16 `json:"next"`
	// Releasing says that it is on its way back to the cloud, and Lost that the API last did not list it, so that it is kept
	// for the containers that it has; nothing of it is given to others.
	Releasing bool `json:"releasing,omitempty"`
	Lost      bool `json:"lost,omitempty"`
	// Since is when it came (since boot).
	Since time.Duration `json:"since"`
}

// RangeSize is how many addresses of a range are used: those that differ in the last rangeBits, but for the first (RFC 4291,
// section 2.6.1, keeps that of a subnet).
const (
	rangeBits = 16
	RangeSize = 1<<rangeBits - 1
)

// state is that of the addresses without a record.
func (r Range) state() State {
	if r.Releasing || r.Lost {
		return Releasing
	}
	return Free
}

// unrecorded is an address of the range that has no record.
func (r Range) unrecorded(ip netip.Addr) Address {
	return Address{IP: ip, ENI: r.ENI, Prefix: r.Prefix, State: r.state(), Since: r.Since}
}

// Ranged says whether the address is of a range.
func (a Address) Ranged() bool { return a.Prefix.IsValid() && !listable(a.Prefix) }

// Ranges returns all ranges, in their order.
func (tx *Tx) Ranges() ([]Range, error) {
	b := tx.b.Bucket(bucketRanges)
	if b == nil { // a store of an older format, which is only read
		return nil, nil
	}
	var all []Range
	err := b.ForEach(func(k, v []byte) error {
		all = append(all, Range{})
		return decode(fmt.Sprintf("range %x", k), v, &all[len(all)-1])
	})
	return all, err
}

// RangeCounts returns how many of the range's addresses are in each state.
func (tx *Tx) RangeCounts(r Range) (Counts, error) { return tx.prefixCounts(r.ENI, r.Prefix) }

// rangeWith returns the range that an address is of; false where it is of none.
func (tx *Tx) rangeWith(ip netip.Addr) (Range, bool, error) {
	b := tx.b.Bucket(bucketRanges)
	if b == nil || ip.Is4() {
		return Range{}, false, nil
	}
	c := b.Cursor()
	k, v := c.Seek(ip.AsSlice())
	switch {
	case k == nil:
		k, v = c.Last()
	case !bytes.Equal(k, ip.AsSlice()):
		k, v = c.Prev()
	}
	if k == nil {
		return Range{}, false, nil
	}
	var r Range
	err := decode(fmt.Sprintf("range %x", k), v, &r)
	return r, err == nil && r.Prefix.Contains(ip), err
}

func (tx *Tx) setRange(r Range) error { return tx.set(bucketRanges, r.Prefix.Addr().AsSlice(), r) }

// addRange makes the ENI's new range free. One that is known already stays what it is, and of this ENI.
func (tx *Tx) addRange(eni string, p netip.Prefix) error {
	r, known, err := tx.rangeWith(p.Addr())
	switch {
	case err != nil:
		return err
	case p.Addr().Is4():
		return fmt.Errorf("prefix %s has more than %d addresses", p, 1<<maxHostBits)
	case known && r.Prefix != p:
		return fmt.Errorf("add prefix %s to %s: it is of %s, which %s has", p, eni, r.Prefix, r.ENI)
	case known && r.ENI == eni:
		return nil
	case known:
		return tx.MoveRange(r, eni)
	}
	if err := tx.b.Bucket(bucketGone).Delete(p.Addr().AsSlice()); err != nil {
		return err
	}
	if err := tx.setRange(Range{Prefix: p, ENI: eni, Next: 1, Since: tx.now}); err != nil {
		return err
	}
	return tx.recount(eni, family.Of(p.Addr()), p, func(n *Counts) { n.Free += capacity(p) })
}

// addSeenRange is addRange by a list, as AddSeen is.
func (tx *Tx) addSeenRange(eni string, p netip.Prefix, staleness time.Duration) error {
	_, known, err := tx.rangeWith(p.Addr())
	if err != nil || known {
		return err
	}
	var since time.Duration
	gone, err := tx.get(bucketGone, p.Addr().AsSlice(), &since)
	if err != nil || gone && tx.now-since < staleness {
		return err
	}
	return tx.addRange(eni, p)
}

// MoveRange records that a range is another ENI's: its addresses are, whoever has them. Nothing takes it back from that one.
func (tx *Tx) MoveRange(r Range, eni string) error {
	inUse, err := tx.recordedIn(r.Prefix)
	if err != nil {
		return err
	}
	for _, a := range inUse {
		if err := tx.putBack(a); err != nil {
			return err
		}
	}
	if err := tx.removeRange(r.Prefix); err != nil {
		return err
	}
	if err := tx.addRange(eni, r.Prefix); err != nil {
		return err
	}
	for _, a := range inUse {
		a.ENI = eni
		if err := tx.put(a); err != nil {
			return fmt.Errorf("move %s to %s: %w", a.IP, eni, err)
		}
	}
	return nil
}

// moveIntoRange is Move of an address that is of a range, which may be new. What is of a range that overlaps that one stays there
// as long as it is in use, and what is on its way back to the cloud is left to its own end.
func (tx *Tx) moveIntoRange(a Address, eni string, p netip.Prefix) error {
	r, known, err := tx.rangeWith(p.Addr())
	if err != nil || known && r.Prefix != p || a.State == Releasing {
		return err
	}
	if err := tx.addRange(eni, p); err != nil {
		return err
	}
	old, err := tx.unindex(a.IP)
	if err == nil {
		err = tx.count(old, Address{}) // the range counts it already, as free
	}
	if err != nil {
		return err
	}
	if err := tx.b.Bucket(bucketAddresses).Delete(a.IP.AsSlice()); err != nil {
		return err
	}
	a.ENI, a.Prefix = eni, p
	if err := tx.put(a); err != nil {
		return fmt.Errorf("move %s to %s: %w", a.IP, p, err)
	}
	return nil
}

// recordedIn returns the addresses of a range that have a record.
func (tx *Tx) recordedIn(p netip.Prefix) ([]Address, error) {
	var all []Address
	c := tx.b.Bucket(bucketAddresses).Cursor()
	for k, v := c.Seek(p.Addr().AsSlice()); k != nil; k, v = c.Next() {
		if ip, ok := netip.AddrFromSlice(k); !ok || !p.Contains(ip) {
			break
		}
		var a Address
		if err := decode(fmt.Sprintf("address %x", k), v, &a); err != nil {
			return nil, err
		}
		if a.Prefix == p {
			all = append(all, a)
		}
	}
	return all, nil
}

// LoseRange records whether the API lists a range.
func (tx *Tx) LoseRange(p netip.Prefix, lost bool) error {
	return tx.changeRange(p, func(r *Range) { r.Lost = lost })
}

// releaseRange records whether a range is on its way back to the cloud.
func (tx *Tx) releaseRange(p netip.Prefix, releasing bool) error {
	return tx.changeRange(p, func(r *Range) { r.Releasing = releasing })
}

// releaseRanges is releaseRange with all of the ENI's.
func (tx *Tx) releaseRanges(eni string, releasing bool) error {
	return tx.eachRangeOf(eni, func(p netip.Prefix) error { return tx.releaseRange(p, releasing) })
}

// removeRanges is removeRange with all of the ENI's.
func (tx *Tx) removeRanges(eni string) error { return tx.eachRangeOf(eni, tx.removeRange) }

func (tx *Tx) eachRangeOf(eni string, fn func(netip.Prefix) error) error {
	all, err := tx.Ranges()
	for _, r := range all {
		if err == nil && r.ENI == eni {
			err = fn(r.Prefix)
		}
	}
	return err
}

// changeRange changes a range, if it is there, and counts what that makes of its addresses without a record.
func (tx *Tx) changeRange(p netip.Prefix, change func(*Range)) error {
	r, known, err := tx.rangeWith(p.Addr())
	if err != nil || !known {
		return err
	}
	n, err := tx.prefixCounts(r.ENI, p)
	if err != nil {
		return err
	}
	was := r.state()
	change(&r)
	if err := tx.setRange(r); err != nil || r.state() == was {
		return err
	}
	unrecorded := n.Free + n.Releasing // of which one is 0
	return tx.recount(r.ENI, family.Of(p.Addr()), p, func(n *Counts) {
		n.add(was, -unrecorded)
		n.add(r.state(), unrecorded)
	})
}

// removeRange takes a range out of the store that the cloud no longer has, and what cools down of it. One of which a container
// has an address is an error, and stays.
func (tx *Tx) removeRange(p netip.Prefix) error {
	r, known, err := tx.rangeWith(p.Addr())
	if err != nil || !known {
		return err
	}
	recorded, err := tx.recordedIn(p)
	if err != nil {
		return err
	}
	for _, a := range recorded {
		if err := tx.drop(a); err != nil {
			return err
		}
	}
	n, err := tx.prefixCounts(r.ENI, p)
	if err != nil {
		return err
	}
	free, releasing := n.Free, n.Releasing
	if err := tx.recount(r.ENI, family.Of(p.Addr()), p, func(n *Counts) { n.Free -= free; n.Releasing -= releasing }); err != nil {
		return err
	}
	if err := tx.set(bucketGone, p.Addr().AsSlice(), tx.now); err != nil {
		return err
	}
	return tx.b.Bucket(bucketRanges).Delete(p.Addr().AsSlice())
}

// putBack makes an address of a range one of those without a record.
func (tx *Tx) putBack(a Address) error {
	r, known, err := tx.rangeWith(a.IP)
	if err == nil && !known {
		err = fmt.Errorf("%w: %s is of %s, which is not in the store", ErrCorrupt, a.IP, a.Prefix)
	}
	if err != nil {
		return err
	}
	old, err := tx.unindex(a.IP)
	if err == nil {
		err = tx.count(old, r.unrecorded(a.IP))
	}
	if err != nil {
		return err
	}
	return tx.b.Bucket(bucketAddresses).Delete(a.IP.AsSlice())
}

// nextIn returns the address of a range that Take gives; the zero Addr where none is free.
func (tx *Tx) nextIn(p netip.Prefix) (netip.Addr, error) {
	r, known, err := tx.rangeWith(p.Addr())
	if err != nil || !known {
		return netip.Addr{}, err
	}
	n := int(r.Next)
	for range capacity(p) {
		if n < 1 || n > capacity(p) {
			n = 1
		}
		if ip := numbered(p, n); tx.b.Bucket(bucketAddresses).Get(ip.AsSlice()) == nil {
			return ip, nil
		}
		n++
	}
	return netip.Addr{}, nil
}

// goOn makes the address behind one that was just given the next.
func (tx *Tx) goOn(ip netip.Addr) error {
	r, known, err := tx.rangeWith(ip)
	if err != nil || !known {
		return err
	}
	n := int(binary.BigEndian.Uint16(ip.AsSlice()[14:])) & capacity(r.Prefix)
	if numbered(r.Prefix, n) != ip {
		return nil // somebody asked for it
	}
	r.Next = uint16(n + 1)
	return tx.setRange(r)
}

// numbered is the address of a range with the number.
func numbered(p netip.Prefix, n int) netip.Addr {
	b := slices.Clone(p.Addr().AsSlice())
	last := b[len(b)-2:]
	binary.BigEndian.PutUint16(last, binary.BigEndian.Uint16(last)|uint16(n))
	ip, _ := netip.AddrFromSlice(b)
	return ip
}
