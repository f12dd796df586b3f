package probe

import (
	"encoding/binary"
	"net/netip"
)

// decodeIPv6 reads a packet without extension headers; its ICMP types stay ICMPv6's, and its protocol is "icmp6".
func (p *Packet) decodeIPv6(b []byte) {
	const header = 40
	if len(b) < header || b[0]>>4 != 6 {
		p.Protocol = "ip6 cut"
		return
	}
	p.TTL = int(b[7])
	src, dst := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	p.decodePayload(ipv4{src: src, dst: dst, ttl: b[7], proto: b[6], payload: b[header:]}, protoICMP6)
	if p.Protocol == "icmp" {
		p.Protocol = "icmp6"
	}
}

// icmp6 says of an ICMPv6 message what it is.
func (p Packet) icmp6() string {
	names := map[uint8]string{echoRequest6: "echo request", echoReply6: "echo reply", 135: "neighbour solicitation", 136: "neighbour advertisement"}
	name, ok := names[p.ICMPType]
	if !ok {
		return p.icmpOther()
	}
	if p.ICMPType == echoRequest6 || p.ICMPType == echoReply6 {
		return name + p.echoed()
	}
	return name
}

// ports reads the ports of TCP and UDP.
func ports(payload []byte) (src, dst uint16) {
	return binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
}
