package supply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

// share is some of what an ENI has.
type share struct {
	addresses []netip.Addr
	prefixes  []netip.Prefix
}

// String lists it for people. It is of one kind.
func (s share) String() string {
	if len(s.prefixes) > 0 {
		return fmt.Sprint(s.prefixes)
	}
	return fmt.Sprint(s.addresses)
}

func (s share) empty() bool { return len(s.addresses)+len(s.prefixes) == 0 }

// add adds what a call gave the ENI.
func (s share) add(tx *store.Tx, eni string) error {
	return errors.Join(tx.AddAddresses(eni, s.addresses), tx.AddPrefixes(eni, s.prefixes))
}

// addSeen adds what a list says that the ENI has, which may be older than what the store knows.
func (s share) addSeen(tx *store.Tx, eni string, staleness time.Duration) error {
	return errors.Join(tx.AddSeen(eni, s.addresses, staleness), tx.AddSeenPrefixes(eni, s.prefixes, staleness))
}

// common is what is in both lists.
func common[T comparable](list, other []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !slices.Contains(other, v) })
}

// without is the list without what is in the other.
func without[T comparable](list, other []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return slices.Contains(other, v) })
}

// intended is the intent to add what a step says.
func intended(i store.Intent, step pool.Step) store.Intent {
	if step.Prefixes {
		i.CountPrefixes = step.Count
	} else {
		i.Count = step.Count
	}
	return i
}

// ListOf lists what an intent is to give back.
func ListOf(i store.Intent) string { return share{i.Addresses, i.Prefixes}.String() }

// AmountOf says how much an intent is to add.
func AmountOf(i store.Intent) string {
	if i.CountPrefixes > 0 {
		return fmt.Sprintf("%d prefixes", i.CountPrefixes)
	}
	return fmt.Sprintf("%d addresses", i.Count)
}
