package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/core/family"
)

// maxHostBits bounds the prefixes whose addresses the store lists one by one: AWS's for IPv4 have 4 (EC2 User Guide, "Prefix
// delegation").
const maxHostBits = 8

// AddressesIn lists the addresses of a prefix, none where those are too many, so that it is a Range. All of them are usable: a
// cloud keeps none of them for itself.
func AddressesIn(p netip.Prefix) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for ip := p.Masked().Addr(); listable(p) && p.Contains(ip) && yield(ip); ip = ip.Next() {
		}
	}
}

func listable(p netip.Prefix) bool { return p.Addr().BitLen()-p.Bits() <= maxHostBits }

// AddPrefixes is AddAddresses with all addresses of prefixes.
func (tx *Tx) AddPrefixes(eni string, prefixes []netip.Prefix) error {
	return eachIn(prefixes, func(p netip.Prefix, ip netip.Addr) error { return tx.add(eni, p, ip) },
		func(p netip.Prefix) error { return tx.addRange(eni, p) })
}

// AddSeenPrefixes is AddSeen with all addresses of prefixes.
func (tx *Tx) AddSeenPrefixes(eni string, prefixes []netip.Prefix, staleness time.Duration) error {
	return eachIn(prefixes, func(p netip.Prefix, ip netip.Addr) error { return tx.addSeen(eni, p, ip, staleness) },
		func(p netip.Prefix) error { return tx.addSeenRange(eni, p, staleness) })
}

// eachIn calls fn for each address of the prefixes, and whole for those with more than can be listed.
func eachIn(prefixes []netip.Prefix, fn func(netip.Prefix, netip.Addr) error, whole func(netip.Prefix) error) error {
	for _, p := range prefixes {
		p = p.Masked()
		if !listable(p) {
			if err := whole(p); err != nil {
				return err
			}
		}
		for ip := range AddressesIn(p) {
			if err := fn(p, ip); err != nil {
				return err
			}
		}
	}
	return nil
}

// MarkReleasingPrefixes is MarkReleasing with n of the ENI's prefixes of which all addresses are free.
func (tx *Tx) MarkReleasingPrefixes(eni string, f family.Family, n int) ([]netip.Prefix, error) {
	var chosen []netip.Prefix
	begin := poolKey(eni, f)
	c := tx.b.Bucket(bucketPacking).Cursor()
	for k, _ := c.Seek(begin); bytes.HasPrefix(k, begin) && len(chosen) < n; k, _ = c.Next() {
		p, whole, err := splitPacking(k[len(begin):])
		if err != nil {
			return nil, err
		}
		if whole {
			chosen = append(chosen, p)
		}
	}
	return chosen, eachIn(chosen, func(_ netip.Prefix, ip netip.Addr) error { return tx.setState(ip, Releasing) },
		func(p netip.Prefix) error { return tx.releaseRange(p, true) })
}

// UnreleasePrefixes is Unrelease with all addresses of prefixes.
func (tx *Tx) UnreleasePrefixes(prefixes []netip.Prefix) error {
	return eachIn(prefixes, func(_ netip.Prefix, ip netip.Addr) error { return tx.Unrelease([]netip.Addr{ip}) },
		func(p netip.Prefix) error { return tx.releaseRange(p, false) })
}

// RemovePrefixes is Remove with all addresses of prefixes.
func (tx *Tx) RemovePrefixes(prefixes []netip.Prefix) error {
	return eachIn(prefixes, func(_ netip.Prefix, ip netip.Addr) error { return tx.Remove([]netip.Addr{ip}) }, tx.removeRange)
}

// prefixCounts returns the counts of a prefix of an ENI.
func (tx *Tx) prefixCounts(eni string, p netip.Prefix) (n Counts, err error) {
	_, err = tx.get(bucketPrefixes, prefixKey(eni, p), &n)
	return n, err
}

// recountPrefix changes the counts of an ENI's prefix, and in the ENI's what that says of prefixes.
func (tx *Tx) recountPrefix(eni string, p netip.Prefix, change func(*Counts), of *Counts) error {
	n, err := tx.prefixCounts(eni, p)
	if err != nil {
		return err
	}
	of.addPrefix(p, n, -1)
	free := n.Free
	change(&n)
	of.addPrefix(p, n, 1)
	if err := tx.pack(eni, p, free, n.Free); err != nil {
		return err
	}
	key := prefixKey(eni, p)
	if n.Total() == 0 {
		return tx.b.Bucket(bucketPrefixes).Delete(key)
	}
	return tx.set(bucketPrefixes, key, n)
}

// pack moves a prefix in the index of those that have free addresses.
func (tx *Tx) pack(eni string, p netip.Prefix, from, to int) error {
	if from == to {
		return nil
	}
	packing := tx.b.Bucket(bucketPacking)
	if from > 0 {
		if err := packing.Delete(packingKey(eni, p, from)); err != nil {
			return err
		}
	}
	if to > 0 {
		return packing.Put(packingKey(eni, p, to), nil)
	}
	return nil
}

// addPrefix counts a prefix, whose addresses are of, in (1) or out (-1).
func (n *Counts) addPrefix(p netip.Prefix, of Counts, by int) {
	if of.Total() == 0 {
		return
	}
	n.Prefixes += by
	n.InPrefixes += by * of.Total()
	if of.Free == capacity(p) {
		n.FreePrefixes += by
	} else {
		n.Scattered += by * of.Free
	}
}

// capacity is how many addresses of the prefix are used: all, but of a range.
func capacity(p netip.Prefix) int {
	host := p.Addr().BitLen() - p.Bits()
	if listable(p) {
		return 1 << host
	}
	return 1<<min(host, rangeBits) - 1
}

// fullestPrefix returns the ENI's prefix of the family that has the fewest free addresses, but some, and whether all of it are
// free; the zero Prefix where there is none.
func (tx *Tx) fullestPrefix(eni string, f family.Family) (fullest netip.Prefix, whole bool, err error) {
	begin := poolKey(eni, f)
	k, _ := tx.b.Bucket(bucketPacking).Cursor().Seek(begin)
	if !bytes.HasPrefix(k, begin) {
		return netip.Prefix{}, false, nil
	}
	return splitPacking(k[len(begin):])
}

// prefixKey is the key of an ENI's prefix. The length of its address goes first, so that no key begins as another.
func prefixKey(eni string, p netip.Prefix) []byte {
	return append(poolKey(eni, family.Of(p.Addr())), prefixBytes(p)...)
}

func prefixBytes(p netip.Prefix) []byte {
	ip := p.Addr().AsSlice()
	return slices.Concat([]byte{byte(len(ip))}, ip, []byte{byte(p.Bits())})
}

// packingKey is the place of a prefix in the index of those that have free addresses.
func packingKey(eni string, p netip.Prefix, free int) []byte {
	return append(binary.BigEndian.AppendUint16(poolKey(eni, family.Of(p.Addr())), uint16(free)), prefixBytes(p)...)
}

// splitPacking reads what stands behind the ENI in a key of that index.
func splitPacking(key []byte) (p netip.Prefix, whole bool, err error) {
	if len(key) > 4 {
		if ip, ok := netip.AddrFromSlice(key[3 : len(key)-1]); ok {
			if p = netip.PrefixFrom(ip, int(key[len(key)-1])); p.IsValid() {
				return p, int(binary.BigEndian.Uint16(key)) == capacity(p), nil
			}
		}
	}
	return netip.Prefix{}, false, fmt.Errorf("%w: prefix %x", ErrCorrupt, key)
}
