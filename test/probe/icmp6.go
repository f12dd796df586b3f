package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const protoICMP6 = 58

// Types of ICMPv6 messages (RFC 4443), where they differ from ICMP's.
const (
	echoRequest6  = 128
	echoReply6    = 129
	unreachable6  = 1
	timeExceeded6 = 3
)

// request6 is request for ICMPv6, whose checksum the kernel makes.
func (e echo) request6() []byte {
	b := e.request()
	b[0], b[2], b[3] = echoRequest6, 0, 0
	return b
}

// parseAnswer6 is parseAnswer for what comes out of a raw ICMPv6 socket, which leaves the IPv6 header off. The types of
// messages become ICMP's.
func parseAnswer6(message []byte, from netip.Addr, hops int) (answer, bool) {
	if len(message) < 8 {
		return answer{}, false
	}
	a := answer{from: from.WithZone(""), ttl: hops, code: message[1]}
	switch message[0] {
	case echoReply6:
		a.kind = EchoReply
	case timeExceeded6, unreachable6:
		a.kind = TimeExceeded
		if message[0] == unreachable6 {
			a.kind = Unreachable
		}
		const header = 40 // of the packet that it is about, which follows
		message = message[8:]
		if len(message) < header+8 || message[6] != protoICMP6 || message[header] != echoRequest6 {
			return answer{}, false
		}
		message = message[header:]
	default:
		return answer{}, false
	}
	a.id, a.seq = binary.BigEndian.Uint16(message[4:]), binary.BigEndian.Uint16(message[6:])
	return a, true
}

// hopLimit reads what was left of an IPv6 packet's hop limit.
func hopLimit(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}
