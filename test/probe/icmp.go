package probe

import (
	"encoding/binary"
	"net/netip"
)

// Types of ICMP messages (RFC 792).
const (
	EchoReply    = 0
	Unreachable  = 3
	EchoRequest  = 8
	TimeExceeded = 11
)

// echo is an ICMP echo request or reply.
type echo struct {
	id, seq uint16
	payload []byte
}

// request returns the message as it goes into a raw ICMP socket.
func (e echo) request() []byte {
	b := append(make([]byte, 8), e.payload...)
	b[0] = EchoRequest
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.seq)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// answer is what came back for an echo request: the reply itself or an ICMP error about it.
type answer struct {
	from       netip.Addr
	ttl        int
	kind, code uint8
	id, seq    uint16 // of the request
}

// parseAnswer reads an IPv4 packet as it comes out of a raw ICMP socket; false where it is no answer to an echo request.
func parseAnswer(packet []byte) (answer, bool) {
	p, ok := parseIPv4(packet)
	if !ok || p.proto != protoICMP || len(p.payload) < 8 {
		return answer{}, false
	}
	a := answer{from: p.src, ttl: int(p.ttl), kind: p.payload[0], code: p.payload[1]}
	message := p.payload
	switch a.kind {
	case EchoReply:
	case TimeExceeded, Unreachable: // the packet that it is about follows (RFC 792)
		about, ok := parseIPv4(p.payload[8:])
		if !ok || about.proto != protoICMP || len(about.payload) < 8 || about.payload[0] != EchoRequest {
			return answer{}, false
		}
		message = about.payload
	default:
		return answer{}, false
	}
	a.id, a.seq = binary.BigEndian.Uint16(message[4:]), binary.BigEndian.Uint16(message[6:])
	return a, true
}
