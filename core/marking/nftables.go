package marking

import (
	"bytes"
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

// Table is the name of the tables, one of each family that has a container; eni-snat has others. The rule of each is
//
//	iifgroup 101 meta mark set ip saddr map @eni
//
// It sets all of the mark, which is 0: a packet loses its mark between namespaces (skb_scrub_packet, net/core/skbuff.c).
const Table = "enichain-eni"

const (
	mapName   = "eni"
	chainName = "pods" // "mark" is a word of nft's own
	// priority is before those who look at the mark, or set bits of their own: the first of the kernel's is at -300, raw.
	priority = -310
)

// tries bounds how often a change is tried that another process's change got in the way of.
const tries = 16

// table is that of a family.
type table struct{ ipv6 bool }

func tableOf(ip netip.Addr) table { return table{ip.Is6()} }

func tables() []table { return []table{{false}, {true}} }

func (t table) String() string {
	if t.ipv6 {
		return "table ip6 " + Table
	}
	return "table ip " + Table
}

// message is one about the table.
func (t table) message(kind uint16, flags netlink.HeaderFlags, put nfnetlink.Attributes) nfnetlink.Message {
	if t.ipv6 {
		return nfnetlink.Message{Kind: kind, Flags: flags, Family: unix.NFPROTO_IPV6, Put: put}
	}
	return nfnetlink.Message{Kind: kind, Flags: flags, Family: unix.NFPROTO_IPV4, Put: put}
}

// key returns what nft calls the type of the map's keys (TYPE_IPADDR and TYPE_IP6ADDR, include/datatype.h of nftables), their
// length in octets, and where it is in a packet's header.
func (t table) key() (datatype, length, offset uint32) {
	if t.ipv6 {
		return 8, 16, 8
	}
	return 7, 4, 12
}

// typeMark is what nft calls the type of the map's values (TYPE_MARK).
const typeMark = 19

// mapID names the map within a transaction.
const mapID = 1

// nft's own notes about a map, which it shows numbers by (include/udata.h of libnftnl): the byte order of its keys and values.
const (
	noteKeyOrder, noteValueOrder = 0, 1
	hostEndian, bigEndian        = 1, 2
)

func notes() []byte {
	note := func(kind byte, order uint32) []byte { return append([]byte{kind, 4}, native(order)...) }
	return slices.Concat(note(noteKeyOrder, bigEndian), note(noteValueOrder, hostEndian))
}

// expression is one of a rule.
type expression struct {
	name string
	put  nfnetlink.Attributes
}

// code is the rule, which asks for the group before all: packets of others pay for no more.
func (t table) code() []expression {
	const register = unix.NFT_REG_1
	_, length, offset := t.key()
	return []expression{
		{"meta", func(e *netlink.AttributeEncoder) {
			e.Uint32(unix.NFTA_META_DREG, register)
			e.Uint32(unix.NFTA_META_KEY, unix.NFT_META_IIFGROUP)
		}},
		{"cmp", func(e *netlink.AttributeEncoder) {
			e.Uint32(unix.NFTA_CMP_SREG, register)
			e.Uint32(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ)
			nfnetlink.Nested(e, unix.NFTA_CMP_DATA, value(native(layout.GroupMarked)))
		}},
		{"payload", func(e *netlink.AttributeEncoder) {
			e.Uint32(unix.NFTA_PAYLOAD_DREG, register)
			e.Uint32(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_NETWORK_HEADER)
			e.Uint32(unix.NFTA_PAYLOAD_OFFSET, offset)
			e.Uint32(unix.NFTA_PAYLOAD_LEN, length)
		}},
		{"lookup", func(e *netlink.AttributeEncoder) {
			e.String(unix.NFTA_LOOKUP_SET, mapName)
			e.Uint32(unix.NFTA_LOOKUP_SREG, register)
			e.Uint32(unix.NFTA_LOOKUP_DREG, register)
		}},
		{"meta", func(e *netlink.AttributeEncoder) {
			e.Uint32(unix.NFTA_META_KEY, unix.NFT_META_MARK)
			e.Uint32(unix.NFTA_META_SREG, register)
		}},
	}
}

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func value(v []byte) nfnetlink.Attributes {
	return func(e *netlink.AttributeEncoder) { e.Bytes(unix.NFTA_DATA_VALUE, v) }
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
	add := t.element(unix.NFT_MSG_NEWSETELEM, netlink.Create, element{a.IP, a.Number})
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
		messages = append(messages, t.element(unix.NFT_MSG_NEWSETELEM, netlink.Create, some...))
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
func (t table) element(kind uint16, flags netlink.HeaderFlags, elements ...element) nfnetlink.Message {
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

// whole makes the family's table as it is to be, and leaves the elements of its map.
func (t table) whole() []nfnetlink.Message {
	return []nfnetlink.Message{
		t.message(unix.NFT_MSG_NEWTABLE, netlink.Create, func(e *netlink.AttributeEncoder) { e.String(unix.NFTA_TABLE_NAME, Table) }),
		t.message(unix.NFT_MSG_NEWSET, netlink.Create, t.putMap),
		t.message(unix.NFT_MSG_NEWCHAIN, netlink.Create, func(e *netlink.AttributeEncoder) {
			e.String(unix.NFTA_CHAIN_TABLE, Table)
			e.String(unix.NFTA_CHAIN_NAME, chainName)
			nfnetlink.Nested(e, unix.NFTA_CHAIN_HOOK, func(e *netlink.AttributeEncoder) {
				e.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_PRE_ROUTING)
				e.Int32(unix.NFTA_HOOK_PRIORITY, priority)
			})
			e.Uint32(unix.NFTA_CHAIN_POLICY, 1) // NF_ACCEPT
			e.String(unix.NFTA_CHAIN_TYPE, "filter")
		}),
		t.message(unix.NFT_MSG_DELRULE, 0, inChain),
		t.message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, func(e *netlink.AttributeEncoder) {
			inChain(e)
			nfnetlink.Nested(e, unix.NFTA_RULE_EXPRESSIONS, t.putCode)
		}),
	}
}

// inChain names the chain of rules.
func inChain(e *netlink.AttributeEncoder) {
	e.String(unix.NFTA_RULE_TABLE, Table)
	e.String(unix.NFTA_RULE_CHAIN, chainName)
}

func (t table) putMap(e *netlink.AttributeEncoder) {
	datatype, length, _ := t.key()
	e.String(unix.NFTA_SET_TABLE, Table)
	e.String(unix.NFTA_SET_NAME, mapName)
	e.Uint32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP)
	e.Uint32(unix.NFTA_SET_KEY_TYPE, datatype)
	e.Uint32(unix.NFTA_SET_KEY_LEN, length)
	e.Uint32(unix.NFTA_SET_DATA_TYPE, typeMark)
	e.Uint32(unix.NFTA_SET_DATA_LEN, 4)
	e.Uint32(unix.NFTA_SET_ID, mapID)
	e.Bytes(unix.NFTA_SET_USERDATA, notes())
}

func (t table) putCode(e *netlink.AttributeEncoder) {
	for _, x := range t.code() {
		nfnetlink.Nested(e, unix.NFTA_LIST_ELEM, func(e *netlink.AttributeEncoder) {
			e.String(unix.NFTA_EXPR_NAME, x.name)
			nfnetlink.Nested(e, unix.NFTA_EXPR_DATA, x.put)
		})
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

// element is one of a map.
type element struct {
	ip     netip.Addr
	number int
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

// hasRule says whether the chain has the rule, and no other.
func (t table) hasRule(ctx context.Context) (bool, error) {
	rules, err := nfnetlink.Ask(ctx, t.message(unix.NFT_MSG_GETRULE, netlink.Dump, inChain))
	if err != nil {
		return false, fmt.Errorf("read the rule of %s: %w", t, err)
	}
	if len(rules) != 1 {
		return false, nil
	}
	got, err := netlink.UnmarshalAttributes(rules[0][unix.NFTA_RULE_EXPRESSIONS])
	want := t.code()
	if err != nil || len(got) != len(want) {
		return false, err
	}
	for i, x := range want {
		if is, err := x.is(got[i].Data); err != nil || !is {
			return false, err
		}
	}
	return true, nil
}

// is says whether the kernel's expression is this one: it has each of its attributes, beside others that the kernel fills in.
func (x expression) is(data []byte) (bool, error) {
	got, err := nfnetlink.Decode(data)
	if err != nil {
		return false, err
	}
	has, err := nfnetlink.Decode(got[unix.NFTA_EXPR_DATA])
	if err != nil {
		return false, err
	}
	sent, err := nfnetlink.Encode(x.put)
	if err != nil {
		return false, err
	}
	wanted, err := nfnetlink.Decode(sent)
	for kind, v := range wanted {
		if !bytes.Equal(has[kind], v) {
			return false, err
		}
	}
	return string(bytes.TrimRight(got[unix.NFTA_EXPR_NAME], "\x00")) == x.name, err
}

// HasTables says whether there is one of the tables. A kernel without nftables has none.
func HasTables(ctx context.Context) (bool, error) {
	for _, t := range tables() {
		_, err := nfnetlink.Ask(ctx, t.message(unix.NFT_MSG_GETTABLE, 0, func(e *netlink.AttributeEncoder) { e.String(unix.NFTA_TABLE_NAME, Table) }))
		switch {
		case err == nil:
			return true, nil
		case !without(err):
			return false, fmt.Errorf("look for %s: %w", t, err)
		}
	}
	return false, nil
}

// without says whether an error means that there is no table, or no nf_tables.
func without(err error) bool {
	for _, errno := range []error{unix.ENOENT, unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// Unused returns the addresses whose elements serve nobody, as far as the function knows.
func Unused(ctx context.Context, serves func(netip.Addr) (bool, error)) ([]netip.Addr, error) {
	var unused []netip.Addr
	for _, t := range tables() {
		elements, err := t.elements(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			has, err := serves(e.ip)
			if err != nil {
				return nil, err
			}
			if !has {
				unused = append(unused, e.ip)
			}
		}
	}
	return unused, nil
}

// elements are all of the map.
func (t table) elements(ctx context.Context) ([]element, error) {
	answers, err := nfnetlink.Ask(ctx, t.message(unix.NFT_MSG_GETSETELEM, netlink.Dump, func(e *netlink.AttributeEncoder) {
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

// RemoveTables removes the tables. It is for when no veth is in the group any more.
func RemoveTables(ctx context.Context) error {
	for _, t := range tables() {
		remove := t.message(unix.NFT_MSG_DELTABLE, 0, func(e *netlink.AttributeEncoder) { e.String(unix.NFTA_TABLE_NAME, Table) })
		if err := nfnetlink.Commit(ctx, remove); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove %s: %w", t, err)
		}
	}
	return nil
}
