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

	"github.com/enichain/enichain/core/family"
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

// table is that of a family.
type table family.Family

func tableOf(ip netip.Addr) table { return table(family.Of(ip)) }

func tables() []table { return []table{table(family.IPv4), table(family.IPv6)} }

func (t table) ipv6() bool { return t == table(family.IPv6) }

func (t table) String() string {
	if t.ipv6() {
		return "table ip6 " + Table
	}
	return "table ip " + Table
}

// family is what the kernel calls it.
func (t table) family() uint8 { return family.Family(t).NFProto() }

// message is one about the table.
func (t table) message(kind uint16, flags uint16, put nfnetlink.Attributes) nfnetlink.Message {
	return nfnetlink.Message{Kind: kind, Flags: flags, Family: t.family(), Put: put}
}

// key returns what nft calls the type of the map's keys (TYPE_IPADDR and TYPE_IP6ADDR, include/datatype.h of nftables), their
// length in octets, and where it is in a packet's header.
func (t table) key() (datatype, length, offset uint32) {
	if t.ipv6() {
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

// whole makes the family's table as it is to be, and leaves the elements of its map.
func (t table) whole() []nfnetlink.Message {
	return []nfnetlink.Message{
		nfnetlink.Table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t.family(), Table),
		t.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, t.putMap),
		t.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, func(e *netlink.AttributeEncoder) {
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
		t.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, func(e *netlink.AttributeEncoder) {
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

// hasRule says whether the chain has the rule, and no other.
func (t table) hasRule(ctx context.Context) (bool, error) {
	rules, err := nfnetlink.Ask(ctx, t.message(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, inChain))
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
		_, err := nfnetlink.Ask(ctx, nfnetlink.Table(unix.NFT_MSG_GETTABLE, 0, t.family(), Table))
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

// RemoveTables removes the tables. It is for when no veth is in the group any more.
func RemoveTables(ctx context.Context) error {
	for _, t := range tables() {
		if err := nfnetlink.Commit(ctx, nfnetlink.Table(unix.NFT_MSG_DELTABLE, 0, t.family(), Table)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove %s: %w", t, err)
		}
	}
	return nil
}
