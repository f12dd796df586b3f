package nlsock

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Request is a message to the kernel.
type Request struct {
	Kind    uint16 // RTM_… and the like
	Flags   uint16 // NLM_F_…, beyond NLM_F_REQUEST
	Replies bool   // the answer is a message, and not a mere word on how it went
	Body    Body
}

// Body is a message behind its header: what is fixed for its kind (struct ifinfomsg, rtmsg, …), and attributes.
type Body []byte

// Bytes appends an attribute.
func (b Body) Bytes(kind uint16, value []byte) Body {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, aligned(len(value))-len(value))...)
}

// Uint32 appends a number.
func (b Body) Uint32(kind uint16, value uint32) Body {
	return b.Bytes(kind, binary.NativeEndian.AppendUint32(nil, value))
}

// Text appends a name, and the NUL at its end.
func (b Body) Text(kind uint16, value string) Body { return b.Bytes(kind, append([]byte(value), 0)) }

// aligned rounds up to where the next attribute, or message, begins (NLMSG_ALIGN, RTA_ALIGN).
func aligned(n int) int { return (n + 3) &^ 3 }

// appendTo appends the request as it is sent.
func (r Request) appendTo(buf []byte, flags uint16, seq uint32) []byte {
	length := unix.SizeofNlMsghdr + len(r.Body)
	buf = binary.NativeEndian.AppendUint32(buf, uint32(length))
	buf = binary.NativeEndian.AppendUint16(buf, r.Kind)
	buf = binary.NativeEndian.AppendUint16(buf, unix.NLM_F_REQUEST|r.Flags|flags)
	buf = binary.NativeEndian.AppendUint32(buf, seq)
	buf = binary.NativeEndian.AppendUint32(buf, 0) // the kernel knows who sends
	buf = append(buf, r.Body...)
	return append(buf, make([]byte, aligned(length)-length)...)
}

// message is one of the kernel's.
type message struct {
	kind  uint16
	flags uint16
	seq   uint32
	body  []byte // of the buffer that it was read into
}

// split takes a buffer of messages apart.
func split(buf []byte) ([]message, error) {
	var all []message
	for len(buf) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(buf))
		if length < unix.SizeofNlMsghdr || length > len(buf) {
			return nil, fmt.Errorf("a message of %d octets in %d: %w", length, len(buf), unix.EBADMSG)
		}
		all = append(all, message{
			kind:  binary.NativeEndian.Uint16(buf[4:]),
			flags: binary.NativeEndian.Uint16(buf[6:]),
			seq:   binary.NativeEndian.Uint32(buf[8:]),
			body:  buf[unix.SizeofNlMsghdr:length],
		})
		buf = buf[min(aligned(length), len(buf)):]
	}
	return all, nil
}

// Error is the kernel's refusal of a request.
type Error struct {
	Errno unix.Errno
	Words string // what the kernel says besides (NLMSGERR_ATTR_MSG), in its own words; mostly nothing
}

func (e *Error) Error() string {
	if e.Words == "" {
		return e.Errno.Error()
	}
	return fmt.Sprintf("%v (%s)", e.Errno, e.Words)
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Attributes calls take for each attribute behind a message's fixed part, of which the body has to have all.
func Attributes(body []byte, fixed int, take func(*netlink.AttributeDecoder)) error {
	if len(body) < fixed {
		return fmt.Errorf("%d octets where %d stand at least: %w", len(body), fixed, unix.EBADMSG)
	}
	attributes, err := netlink.NewAttributeDecoder(body[fixed:])
	if err != nil {
		return err
	}
	for attributes.Next() {
		take(attributes)
	}
	return attributes.Err()
}

// verdict reads the body of NLMSG_ERROR and NLMSG_DONE: a negative errno, or 0, and of an error the header of the request and
// attributes (struct nlmsgerr, include/uapi/linux/netlink.h).
func (m message) verdict() error {
	if len(m.body) < 4 {
		return unix.EBADMSG
	}
	code := int32(binary.NativeEndian.Uint32(m.body))
	if code == 0 {
		return nil
	}
	refusal := &Error{Errno: unix.Errno(-code)}
	rest := m.body[4:]
	if m.kind == unix.NLMSG_ERROR {
		if len(rest) < unix.SizeofNlMsghdr {
			return refusal
		}
		skip := uint32(unix.SizeofNlMsghdr)
		if m.flags&unix.NLM_F_CAPPED == 0 {
			skip = binary.NativeEndian.Uint32(rest)
		}
		rest = rest[min(aligned(int(min(skip, uint32(len(rest))))), len(rest)):]
	}
	if m.flags&unix.NLM_F_ACK_TLVS == 0 {
		return refusal
	}
	if attributes, err := netlink.NewAttributeDecoder(rest); err == nil {
		for attributes.Next() {
			if attributes.Type() == unix.NLMSGERR_ATTR_MSG {
				refusal.Words = attributes.String()
			}
		}
	}
	return refusal
}
