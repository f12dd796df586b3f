package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"
)

// maxHostBits bounds the prefixes whose addresses the store lists one by one: AWS's for IPv4 have 4 (EC2 User Guide, "Prefix
// delegation").
const maxHostBits = 8

// AddressesIn lists the addresses of a prefix, none where those are too many. All of them are usable: a cloud keeps none of
// them for itself.
func AddressesIn(p netip.Prefix) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for ip := p.Masked().Addr(); listable(p) && p.Contains(ip) && yield(ip); ip = ip.Next() {
		}
	}
}

func listable(p netip.Prefix) bool { return p.Addr().BitLen()-p.Bits() <= maxHostBits }

// AddPrefixes is AddAddresses with all addresses of prefixes.
func (tx *Tx) AddPrefixes(eni string, prefixes []netip.Prefix) error {
	return eachIn(prefixes, func(p netip.Prefix, ip netip.Addr) error { return tx.add(eni, p, ip) })
}

// AddSeenPrefixes is AddSeen with all addresses of prefixes.
func (tx *Tx) AddSeenPrefixes(eni string, prefixes []netip.Prefix, staleness time.Duration) error {
	return eachIn(prefixes, func(p netip.Prefix, ip netip.Addr) error { return tx.addSeen(eni, p, ip, staleness) })
}

// eachIn calls fn for each address of the prefixes. One with more addresses than can be listed is an error.
func eachIn(prefixes []netip.Prefix, fn func(netip.Prefix, netip.Addr) error) error {
	for _, p := range prefixes {
		if !listable(p) {
			return fmt.Errorf("prefix %s has more than %d addresses", p, 1<<maxHostBits)
		}
		p = p.Masked()
		for ip := range AddressesIn(p) {
			if err := fn(p, ip); err != nil {
				return err
			}
		}
	}
	return nil
}

// MarkReleasingPrefixes is MarkReleasing with n of the ENI's prefixes of which all addresses are free.
func (tx *Tx) MarkReleasingPrefixes(eni string, n int) ([]netip.Prefix, error) {
	var chosen []netip.Prefix
	begin := eniKey(eni)
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
	return chosen, eachIn(chosen, func(_ netip.Prefix, ip netip.Addr) error { return tx.setState(ip, Releasing) })
}

// UnreleasePrefixes is Unrelease with all addresses of prefixes.
func (tx *Tx) UnreleasePrefixes(prefixes []netip.Prefix) error {
	return eachIn(prefixes, func(_ netip.Prefix, ip netip.Addr) error { return tx.Unrelease([]netip.Addr{ip}) })
}

// RemovePrefixes is Remove with all addresses of prefixes.
func (tx *Tx) RemovePrefixes(prefixes []netip.Prefix) error {
	return eachIn(prefixes, func(_ netip.Prefix, ip netip.Addr) error { return tx.Remove([]netip.Addr{ip}) })
}

// countPrefix counts a change of state with the address's prefix, and what that changes with the ENI.
func (tx *Tx) countPrefix(a Address, from, to State, eni *Counts) error {
	key := prefixKey(a.ENI, a.Prefix)
	var n Counts
	if _, err := tx.get(bucketPrefixes, key, &n); err != nil {
		return err
	}
	eni.addPrefix(a.Prefix, n, -1)
	free := n.Free
	n.change(from, to)
	eni.addPrefix(a.Prefix, n, 1)
	if err := tx.pack(a, free, n.Free); err != nil {
		return err
	}
	if n.Total() == 0 {
		return tx.b.Bucket(bucketPrefixes).Delete(key)
	}
	return tx.set(bucketPrefixes, key, n)
}

// pack moves the address's prefix in the index of those that have free addresses.
func (tx *Tx) pack(a Address, from, to int) error {
	if from == to {
		return nil
	}
	packing := tx.b.Bucket(bucketPacking)
	if from > 0 {
		if err := packing.Delete(packingKey(a, from)); err != nil {
			return err
		}
	}
	if to > 0 {
		return packing.Put(packingKey(a, to), nil)
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
	if of.Free == size(p) {
		n.FreePrefixes += by
	} else {
		n.Scattered += by * of.Free
	}
}

// size is how many addresses the prefix has.
func size(p netip.Prefix) int { return 1 << (p.Addr().BitLen() - p.Bits()) }

// fullestPrefix returns the ENI's prefix that has the fewest free addresses, but some, and whether all of it are free; the
// zero Prefix where there is none.
func (tx *Tx) fullestPrefix(eni string) (fullest netip.Prefix, whole bool, err error) {
	begin := eniKey(eni)
	k, _ := tx.b.Bucket(bucketPacking).Cursor().Seek(begin)
	if !bytes.HasPrefix(k, begin) {
		return netip.Prefix{}, false, nil
	}
	return splitPacking(k[len(begin):])
}

// prefixKey is the key of an ENI's prefix. The length of its address goes first, so that no key begins as another.
func prefixKey(eni string, p netip.Prefix) []byte {
	return append(eniKey(eni), prefixBytes(p)...)
}

func prefixBytes(p netip.Prefix) []byte {
	ip := p.Addr().AsSlice()
	return slices.Concat([]byte{byte(len(ip))}, ip, []byte{byte(p.Bits())})
}

// packingKey is the place of an address's prefix in the index of those that have free addresses.
func packingKey(a Address, free int) []byte {
	return append(binary.BigEndian.AppendUint16(eniKey(a.ENI), uint16(free)), prefixBytes(a.Prefix)...)
}

// splitPacking reads what stands behind the ENI in a key of that index.
func splitPacking(key []byte) (p netip.Prefix, whole bool, err error) {
	if len(key) > 4 {
		if ip, ok := netip.AddrFromSlice(key[3 : len(key)-1]); ok {
			if p = netip.PrefixFrom(ip, int(key[len(key)-1])); p.IsValid() {
				return p, int(binary.BigEndian.Uint16(key)) == size(p), nil
			}
		}
	}
	return netip.Prefix{}, false, fmt.Errorf("%w: prefix %x", ErrCorrupt, key)
}
