package marking

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/nfnetlink"
)

// tries bounds how often a change is tried that another process's change got in the way of.
const tries = 16

// element is one of a map.
type element struct {
	ip     netip.Addr
	number int
}

// setElements has the maps say the numbers of the attachment's addresses, and makes the tables where they are missing, or in
// any case. Who took a table away, as `nft flush ruleset` does, took the elements of all containers: those come back with it.
func setElements(ctx context.Context, c layout.Attachment, anew bool, all Numbered) error {
	for _, a := range c.Addresses {
		if err := setElement(ctx, a, anew, all); err != nil {
			return fmt.Errorf("put %s into %s: %w", a.IP, tableOf(a.IP), err)
		}
	}
	return nil
}

// Numbered returns the addresses of all containers that are known, with their ENIs' numbers.
type Numbered func() ([]layout.Address, error)

// setElement makes the address's element that of its number; 0 is none. Where it is so already, which it mostly is, for elements
// outlive containers, nothing is changed, and eni-snat sees that nothing was. To delete one waits for a grace period of RCU.
func setElement(ctx context.Context, a layout.Address, anew bool, all Numbered) error {
	t := tableOf(a.IP)
	has, err := t.number(ctx, a.IP)
	if err != nil || has == a.Number && !anew {
		return err
	}
	if a.Number == 0 {
		if err := t.remove(ctx, a.IP); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	}
	add := t.element(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, element{a.IP, a.Number})
	remove := t.element(unix.NFT_MSG_DELSETELEM, 0, element{ip: a.IP})
	messages := []nfnetlink.Message{add}
	if anew {
		messages = append(t.whole(), add)
	}
	for range tries {
		err = nfnetlink.Commit(ctx, messages...)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOENT): // no table yet, or no more
			others, err := t.others(a.IP, all)
			if err != nil {
				return err
			}
			messages = append(append(t.whole(), add), others...)
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST): // the address was another ENI's
			messages = []nfnetlink.Message{remove, add}
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return err
}

// atOnce bounds the elements in a message, whose list has at most 65,535 octets.
const atOnce = 256

// others are the messages that put all elements but one into a new table.
func (t table) others(than netip.Addr, all Numbered) ([]nfnetlink.Message, error) {
	if all == nil {
		return nil, nil
	}
	addresses, err := all()
	if err != nil {
		return nil, err
	}
	var elements []element
	for _, a := range addresses {
		if tableOf(a.IP) == t && a.IP != than && a.Number != 0 {
			elements = append(elements, element{a.IP, a.Number})
		}
	}
	var messages []nfnetlink.Message
	for some := range slices.Chunk(elements, atOnce) {
		messages = append(messages, t.element(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, some...))
	}
	return messages, nil
}

// remove takes elements out of the map, all or none; ENOENT says that one is not there.
func (t table) remove(ctx context.Context, ips ...netip.Addr) error {
	var messages []nfnetlink.Message
	for some := range slices.Chunk(ips, atOnce) {
		elements := make([]element, len(some))
		for i, ip := range some {
			elements[i].ip = ip
		}
		messages = append(messages, t.element(unix.NFT_MSG_DELSETELEM, 0, elements...))
	}
	return nfnetlink.Commit(ctx, messages...)
}

// element is a message about some; their numbers are needed only where they are made.
func (t table) element(kind uint16, flags uint16, elements ...element) nfnetlink.Message {
	return t.message(kind, flags, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_SET_ELEM_LIST_TABLE, Table)
		e.String(unix.NFTA_SET_ELEM_LIST_SET, mapName)
		nfnetlink.Nested(e, unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(e *netlink.AttributeEncoder) {
			for _, x := range elements {
				nfnetlink.Nested(e, unix.NFTA_LIST_ELEM, x.put)
			}
		})
	})
}

func (x element) put(e *netlink.AttributeEncoder) {
	nfnetlink.Nested(e, unix.NFTA_SET_ELEM_KEY, value(x.ip.AsSlice()))
	if x.number != 0 {
		nfnetlink.Nested(e, unix.NFTA_SET_ELEM_DATA, value(native(uint32(x.number))))
	}
}

// diffElements names the first difference between the tables and what the attachment needs.
func diffElements(ctx context.Context, c layout.Attachment) (string, error) {
	for _, a := range c.Addresses {
		if d, err := diffElement(ctx, a); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

func diffElement(ctx context.Context, a layout.Address) (string, error) {
	t := tableOf(a.IP)
	has, err := t.number(ctx, a.IP)
	if err != nil {
		return "", err
	}
	if has != a.Number {
		return fmt.Sprintf("%s gives %s the number %d, not %d", t, a.IP, has, a.Number), nil
	}
	if a.Number == 0 {
		return "", nil
	}
	for range 2 { // another process that writes the rule anew may be caught at it
		same, err := t.hasRule(ctx)
		if err != nil || same {
			return "", err
		}
	}
	return fmt.Sprintf("the rule of %s is not enichain's", t), nil
}

// number returns what the map has for an address; 0 is nothing.
func (t table) number(ctx context.Context, ip netip.Addr) (int, error) {
	answers, err := nfnetlink.Ask(ctx, t.element(unix.NFT_MSG_GETSETELEM, 0, element{ip: ip}))
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	var elements []element
	if err == nil {
		elements, err = elementsIn(answers)
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", t, err)
	}
	for _, e := range elements {
		if e.ip == ip {
			return e.number, nil
		}
	}
	return 0, nil
}

// elementsIn reads them from the kernel's answers.
func elementsIn(answers []map[uint16][]byte) ([]element, error) {
	var all []element
	for _, a := range answers {
		list, err := netlink.UnmarshalAttributes(a[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
		if err != nil {
			return nil, err
		}
		for _, item := range list {
			e, err := elementIn(item.Data)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
	}
	return all, nil
}

func elementIn(data []byte) (e element, err error) {
	parts, err := nfnetlink.Decode(data)
	if err != nil {
		return e, err
	}
	key, err := nfnetlink.Decode(parts[unix.NFTA_SET_ELEM_KEY])
	if err != nil {
		return e, err
	}
	number, err := nfnetlink.Decode(parts[unix.NFTA_SET_ELEM_DATA])
	if err != nil {
		return e, err
	}
	e.ip, _ = netip.AddrFromSlice(key[unix.NFTA_DATA_VALUE])
	if v := number[unix.NFTA_DATA_VALUE]; len(v) == 4 {
		e.number = int(binary.NativeEndian.Uint32(v))
	}
	return e, nil
}

// Unused returns the addresses whose elements serve nobody, as far as the function knows.
func Unused(ctx context.Context, serves func(netip.Addr) bool) ([]netip.Addr, error) {
	var unused []netip.Addr
	for _, t := range tables() {
		elements, err := t.elements(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if !serves(e.ip) {
				unused = append(unused, e.ip)
			}
		}
	}
	return unused, nil
}

// elements are all of the map.
func (t table) elements(ctx context.Context) ([]element, error) {
	answers, err := nfnetlink.Ask(ctx, t.message(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_SET_ELEM_LIST_TABLE, Table)
		e.String(unix.NFTA_SET_ELEM_LIST_SET, mapName)
	}))
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	var all []element
	if err == nil {
		all, err = elementsIn(answers)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	return all, nil
}

// RemoveElements removes the addresses' elements, those of a family in one transaction, which waits for one grace period of RCU.
func RemoveElements(ctx context.Context, ips []netip.Addr) error {
	for _, t := range tables() {
		own := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return tableOf(ip) != t })
		if len(own) == 0 {
			continue
		}
		if err := t.remove(ctx, own...); err != nil {
			return fmt.Errorf("take %d addresses out of %s: %w", len(own), t, err)
		}
	}
	return nil
}
