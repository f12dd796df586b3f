package store

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// ErrNoStore says that the data directory holds no store: nothing was ever allocated on this node since it booted.
var ErrNoStore = errors.New("no store")

// ErrExhausted says that no address is free.
var ErrExhausted = errors.New("no free address")

// Store is a store's place. It holds nothing open between transactions and may be used by several goroutines.
type Store struct {
	dir string
}

// At returns the store in dir, which need not exist yet.
func At(dir string) *Store { return &Store{dir: dir} }

// View runs fn in a read-only transaction, under the shared lock. It returns ErrNoStore where there is no store.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error { panic("soon") }

// Update runs fn in a read-write transaction under the exclusive lock, and makes what it did durable; an error of fn
// undoes it. It creates the store where there is none.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error { panic("soon") }

// Tx is a transaction. It is valid only until the function that it was given to returns.
type Tx struct{}

// Node returns what is known of this machine; false where nothing is.
func (tx *Tx) Node() (Node, bool, error) { panic("soon") }

// ENIs returns all ENIs, by device index.
func (tx *Tx) ENIs() ([]ENI, error) { panic("soon") }

// ENI returns one ENI; false where it is not known.
func (tx *Tx) ENI(id string) (ENI, bool, error) { panic("soon") }

// PutENI adds an ENI or replaces what is known of it. A Table of 0 takes the old one.
func (tx *Tx) PutENI(ENI) error { panic("soon") }

// Address returns one address; false where the store does not have it.
func (tx *Tx) Address(ip netip.Addr) (Address, bool, error) { panic("soon") }

// AddressesOf returns the addresses that the owner holds.
func (tx *Tx) AddressesOf(Owner) ([]Address, error) { panic("soon") }

// OwnedIn returns the assigned addresses of a network.
func (tx *Tx) OwnedIn(network string) ([]Address, error) { panic("soon") }

// Take gives the owner a free address: of the fullest ENI, the one that has been free for longest. An owner that holds
// one already gets that again. It returns ErrExhausted where none is free.
func (tx *Tx) Take(Owner, Sandbox) (Address, error) { panic("soon") }

// Release ends the owner's hold: its addresses cool down for the time given. It returns them; none is no error.
func (tx *Tx) Release(owner Owner, cooldown time.Duration) ([]Address, error) { panic("soon") }
