package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/enichain/enichain/core/family"
)

// The changes of the cloud that are journalled.
const (
	OpAssign    = "assign"     // Count addresses, or CountPrefixes prefixes, for ENI
	OpUnassign  = "unassign"   // Addresses or Prefixes, which are Releasing, from ENI
	OpCreateENI = "create-eni" // with Count addresses, or CountPrefixes prefixes, and those of IPv6, in Subnet, by Token
	OpDeleteENI = "delete-eni" // ENI, whose addresses are all Releasing
)

// Intent is a change of the cloud that was begun: it is written before the call and dropped when the outcome is in the
// store. One that is still there belongs to a process that died, or that had no answer.
type Intent struct {
	Number         uint64         `json:"number"`
	Op             string         `json:"op"`
	ENI            string         `json:"eni,omitempty"`
	Count          int            `json:"count,omitempty"`
	CountPrefixes  int            `json:"countPrefixes,omitempty"`
	Count6         int            `json:"count6,omitempty"` // Count and CountPrefixes of IPv6
	CountPrefixes6 int            `json:"countPrefixes6,omitempty"`
	Addresses      []netip.Addr   `json:"addresses,omitempty"`
	Prefixes       []netip.Prefix `json:"prefixes,omitempty"`
	Subnet         string         `json:"subnet,omitempty"`
	Token          string         `json:"token,omitempty"` // by which the cloud knows a repetition
	PID            int            `json:"pid"`
	Started        time.Time      `json:"started"`
}

// Failure is why the pool could not grow, for all of the network who waited for that attempt.
type Failure struct {
	At      time.Duration `json:"at"` // since boot
	Network string        `json:"network"`
	Class   string        `json:"class"`
	Message string        `json:"message"`
}

// Wait records that the owner waits for an address of each of the families until the time given (since boot).
func (tx *Tx) Wait(owner Owner, families []family.Family, until time.Duration) error {
	record := binary.BigEndian.AppendUint64(nil, uint64(until))
	for _, f := range families {
		record = append(record, f...)
		record = append(record, ' ')
	}
	return tx.b.Bucket(bucketWaiting).Put(owner.key(), record)
}

// EndWait drops the owner from those who wait.
func (tx *Tx) EndWait(owner Owner) error { return tx.b.Bucket(bucketWaiting).Delete(owner.key()) }

// Waiting counts the owners who wait for an address of each family, and forgets those whose time is over.
func (tx *Tx) Waiting() (map[family.Family]int, error) {
	n, over := map[family.Family]int{}, [][]byte{}
	waiting := tx.b.Bucket(bucketWaiting)
	err := waiting.ForEach(func(k, v []byte) error {
		if len(v) < 8 {
			return fmt.Errorf("%w: waiting owner %q", ErrCorrupt, k)
		}
		if time.Duration(binary.BigEndian.Uint64(v)) < tx.now {
			over = append(over, k)
			return nil
		}
		for _, f := range waitsFor(v[8:]) {
			n[f]++
		}
		return nil
	})
	for _, k := range over {
		if err := waiting.Delete(k); err != nil {
			return nil, err
		}
	}
	return n, err
}

// waitsFor reads the families of a waiting owner's record, which a store before format 3 did not have.
func waitsFor(record []byte) []family.Family {
	if len(record) == 0 {
		return []family.Family{family.IPv4}
	}
	var families []family.Family
	for _, f := range bytes.Fields(record) {
		families = append(families, family.Family(f))
	}
	return families
}

// Begin journals an intent and returns its number.
func (tx *Tx) Begin(i Intent) (uint64, error) {
	number, err := tx.b.Bucket(bucketIntents).NextSequence()
	if err != nil {
		return 0, err
	}
	i.Number = number
	return number, tx.set(bucketIntents, intentKey(number), i)
}

// Settle drops an intent whose outcome is in the store.
func (tx *Tx) Settle(number uint64) error {
	return tx.b.Bucket(bucketIntents).Delete(intentKey(number))
}

// Intents returns the open intents, oldest first.
func (tx *Tx) Intents() ([]Intent, error) {
	var open []Intent
	err := tx.b.Bucket(bucketIntents).ForEach(func(k, v []byte) error {
		open = append(open, Intent{})
		return decode(fmt.Sprintf("intent %x", k), v, &open[len(open)-1])
	})
	return open, err
}

// Fail records why the pool could not grow, as of now.
func (tx *Tx) Fail(f Failure) error {
	f.At = tx.now
	return tx.set(bucketMeta, keyFailure, f)
}

// LastFailure returns why the pool could last not grow; false where it never failed.
func (tx *Tx) LastFailure() (Failure, bool, error) {
	var f Failure
	ok, err := tx.get(bucketMeta, keyFailure, &f)
	return f, ok, err
}

func intentKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }
