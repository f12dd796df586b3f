// Package nfnetlink exchanges messages with the kernel's nf_tables, one by one, where a whole library for them would make a plugin
// larger and its start longer than what it asks for is worth.
package nfnetlink

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// patience bounds one exchange with the kernel, which answers at once or, where a module is missing, not at all.
const patience = 10 * time.Second

// Attributes put a message's into an encoder, whose numbers are big-endian.
type Attributes func(*netlink.AttributeEncoder)

// Message is one of nf_tables (include/uapi/linux/netfilter/nf_tables.h).
type Message struct {
	Kind   uint16 // NFT_MSG_…
	Flags  netlink.HeaderFlags
	Family uint8      // NFPROTO_…, of the tables
	Put    Attributes // nil where there are none
}

func (m Message) encode() (netlink.Message, error) {
	data, err := Encode(m.Put)
	return packet(unix.NFNL_SUBSYS_NFTABLES<<8|m.Kind, m.Flags, m.Family, 0, data), err
}

// packet is a message of nfnetlink: struct nfgenmsg stands before its attributes.
func packet(kind uint16, flags netlink.HeaderFlags, family uint8, resource uint16, data []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, byte(resource >> 8), byte(resource)}, data...),
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

// Deadline is when an exchange that begins now has to be over.
func Deadline(ctx context.Context) time.Time {
	deadline := time.Now().Add(patience)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		return d
	}
	return deadline
}

// Dial returns a connection, in the network namespace of the calling thread, whose exchanges end with the context.
func Dial(ctx context.Context) (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(Deadline(ctx)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Commit has the kernel carry out all of the messages, or none. The error is the errno of the first that it refused
// (nfnetlink_rcv_batch, net/netfilter/nfnetlink.c).
func Commit(ctx context.Context, messages ...Message) error {
	conn, err := Dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	batch := []netlink.Message{packet(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)}
	for _, m := range messages {
		m.Flags |= netlink.Acknowledge
		encoded, err := m.encode()
		if err != nil {
			return err
		}
		batch = append(batch, encoded)
	}
	batch = append(batch, packet(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil))
	if _, err := conn.SendMessages(batch); err != nil {
		return err
	}
	for acknowledged := 0; acknowledged < len(messages); {
		answers, err := conn.Receive()
		if err != nil {
			return err
		}
		acknowledged += len(answers)
	}
	return nil
}

// Table is a message about a table: to make it, to remove it, or to ask for it.
func Table(kind uint16, flags netlink.HeaderFlags, family uint8, name string) Message {
	return Message{kind, flags, family, func(e *netlink.AttributeEncoder) { e.String(unix.NFTA_TABLE_NAME, name) }}
}

// Ask is AskBy with a connection of its own.
func Ask(ctx context.Context, m Message) ([]map[uint16][]byte, error) {
	conn, err := Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return AskBy(conn, m)
}

// AskBy returns the attributes of each of the kernel's answers.
func AskBy(conn *netlink.Conn, m Message) ([]map[uint16][]byte, error) {
	request, err := m.encode()
	if err != nil {
		return nil, err
	}
	answers, err := conn.Execute(request)
	if err != nil {
		return nil, err
	}
	var all []map[uint16][]byte
	for _, a := range answers {
		found, err := Decode(a.Data[min(len(a.Data), 4):])
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, nil
}
