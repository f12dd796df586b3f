package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/core/family"
)

var (
	// ErrExhausted says that no address is free.
	ErrExhausted = errors.New("no free address")
	// ErrUnknownAddress says that an address was asked for which no ENI of this node has.
	ErrUnknownAddress = errors.New("no ENI of this node has it")
	// ErrNotFree says that an address was asked for which is not free.
	ErrNotFree = errors.New("it is not free")
)

// thawBatch bounds how many cooled addresses one Take or ThawSome makes free, so that none pays for a thousand.
const thawBatch = 64

// AddAddresses makes the ENI's new addresses free, as the answer of the call says that added them. One that is known
// already stays what it is, and of this ENI: whoever had it before has lost it.
func (tx *Tx) AddAddresses(eni string, ips []netip.Addr) error {
	for _, ip := range ips {
		if err := tx.add(eni, netip.Prefix{}, ip); err != nil {
			return err
		}
	}
	return nil
}

// add is AddAddresses with one address, of a prefix or of none.
func (tx *Tx) add(eni string, prefix netip.Prefix, ip netip.Addr) error {
	ip = ip.Unmap() // one address, one key
	a, known, err := tx.Address(ip)
	switch {
	case err != nil:
		return err
	case !known:
		a = Address{IP: ip, State: Free, Since: tx.now}
	case a.ENI == eni && a.Prefix == prefix:
		return nil
	}
	if a.State == Releasing && a.ENI != eni {
		a.State, a.Since = Free, tx.now // what was to take it took it from the other ENI
	}
	a.ENI, a.Prefix = eni, prefix
	if err := tx.put(a); err != nil {
		return fmt.Errorf("add address %s: %w", ip, err)
	}
	return nil
}

// Move records that an address which the store has is the ENI's, by the prefix or by itself where that is zero.
func (tx *Tx) Move(ip netip.Addr, eni string, prefix netip.Prefix) error {
	a, known, err := tx.Address(ip)
	switch {
	case err != nil || !known:
		return err
	case prefix.IsValid() && !listable(prefix):
		return tx.moveIntoRange(a, eni, prefix)
	}
	return tx.add(eni, prefix, ip)
}

// AddSeen is AddAddresses by a list, which may be older than what the store knows: an address that the store has stays
// where it is, and one that was taken out of the store less than staleness ago stays out.
func (tx *Tx) AddSeen(eni string, ips []netip.Addr, staleness time.Duration) error {
	for _, ip := range ips {
		if err := tx.addSeen(eni, netip.Prefix{}, ip, staleness); err != nil {
			return err
		}
	}
	return nil
}

// addSeen is AddSeen with one address, of a prefix or of none.
func (tx *Tx) addSeen(eni string, prefix netip.Prefix, ip netip.Addr, staleness time.Duration) error {
	ip = ip.Unmap()
	_, known, err := tx.Address(ip)
	if err != nil {
		return err
	}
	var since time.Duration
	gone, err := tx.get(bucketGone, ip.AsSlice(), &since)
	if err != nil || known || gone && tx.now-since < staleness {
		return err
	}
	return tx.add(eni, prefix, ip)
}

// Take gives the owner a free address of the family: of the ENI of which it has one of the other family, where that has one
// free, else of the ENIs of the lowest rank (below 0 are those that it may have none of) the fullest, and there of the fullest
// prefix, so that the others empty out; among equals the one that has been free for longest. An owner that holds one already
// gets that again, with its sandbox, which may be a new one. It returns ErrExhausted where none is free.
func (tx *Tx) Take(owner Owner, sandbox Sandbox, f family.Family, rank func(ENI) int) (Address, error) {
	held, err := tx.AddressesOf(owner)
	if err != nil {
		return Address{}, err
	}
	beside := ""
	for _, a := range held {
		if family.Of(a.IP) == f {
			return tx.assign(a.IP, owner, sandbox)
		}
		beside = a.ENI
	}
	for {
		thawed, err := tx.thaw()
		if err != nil {
			return Address{}, err
		}
		ip, err := tx.oldestOfBest(f, beside, rank)
		if err != nil {
			return Address{}, err
		}
		if ip.IsValid() {
			return tx.assign(ip, owner, sandbox)
		}
		if thawed < thawBatch { // else those may have been of ENIs that it may have none of, and more may have rested
			return Address{}, fmt.Errorf("%s: %w", f, ErrExhausted)
		}
	}
}

// oldestOfBest returns the address that Take gives; the zero Addr where none is free.
func (tx *Tx) oldestOfBest(f family.Family, beside string, rank func(ENI) int) (netip.Addr, error) {
	enis, err := tx.ENIs()
	if err != nil {
		return netip.Addr{}, err
	}
	best, lowest, fullest := netip.Addr{}, 0, 0
	for _, e := range enis {
		r := rank(e)
		if r < 0 {
			continue
		}
		ip, err := tx.nextFree(e.ID, f)
		if err != nil {
			return netip.Addr{}, err
		}
		if !ip.IsValid() {
			continue
		}
		if e.ID == beside {
			return ip, nil
		}
		n, err := tx.Counts(e.ID, f)
		if err != nil {
			return netip.Addr{}, err
		}
		if !best.IsValid() || cmp.Or(cmp.Compare(r, lowest), cmp.Compare(fullest, n.Assigned)) < 0 {
			best, lowest, fullest = ip, r, n.Assigned
		}
	}
	return best, nil
}

// TakeThis gives the owner the address that it asks for, which must be free, or cooling and either rested or the same
// owner's before. It returns ErrUnknownAddress or ErrNotFree where it cannot, and no other address.
func (tx *Tx) TakeThis(ip netip.Addr, owner Owner, sandbox Sandbox) (Address, error) {
	held, err := tx.heldOf(owner, family.Of(ip))
	switch {
	case err != nil:
		return Address{}, err
	case held.IP == ip:
		return tx.assign(ip, owner, sandbox)
	case held.IP.IsValid():
		return Address{}, fmt.Errorf("%w: %s has %s already", ErrNotFree, owner, held.IP)
	}
	a, known, err := tx.Address(ip)
	switch {
	case err != nil:
		return Address{}, err
	case !known:
		return Address{}, ErrUnknownAddress
	}
	eni, _, err := tx.ENI(a.ENI)
	switch {
	case err != nil:
		return Address{}, err
	case eni.Draining:
		return Address{}, fmt.Errorf("%w: %s is being drained", ErrNotFree, a.ENI)
	}
	if r, ranged, err := tx.rangeWith(ip); err != nil || ranged && a.Ranged() && r.state() != Free {
		return Address{}, errors.Join(err, fmt.Errorf("%w: the cloud has %s no longer, or not for long", ErrNotFree, a.Prefix))
	}
	switch {
	case a.State == Free, a.State == Cooling && (a.Until <= tx.now || a.Owner != nil && *a.Owner == owner):
		return tx.assign(ip, owner, sandbox)
	case a.Owner != nil:
		return Address{}, fmt.Errorf("%w: %s, %s", ErrNotFree, a.State, *a.Owner)
	}
	return Address{}, fmt.Errorf("%w: %s", ErrNotFree, a.State)
}

// Release ends the owner's hold: its addresses cool down for the time given. It returns them; none is no error.
func (tx *Tx) Release(owner Owner, cooldown time.Duration) ([]Address, error) {
	held, err := tx.AddressesOf(owner)
	if err != nil {
		return nil, err
	}
	for _, a := range held {
		a.State, a.Since, a.Until, a.Sandbox = Cooling, tx.now, tx.now+cooldown, nil
		if err := tx.put(a); err != nil {
			return nil, fmt.Errorf("release %s: %w", a.IP, err)
		}
	}
	if err := tx.b.Bucket(bucketOwners).Delete(owner.key()); err != nil {
		return nil, err
	}
	return held, tx.b.Bucket(bucketWaiting).Delete(owner.key())
}

// assign makes the owner the address's only one, in its sandbox of now.
func (tx *Tx) assign(ip netip.Addr, owner Owner, sandbox Sandbox) (Address, error) {
	a := Address{IP: ip, State: Assigned, Owner: &owner, Sandbox: &sandbox, Since: tx.now}
	old, known, err := tx.Address(ip)
	if err != nil || !known {
		return Address{}, errors.Join(err, ErrUnknownAddress)
	}
	a.ENI, a.Prefix = old.ENI, old.Prefix
	if err := tx.put(a); err != nil {
		return Address{}, fmt.Errorf("assign %s: %w", ip, err)
	}
	if a.Ranged() {
		if err := tx.goOn(ip); err != nil {
			return Address{}, err
		}
	}
	if err := tx.own(owner, ip); err != nil {
		return Address{}, fmt.Errorf("record owner of %s: %w", ip, err)
	}
	return a, tx.b.Bucket(bucketWaiting).Delete(owner.key())
}

// own adds an address to those of its owner.
func (tx *Tx) own(owner Owner, ip netip.Addr) error {
	var ips []netip.Addr
	if _, err := tx.get(bucketOwners, owner.key(), &ips); err != nil || slices.Contains(ips, ip) {
		return err
	}
	return tx.set(bucketOwners, owner.key(), append(ips, ip))
}

// Thaw frees all addresses whose cool-down is over.
func (tx *Tx) Thaw() error {
	for {
		if n, err := tx.thaw(); err != nil || n < thawBatch {
			return err
		}
	}
}

// ThawSome frees some of the addresses whose cool-down is over, thawBatch at most.
func (tx *Tx) ThawSome() error {
	_, err := tx.thaw()
	return err
}

// thaw frees addresses whose cool-down is over, thawBatch at most, and says how many.
func (tx *Tx) thaw() (int, error) {
	var over []netip.Addr
	c := tx.b.Bucket(bucketCooling).Cursor()
	for k, _ := c.First(); k != nil && len(over) < thawBatch; k, _ = c.Next() {
		until, ip, err := splitCooling(k)
		if err != nil {
			return 0, err
		}
		if until > tx.now {
			break
		}
		over = append(over, ip)
	}
	for _, ip := range over {
		a, _, err := tx.Address(ip)
		if err != nil {
			return 0, err
		}
		a.State, a.Since, a.Until, a.Owner = Free, a.Until, 0, nil
		if err := tx.put(a); err != nil {
			return 0, fmt.Errorf("free %s after its cool-down: %w", ip, err)
		}
	}
	return len(over), nil
}

// nextFree returns the ENI's address of the family that Take gives; the zero Addr where none is free. A prefix that is in use
// gives first, and one that could go back as a whole gives last, after the addresses that are of none.
func (tx *Tx) nextFree(eni string, f family.Family) (netip.Addr, error) {
	fullest, whole, err := tx.fullestPrefix(eni, f)
	if err != nil {
		return netip.Addr{}, err
	}
	ip, ok := netip.Addr{}, false
	if !fullest.IsValid() || whole {
		ip, ok = tx.oldestFree(bucketFree, poolKey(eni, f))
	}
	switch {
	case ok || !fullest.IsValid():
	case !listable(fullest):
		return tx.nextIn(fullest)
	default:
		ip, _ = tx.oldestFree(bucketFreeOf, prefixKey(eni, fullest))
	}
	return ip, nil
}

// oldestFree returns the first address of an index whose keys begin so: the one that has been free for longest.
func (tx *Tx) oldestFree(bucket, begin []byte) (netip.Addr, bool) {
	k, _ := tx.b.Bucket(bucket).Cursor().Seek(begin)
	if !bytes.HasPrefix(k, begin) {
		return netip.Addr{}, false
	}
	return freeAddress(k, len(begin))
}

// freeAddress reads a key of the index of free addresses, in which the time stands behind the first bytes.
func freeAddress(key []byte, behind int) (netip.Addr, bool) {
	return netip.AddrFromSlice(key[min(len(key), behind+8):])
}

// index is the address's place in the index of its state; none where the state has no index.
func (a Address) index() (bucket, key []byte) {
	switch a.State {
	case Free:
		bucket, key = bucketFree, poolKey(a.ENI, family.Of(a.IP))
		if a.Prefix.IsValid() {
			bucket, key = bucketFreeOf, prefixKey(a.ENI, a.Prefix)
		}
		return bucket, append(binary.BigEndian.AppendUint64(key, uint64(a.Since)), a.IP.AsSlice()...)
	case Cooling:
		return bucketCooling, slices.Concat(binary.BigEndian.AppendUint64(nil, uint64(a.Until)), a.IP.AsSlice())
	}
	return nil, nil
}

// splitCooling reads a key of the index of cooling addresses.
func splitCooling(key []byte) (until time.Duration, ip netip.Addr, err error) {
	if len(key) > 8 {
		if ip, ok := netip.AddrFromSlice(key[8:]); ok {
			return time.Duration(binary.BigEndian.Uint64(key)), ip, nil
		}
	}
	return 0, netip.Addr{}, fmt.Errorf("%w: cooling address %x", ErrCorrupt, key)
}
