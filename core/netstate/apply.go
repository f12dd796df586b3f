package netstate

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/nlsock"
)

// Apply brings the kernel to the state, in the state's order. It may be repeated, and run by several processes at once.
// Routes replace those of the same destination and table; rules are added to those that are there (see RemoveRules and
// RemoveStaleRules). Sysctls are written only where they differ, by a thread that is in the namespace. Where it fails, some
// of what comes later in the state may be there already: it is sent at once.
func (h *Handle) Apply(s layout.State) error {
	for _, v := range s.Sysctls {
		if err := h.setSysctl(v); err != nil {
			return fmt.Errorf("set sysctl %s: %w", v, err)
		}
	}
	var b batch
	each(&b, "set link", s.Links, raiseLink)
	each(&b, "add address", s.Addrs, addAddr, unix.EEXIST)
	if err := h.soleAddrs(&b, s.Addrs); err != nil {
		return err
	}
	each(&b, "set neighbour", s.Neighs, replaceNeigh)
	each(&b, "add route", s.Routes, replaceRoute)
	if len(s.Absent) > 0 {
		if err := h.send(&b); err != nil {
			return err
		}
	}
	for _, v := range s.Absent {
		if err := h.removeRoute(v); err != nil {
			return fmt.Errorf("remove route %s: %w", v, err)
		}
	}
	// One that differs in its protocol alone is as good as ours, and the kernel does not take a second.
	each(&b, "add rule", s.Rules, addRule, unix.EEXIST)
	return h.send(&b)
}

// batch is changes that are to be sent at once.
type batch struct {
	requests []nlsock.Request
	errors   []func(error) error // what is made of a refusal; nil where it is none after all
}

// each adds a change for each of the values. A refusal that is one of fine is none.
func each[T fmt.Stringer](b *batch, what string, values []T, change func(T) nlsock.Request, fine ...unix.Errno) {
	for _, v := range values {
		b.requests = append(b.requests, change(v))
		b.errors = append(b.errors, func(err error) error {
			if isOneOf(err, fine...) {
				return nil
			}
			return fmt.Errorf("%s %s: %w", what, v, err)
		})
	}
}

// send has the kernel carry out what is in the batch, and empties it. The error is that of the first change that failed.
func (h *Handle) send(b *batch) error {
	answers, err := h.nl.Exchange(b.requests...)
	if err != nil {
		return err
	}
	for i, a := range answers {
		if a.Err == nil {
			continue
		}
		if err := b.errors[i](a.Err); err != nil {
			return err
		}
	}
	*b = batch{}
	return nil
}

func addAddr(a layout.Addr) nlsock.Request {
	return changeAddr(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, address{Prefix: a.Prefix, index: a.Dev.Index, peer: a.Prefix.Addr()})
}

// soleAddrs takes other addresses away where one may be the only one, once that is there.
func (h *Handle) soleAddrs(b *batch, addrs []layout.Addr) error {
	for _, a := range addrs {
		if !a.Sole {
			continue
		}
		if err := h.send(b); err != nil {
			return err
		}
		foreign, err := h.foreignAddrs(a)
		if err != nil {
			return err
		}
		for _, f := range foreign {
			// A secondary address may go with its primary (promote_secondaries=0).
			if err := h.change(changeAddr(unix.RTM_DELADDR, 0, f)); err != nil && !gone(err) {
				return fmt.Errorf("add address %s: remove %s: %w", a, f.Prefix, err)
			}
		}
	}
	return nil
}

// foreignAddrs returns the device's other addresses of the same family; of IPv6, link-local ones are the kernel's own.
func (h *Handle) foreignAddrs(a layout.Addr) ([]address, error) {
	all, err := h.addrs(a.Dev.Index, afOf(family.Of(a.Prefix.Addr())))
	if err != nil {
		return nil, err
	}
	var foreign []address
	for _, got := range all {
		if got.Prefix != a.Prefix && (got.Addr().Is4() || !got.Addr().IsLinkLocalUnicast()) {
			foreign = append(foreign, got)
		}
	}
	return foreign, nil
}

// addrs returns a device's addresses of a family, or those of all devices and of all families; 0 is all.
func (h *Handle) addrs(index, af int) ([]address, error) {
	all, err := list(h, "addresses", addrsOf(af, index), func(body []byte) (address, bool, error) {
		a, err := decodeAddr(body)
		if err != nil {
			return a, false, err
		}
		wanted := (af == unix.AF_UNSPEC || int(body[0]) == af) && (index == 0 || a.index == index)
		return a, wanted && a.IsValid(), nil
	})
	if errors.Is(err, unix.ENODEV) { // which has no address
		return nil, nil
	}
	return all, err
}

// EnsureRule adds one rule, unless it is there.
func (h *Handle) EnsureRule(r layout.Rule) error {
	return h.Apply(layout.State{Rules: []layout.Rule{r}})
}
