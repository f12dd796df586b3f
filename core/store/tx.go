package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
)

// Tx is a transaction. It is valid only until the function that it was given to returns.
type Tx struct {
	b   *bbolt.Tx
	now time.Duration
}

// The buckets. Records are JSON. free, freeOf and cooling are indexes of addresses, and packing is one of prefixes: they are
// kept by Tx.put, Tx.drop and what counts ranges. POOL is an ENI's addresses of a family: its ID, with /6 behind for IPv6.
var (
	bucketMeta      = []byte("meta")      // version, boot, node, failure
	bucketENIs      = []byte("enis")      // ENI ID -> ENI
	bucketAddresses = []byte("addresses") // IP -> Address
	bucketOwners    = []byte("owners")    // network 0 container 0 ifname -> []IP
	bucketFree      = []byte("free")      // POOL 0 since IP -> nothing; those of no prefix
	bucketCooling   = []byte("cooling")   // until IP -> nothing
	bucketCounts    = []byte("counts")    // POOL -> Counts
	bucketRests     = []byte("rests")     // what rests -> Rest
	bucketWaiting   = []byte("waiting")   // owner -> deadline, families
	bucketIntents   = []byte("intents")   // number -> Intent
	bucketGone      = []byte("gone")      // IP, or the first of a range, that was removed -> since when
	bucketPrefixes  = []byte("prefixes")  // POOL 0 prefix -> Counts
	bucketPacking   = []byte("packing")   // POOL 0 number of free addresses, prefix -> nothing; those that have any
	bucketFreeOf    = []byte("freeOf")    // POOL 0 prefix since IP -> nothing; those of prefixes that are listed
	bucketRanges    = []byte("ranges")    // first address -> Range

	keyVersion = []byte("version")
	keyBoot    = []byte("boot")
	keyNode    = []byte("node")
	keyFailure = []byte("failure")
)

func allBuckets() [][]byte {
	return [][]byte{
		bucketMeta, bucketENIs, bucketAddresses, bucketOwners, bucketFree, bucketCooling, bucketCounts, bucketWaiting,
		bucketIntents, bucketRests, bucketGone, bucketPrefixes, bucketPacking, bucketFreeOf, bucketRanges,
	}
}

// ofThisBoot says whether the store was written since the machine booted. A version of this boot that we do not know is
// an error; what an earlier boot left means nothing any more, whoever wrote it.
func (tx *Tx) ofThisBoot() (bool, error) {
	meta := tx.b.Bucket(bucketMeta)
	if meta == nil {
		return false, fmt.Errorf("%w: it has no header", ErrCorrupt)
	}
	version, err := strconv.Atoi(string(meta.Get(keyVersion)))
	if err != nil {
		return false, fmt.Errorf("%w: version: %w", ErrCorrupt, err)
	}
	now, err := BootID()
	boot := string(meta.Get(keyBoot))
	if err == nil && version > Version && (boot == now || boot == "") {
		err = fmt.Errorf("store has format %d, this enichain knows %d: %w", version, Version, ErrNewer)
	}
	return boot == now, err
}

// reset empties the store and stamps it with this boot.
func (tx *Tx) reset() error {
	for _, name := range allBuckets() {
		if tx.b.Bucket(name) != nil {
			if err := tx.b.DeleteBucket(name); err != nil {
				return err
			}
		}
		if _, err := tx.b.CreateBucket(name); err != nil {
			return err
		}
	}
	boot, err := BootID()
	if err != nil {
		return err
	}
	meta := tx.b.Bucket(bucketMeta)
	if err := meta.Put(keyVersion, strconv.AppendInt(nil, Version, 10)); err != nil {
		return err
	}
	return meta.Put(keyBoot, []byte(boot))
}

// upgrade makes a store of an older format one of this: what was added to the format since is empty in it, and ENIs get numbers.
func (tx *Tx) upgrade() error {
	meta, current := tx.b.Bucket(bucketMeta), strconv.AppendInt(nil, Version, 10)
	if bytes.Equal(meta.Get(keyVersion), current) {
		return nil
	}
	for _, name := range allBuckets() {
		if _, err := tx.b.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	enis, err := tx.ENIs()
	for _, e := range enis {
		err = errors.Join(err, tx.PutENI(e))
	}
	return errors.Join(err, meta.Put(keyVersion, current))
}

// get reads a record; false where there is none.
func (tx *Tx) get(bucket, key []byte, into any) (bool, error) {
	data := tx.b.Bucket(bucket).Get(key)
	if data == nil {
		return false, nil
	}
	return true, decode(fmt.Sprintf("%s %q", bucket, key), data, into)
}

// set writes a record.
func (tx *Tx) set(bucket, key []byte, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return tx.b.Bucket(bucket).Put(key, data)
}

// Node returns what is known of this machine; false where nothing is.
func (tx *Tx) Node() (Node, bool, error) {
	var n Node
	ok, err := tx.get(bucketMeta, keyNode, &n)
	return n, ok, err
}

// SetNode records what is known of this machine.
func (tx *Tx) SetNode(n Node) error { return tx.set(bucketMeta, keyNode, n) }

// ENIs returns all ENIs, by device index.
func (tx *Tx) ENIs() ([]ENI, error) {
	var enis []ENI
	err := tx.b.Bucket(bucketENIs).ForEach(func(k, v []byte) error {
		var e ENI
		enis = append(enis, e)
		return decode(fmt.Sprintf("ENI %q", k), v, &enis[len(enis)-1])
	})
	slices.SortFunc(enis, func(a, b ENI) int { return cmp.Compare(a.DeviceIndex, b.DeviceIndex) })
	return enis, err
}

// ENI returns one ENI; false where it is not known.
func (tx *Tx) ENI(id string) (ENI, bool, error) {
	var e ENI
	ok, err := tx.get(bucketENIs, []byte(id), &e)
	return e, ok, err
}

// PutENI adds an ENI or replaces what is known of it. A new one gets the table that it wishes, or the next that no other
// has: device indexes repeat, on types with several network cards and after a detach. Table and number are for life, a known
// interface index, program, limit or IPv6 stays where the new one is 0, and whether it drains is for Drain to say.
func (tx *Tx) PutENI(e ENI) error {
	old, known, err := tx.ENI(e.ID)
	if err != nil {
		return err
	}
	if known {
		e.Table, e.Number, e.Draining = old.Table, old.Number, old.Draining
		e.IfIndex, e.Program = cmp.Or(e.IfIndex, old.IfIndex), cmp.Or(e.Program, old.Program)
		e.Limit, e.Limit6 = cmp.Or(e.Limit, old.Limit), cmp.Or(e.Limit6, old.Limit6)
		e.Subnet6, e.Gateway6, e.PrimaryIP6 = cmp.Or(e.Subnet6, old.Subnet6), cmp.Or(e.Gateway6, old.Gateway6), cmp.Or(e.PrimaryIP6, old.PrimaryIP6)
	} else if e.Table, err = tx.freeTable(e); err != nil {
		return err
	}
	if e.Number == 0 && !e.Primary {
		if e.Number, err = tx.freeNumber(e); err != nil {
			return err
		}
	}
	return tx.set(bucketENIs, []byte(e.ID), e)
}

// freeTable returns the table that a new ENI gets. The kernel's own are never given: a default route in main would be
// the host's. The primary ENI has main itself.
func (tx *Tx) freeTable(e ENI) (int, error) {
	if e.Primary {
		return e.Table, nil
	}
	taken := map[int]bool{unix.RT_TABLE_DEFAULT: true, unix.RT_TABLE_MAIN: true, unix.RT_TABLE_LOCAL: true, ReservedTable: true}
	others, err := tx.ENIs()
	for _, other := range others {
		taken[other.Table] = true
	}
	table := e.Table
	for taken[table] {
		table++
	}
	return table, err
}

// freeNumber returns the number that an ENI gets: that of its table, or the next that no other has; 0 where all are taken.
// So stores whose tables begin apart number apart too.
func (tx *Tx) freeNumber(e ENI) (int, error) {
	taken := map[int]bool{0: true}
	others, err := tx.ENIs()
	for _, other := range others {
		taken[other.Number] = true
	}
	for i := range Numbers {
		if n := (e.Table + i) % Numbers; !taken[n] {
			return n, err
		}
	}
	return 0, err
}

// Address returns one address; false where the store does not have it. One of a range has no record while it is free.
func (tx *Tx) Address(ip netip.Addr) (Address, bool, error) {
	var a Address
	ip = ip.Unmap()
	if ok, err := tx.get(bucketAddresses, ip.AsSlice(), &a); ok || err != nil {
		return a, ok, err
	}
	r, ok, err := tx.rangeWith(ip)
	if !ok || err != nil {
		return Address{}, false, err
	}
	return r.unrecorded(ip), true, nil
}

// Addresses returns all addresses that have a record, in their order: those of ranges only while they are not free.
func (tx *Tx) Addresses() ([]Address, error) {
	var all []Address
	err := tx.b.Bucket(bucketAddresses).ForEach(func(k, v []byte) error {
		all = append(all, Address{})
		return decode(fmt.Sprintf("address %x", k), v, &all[len(all)-1])
	})
	return all, err
}

// AddressesOf returns the addresses that the owner holds, one of a family.
func (tx *Tx) AddressesOf(owner Owner) ([]Address, error) {
	var ips []netip.Addr
	if _, err := tx.get(bucketOwners, owner.key(), &ips); err != nil {
		return nil, err
	}
	return tx.addresses(ips)
}

// heldOf returns the owner's address of the family; the zero Address where it has none.
func (tx *Tx) heldOf(owner Owner, f family.Family) (Address, error) {
	held, err := tx.AddressesOf(owner)
	for _, a := range held {
		if family.Of(a.IP) == f {
			return a, err
		}
	}
	return Address{}, err
}

// OwnedIn returns the assigned addresses of a network.
func (tx *Tx) OwnedIn(network string) ([]Address, error) {
	var owned []Address
	prefix := Owner{Network: network}.key()
	prefix = prefix[:len(network)+1]
	c := tx.b.Bucket(bucketOwners).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		var ips []netip.Addr
		if err := decode(fmt.Sprintf("owner %q", k), v, &ips); err != nil {
			return nil, err
		}
		some, err := tx.addresses(ips)
		if err != nil {
			return nil, err
		}
		owned = append(owned, some...)
	}
	return owned, nil
}

// addresses returns the records of the addresses that an owner's record names.
func (tx *Tx) addresses(ips []netip.Addr) ([]Address, error) {
	var all []Address
	for _, ip := range ips {
		a, ok, err := tx.Address(ip)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%w: an owner holds %s, which is not in the store", ErrCorrupt, ip)
		}
		all = append(all, a)
	}
	return all, nil
}

// key is an owner's key in the store. CNI's names have no zero byte.
func (o Owner) key() []byte {
	return fmt.Appendf(nil, "%s\x00%s\x00%s", o.Network, o.ContainerID, o.IfName)
}

// String names the owner for people.
func (o Owner) String() string {
	return fmt.Sprintf("%s of %s in %s", o.IfName, o.ContainerID, o.Network)
}
