package supply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/family"
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

// shareOf is what of an ENI containers may have that get addresses of the families.
func shareOf(e cloud.ENI, families ...family.Family) share {
	var of share
	if slices.Contains(families, family.IPv4) {
		of.addresses = append(of.addresses, e.Addresses...)
	}
	if slices.Contains(families, family.IPv6) {
		of.addresses = append(of.addresses, e.IPv6...)
	}
	for _, p := range e.Prefixes {
		if slices.Contains(families, family.Of(p.Addr())) {
			of.prefixes = append(of.prefixes, p)
		}
	}
	return of
}

// add adds what a call gave the ENI.
func (s share) add(tx *store.Tx, eni string) error {
	return errors.Join(tx.AddAddresses(eni, s.addresses), tx.AddPrefixes(eni, s.prefixes))
}

// addSeen adds what a list says that the ENI has, which may be older than what the store knows.
func (s share) addSeen(tx *store.Tx, eni string, staleness time.Duration) error {
	return errors.Join(tx.AddSeen(eni, s.addresses, staleness), tx.AddSeenPrefixes(eni, s.prefixes, staleness))
}

// on is what of it the store has on the ENI: others may have moved the rest to another, where it is in use by now.
func (s share) on(tx *store.Tx, eni string) (share, error) {
	var here share
	for _, ip := range s.addresses {
		a, _, err := tx.Address(ip)
		if err != nil {
			return share{}, err
		}
		if a.ENI == eni {
			here.addresses = append(here.addresses, ip)
		}
	}
	for _, p := range s.prefixes {
		a, _, err := tx.Address(p.Addr())
		if err != nil {
			return share{}, err
		}
		if a.ENI == eni {
			here.prefixes = append(here.prefixes, p)
		}
	}
	return here, nil
}

// common is what is in both lists.
func common[T comparable](list, other []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !slices.Contains(other, v) })
}

// without is the list without what is in the other.
func without[T comparable](list, other []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return slices.Contains(other, v) })
}

// step is one of the arithmetic's, with the family that it is of.
type step struct {
	pool.Step
	family family.Family
}

// intended is the intent to add what a step says.
func intended(i store.Intent, st step) store.Intent {
	six := st.family == family.IPv6
	switch {
	case six && st.Prefixes:
		i.CountPrefixes6 = st.Count
	case six:
		i.Count6 = st.Count
	case st.Prefixes:
		i.CountPrefixes = st.Count
	default:
		i.Count = st.Count
	}
	return i
}

// ListOf lists what an intent is to give back.
func ListOf(i store.Intent) string { return share{i.Addresses, i.Prefixes}.String() }

// AmountOf says how much an intent is to add.
func AmountOf(i store.Intent) string {
	var amounts []string
	add := func(n int, of string) {
		if n > 0 {
			amounts = append(amounts, fmt.Sprintf("%d %s", n, of))
		}
	}
	add(i.Count, "addresses")
	add(i.CountPrefixes, "prefixes")
	add(i.Count6, "addresses of IPv6")
	add(i.CountPrefixes6, "prefixes of IPv6")
	return strings.Join(amounts, " and ")
}
