// Package netstate brings the kernel to the state that package layout describes, compares the two, and takes it away
// again. It works on one network namespace by one rtnetlink socket, and sends what it can at once. Every dump goes through one
// function, which repeats an interrupted one and otherwise fails: half a list is no list.
package netstate

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/nlsock"
	"github.com/enichain/enichain/core/sandbox"
)

// Handle is one network namespace. It is for one goroutine.
type Handle struct {
	nl       *nlsock.Conn
	settings settings
}

// Here returns the handle of the calling thread's namespace.
func Here() (*Handle, error) {
	nl, err := nlsock.Dial(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return nil, err
	}
	return &Handle{nl: nl, settings: settings{}}, nil
}

// At returns the handle of another namespace. Only sysctls cannot be reached by it: /proc/sys/net follows the
// thread, which has to be there.
func At(ns *sandbox.Netns) (h *Handle, err error) {
	if e := ns.Do(func() error { h, err = Here(); return nil }); e != nil {
		return nil, e
	}
	return h, err
}

// Close releases the handle.
func (h *Handle) Close() {
	h.nl.Close()
	h.settings.close()
}

// list returns what a dump has.
func list[T any](h *Handle, what string, r nlsock.Request, decode func(body []byte) (T, bool, error)) ([]T, error) {
	all, err := nlsock.List(h.nl, r, decode)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	return all, nil
}

// change has the kernel carry out one request.
func (h *Handle) change(r nlsock.Request) error {
	_, err := h.nl.Do(r)
	return err
}

// gone says whether an error of a removal means that there was nothing to remove.
func gone(err error) bool {
	return isOneOf(err, unix.ENOENT, unix.ESRCH, unix.ENODEV, unix.EADDRNOTAVAIL)
}

func isOneOf(err error, errnos ...unix.Errno) bool {
	return slices.ContainsFunc(errnos, func(errno unix.Errno) bool { return errors.Is(err, errno) })
}

// afOf returns the kernel's number of a family.
func afOf(f family.Family) int {
	if f == family.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
