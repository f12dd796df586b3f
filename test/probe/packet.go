package probe

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// IP protocol numbers.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// Packet is a frame that a capture saw. The fields behind Frame are zero where the frame does not carry them.
type Packet struct {
	Time      time.Time
	Interface string
	Outgoing  bool   // sent by the interface, rather than received
	Length    int    // of the whole frame, also where Frame is cut
	Frame     []byte // with its Ethernet header

	Protocol string         // "icmp", "icmp6", "tcp", "udp" or "arp"; else the number, as in "ip 89" and "ether 0x88cc"
	Src, Dst netip.AddrPort // the port is 0 but for TCP and UDP; of ARP, the sender's and the target's address
	TTL      int

	ICMPType, ICMPCode uint8
	ID, Seq            uint16 // of an ICMP echo
	Flags              string // of TCP, as tcpdump writes them: "S", "S.", "P."
}

// Decode reads an Ethernet frame. What it does not know it leaves zero.
func Decode(frame []byte) Packet {
	p := Packet{Length: len(frame), Frame: frame}
	if len(frame) < 14 {
		return p
	}
	switch kind := binary.BigEndian.Uint16(frame[12:]); kind {
	case 0x0800:
		p.decodeIPv4(frame[14:])
	case 0x86dd:
		p.decodeIPv6(frame[14:])
	case 0x0806:
		p.decodeARP(frame[14:])
	default:
		p.Protocol = fmt.Sprintf("ether %#04x", kind)
	}
	return p
}

// String describes the packet in one line, much as tcpdump does.
func (p Packet) String() string {
	direction := "in "
	if p.Outgoing {
		direction = "out"
	}
	return strings.TrimSpace(fmt.Sprintf("%-15s %s %s", p.Interface, direction, p.Summary()))
}

// Summary is String without the interface.
func (p Packet) Summary() string {
	from, to := p.Src.Addr(), p.Dst.Addr()
	switch p.Protocol {
	case "tcp":
		return fmt.Sprintf("%s > %s tcp [%s] ttl %d length %d", p.Src, p.Dst, p.Flags, p.TTL, p.Length)
	case "udp":
		return fmt.Sprintf("%s > %s udp ttl %d length %d", p.Src, p.Dst, p.TTL, p.Length)
	case "icmp":
		return fmt.Sprintf("%s > %s icmp %s ttl %d", from, to, p.icmp(), p.TTL)
	case "icmp6":
		return fmt.Sprintf("%s > %s icmp6 %s ttl %d", from, to, p.icmp6(), p.TTL)
	case "arp":
		return "arp " + p.arp()
	}
	if from.IsValid() {
		return fmt.Sprintf("%s > %s %s ttl %d length %d", from, to, p.Protocol, p.TTL, p.Length)
	}
	return fmt.Sprintf("%s length %d", p.Protocol, p.Length)
}

func (p Packet) icmp() string {
	switch p.ICMPType {
	case EchoRequest:
		return "echo request" + p.echoed()
	case EchoReply:
		return "echo reply" + p.echoed()
	case TimeExceeded:
		return "time exceeded"
	case Unreachable:
		return fmt.Sprintf("unreachable code %d", p.ICMPCode)
	}
	return p.icmpOther()
}

func (p Packet) echoed() string { return fmt.Sprintf(" id %d seq %d", p.ID, p.Seq) }

func (p Packet) icmpOther() string { return fmt.Sprintf("type %d code %d", p.ICMPType, p.ICMPCode) }

func (p Packet) arp() string {
	const request = 1
	if len(p.Frame) >= 42 && binary.BigEndian.Uint16(p.Frame[20:]) == request {
		return fmt.Sprintf("who-has %s tell %s", p.Dst.Addr(), p.Src.Addr())
	}
	if len(p.Frame) < 42 {
		return "cut"
	}
	return fmt.Sprintf("%s is-at %s", p.Src.Addr(), net.HardwareAddr(p.Frame[22:28]))
}

func (p *Packet) decodeARP(b []byte) {
	p.Protocol = "arp"
	if len(b) < 28 { // RFC 826, for IPv4 over Ethernet
		return
	}
	p.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[14:18])), 0)
	p.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[24:28])), 0)
}

func (p *Packet) decodeIPv4(b []byte) {
	ip, ok := parseIPv4(b)
	if !ok {
		p.Protocol = "ip cut"
		return
	}
	p.TTL = int(ip.ttl)
	p.decodePayload(ip, protoICMP)
}

// decodePayload reads what an IP packet carries, where icmp is the number of its family's ICMP.
func (p *Packet) decodePayload(ip ipv4, icmp uint8) {
	var src, dst uint16
	switch {
	case ip.proto == icmp && len(ip.payload) >= 8:
		p.Protocol = "icmp"
		p.ICMPType, p.ICMPCode = ip.payload[0], ip.payload[1]
		p.ID, p.Seq = binary.BigEndian.Uint16(ip.payload[4:]), binary.BigEndian.Uint16(ip.payload[6:])
	case ip.proto == protoTCP && len(ip.payload) >= 14:
		p.Protocol = "tcp"
		p.Flags = tcpFlags(ip.payload[13])
		src, dst = ports(ip.payload)
	case ip.proto == protoUDP && len(ip.payload) >= 8:
		p.Protocol = "udp"
		src, dst = ports(ip.payload)
	default:
		p.Protocol = fmt.Sprintf("ip %d", ip.proto)
	}
	p.Src, p.Dst = netip.AddrPortFrom(ip.src, src), netip.AddrPortFrom(ip.dst, dst)
}

// tcpFlags writes the flags in tcpdump's order and letters.
func tcpFlags(bits byte) string {
	var s strings.Builder
	for _, f := range []struct {
		bit  byte
		name string
	}{{0x02, "S"}, {0x01, "F"}, {0x04, "R"}, {0x08, "P"}, {0x10, "."}} {
		if bits&f.bit != 0 {
			s.WriteString(f.name)
		}
	}
	return s.String()
}

// ipv4 is an IPv4 packet's header, as far as probes need it, and what follows it.
type ipv4 struct {
	src, dst   netip.Addr
	ttl, proto uint8
	payload    []byte
}

// parseIPv4 reads a packet; one that is cut behind its header is good, and a fragment but the first has no payload.
func parseIPv4(b []byte) (ipv4, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return ipv4{}, false
	}
	header := int(b[0]&0x0f) * 4
	if header < 20 || len(b) < header {
		return ipv4{}, false
	}
	p := ipv4{
		src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])), ttl: b[8], proto: b[9],
	}
	if offset := binary.BigEndian.Uint16(b[6:]) & 0x1fff; offset == 0 {
		p.payload = b[header:]
	}
	return p, true
}
