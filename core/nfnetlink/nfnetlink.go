// Package nfnetlink exchanges messages with the kernel's nf_tables, where a whole library for them would make a plugin larger and
// its start longer than what it asks for is worth.
package nfnetlink

import (
	"context"
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/nlsock"
)

// Attributes put a message's into an encoder, whose numbers are big-endian.
type Attributes func(*netlink.AttributeEncoder)

// Message is one of nf_tables (include/uapi/linux/netfilter/nf_tables.h).
type Message struct {
	Kind   uint16     // NFT_MSG_…
	Flags  uint16     // NLM_F_…
	Family uint8      // NFPROTO_…, of the tables
	Put    Attributes // nil where there are none
}

func (m Message) encode() (nlsock.Request, error) {
	data, err := Encode(m.Put)
	return packet(unix.NFNL_SUBSYS_NFTABLES<<8|m.Kind, m.Flags, m.Family, 0, data), err
}

// HeaderSize is that of Header.
const HeaderSize = 4

// Header is struct nfgenmsg, which stands before the attributes (include/uapi/linux/netfilter/nfnetlink.h).
func Header(family uint8, resource uint16) nlsock.Body {
	return nlsock.Body{family, unix.NFNETLINK_V0, byte(resource >> 8), byte(resource)}
}

// packet is a message of nfnetlink.
func packet(kind, flags uint16, family uint8, resource uint16, data []byte) nlsock.Request {
	return nlsock.Request{
		Kind: kind, Flags: flags,
		Body: append(Header(family, resource), data...),
	}
}

// Encode returns attributes as they are sent.
func Encode(put Attributes) ([]byte, error) {
	if put == nil {
		return nil, nil
	}
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	put(e)
	return e.Encode()
}

// Nested puts attributes into one.
func Nested(e *netlink.AttributeEncoder, kind uint16, put Attributes) {
	e.Nested(kind, func(e *netlink.AttributeEncoder) error { put(e); return nil })
}

// Decode returns attributes by their kind. Of several of a kind, as those of a list are, it keeps the last.
func Decode(data []byte) (map[uint16][]byte, error) {
	all, err := netlink.UnmarshalAttributes(data)
	found := make(map[uint16][]byte, len(all))
	for _, a := range all {
		found[a.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = a.Data
	}
	return found, err
}

// Dial returns a connection in the network namespace of the calling thread.
func Dial() (*nlsock.Conn, error) { return nlsock.Dial(unix.NETLINK_NETFILTER, 0) }

// Commit has the kernel carry out all of the messages, or none. The error is the errno of the first that it refused
// (nfnetlink_rcv_batch, net/netfilter/nfnetlink.c).
func Commit(ctx context.Context, messages ...Message) error {
	requests := make([]nlsock.Request, len(messages))
	for i, m := range messages {
		var err error
		if requests[i], err = m.encode(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil || len(messages) == 0 {
		return err
	}
	conn, err := Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Transact(
		packet(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil), requests,
		packet(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil))
}

// Table is a message about a table: to make it, to remove it, or to ask for it.
func Table(kind, flags uint16, family uint8, name string) Message {
	return Message{kind, flags, family, func(e *netlink.AttributeEncoder) { e.String(unix.NFTA_TABLE_NAME, name) }}
}

// Ask returns the attributes of each of the kernel's answers: one, or of a dump (NLM_F_DUMP) as many as there are.
func Ask(ctx context.Context, m Message) ([]map[uint16][]byte, error) {
	request, err := m.encode()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if m.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		return nlsock.List(conn, request, func(body []byte) (map[uint16][]byte, bool, error) {
			found, err := decodeBody(body)
			return found, true, err
		})
	}
	answers, err := AskAll(conn, m)
	if err != nil {
		return nil, err
	}
	return []map[uint16][]byte{answers[0].Attributes}, answers[0].Err
}

// Answer is the kernel's to one of several messages: attributes, or an error.
type Answer struct {
	Attributes map[uint16][]byte
	Err        error
}

// AskAll asks several things at once, none of which is a list.
func AskAll(conn *nlsock.Conn, messages ...Message) ([]Answer, error) {
	requests := make([]nlsock.Request, len(messages))
	for i, m := range messages {
		var err error
		if requests[i], err = m.encode(); err != nil {
			return nil, err
		}
		requests[i].Replies = true
	}
	bodies, err := conn.Exchange(requests...)
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(bodies))
	for i, b := range bodies {
		answers[i].Err = b.Err
		if b.Err == nil {
			answers[i].Attributes, answers[i].Err = decodeBody(b.Body)
		}
	}
	return answers, nil
}

// decodeBody reads a message of the kernel's, Header and attributes.
func decodeBody(body []byte) (map[uint16][]byte, error) {
	return Decode(body[min(len(body), HeaderSize):])
}
