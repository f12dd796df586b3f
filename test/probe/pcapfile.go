package probe

import (
	"encoding/binary"
	"io"
)

// PcapWriter writes packets as a pcap file with times in nanoseconds, for Wireshark and tcpdump
// (draft-ietf-opsawg-pcap).
type PcapWriter struct {
	w io.Writer
}

// NewPcapWriter writes the file's header. Nothing is buffered.
func NewPcapWriter(w io.Writer) (*PcapWriter, error) {
	const magic, major, minor, ethernet = 0xa1b23c4d, 2, 4, 1
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint16(b, major)
	b = binary.LittleEndian.AppendUint16(b, minor)
	b = binary.LittleEndian.AppendUint64(b, 0) // reserved
	b = binary.LittleEndian.AppendUint32(b, maxFrame)
	b = binary.LittleEndian.AppendUint32(b, ethernet)
	_, err := w.Write(b)
	return &PcapWriter{w}, err
}

// Write adds a packet.
func (p *PcapWriter) Write(packet Packet) error {
	b := binary.LittleEndian.AppendUint32(nil, uint32(packet.Time.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(packet.Time.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packet.Frame)))
	b = binary.LittleEndian.AppendUint32(b, uint32(packet.Length))
	_, err := p.w.Write(append(b, packet.Frame...))
	return err
}
