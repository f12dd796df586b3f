package probe

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

func frame(t *testing.T, parts ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecode(t *testing.T) {
	const (
		ip4   = "0affdeadbeef 0aff00000001 0800"
		arp   = "ffffffffffff 0aff00000001 0806 0001 0800 06 04"
		ip6   = "0affdeadbeef 0aff00000001 86dd"
		addr6 = "20010db8000000000000000000000001 20010db8000000000000000000000002"
		addr  = "0a130016 0a13000b" // 10.19.0.22, 10.19.0.11
	)
	for want, f := range map[string][]byte{
		"10.19.0.22 > 10.19.0.11 icmp echo request id 7 seq 1 ttl 64":    frame(t, ip4, "45000054 00004000 40010000", addr, "0800 0000 0007 0001"),
		"10.19.0.22 > 10.19.0.11 icmp echo reply id 7 seq 1 ttl 63":      frame(t, ip4, "45000054 00004000 3f010000", addr, "0000 0000 0007 0001"),
		"10.19.0.22 > 10.19.0.11 icmp unreachable code 1 ttl 64":         frame(t, ip4, "45000054 00004000 40010000", addr, "0301 0000 00000000"),
		"10.19.0.22:4242 > 10.19.0.11:80 tcp [S.] ttl 64 length 54":      frame(t, ip4, "45000028 00004000 40060000", addr, "1092 0050 00000000 00000000 5012 0000 00000000"),
		"10.19.0.22:53 > 10.19.0.11:80 udp ttl 64 length 42":             frame(t, ip4, "4500001c 00004000 40110000", addr, "0035 0050 0008 0000"),
		"10.19.0.22 > 10.19.0.11 ip 89 ttl 64 length 34":                 frame(t, ip4, "45000014 00004000 40590000", addr),
		"10.19.0.22 > 10.19.0.11 ip 17 ttl 64 length 34":                 frame(t, ip4, "4500001c 00000010 40110000", addr), // a later fragment
		"arp who-has 10.19.0.11 tell 10.19.0.22":                         frame(t, arp, "0001 0aff00000001 0a130016 000000000000 0a13000b"),
		"arp 10.19.0.22 is-at 0a:ff:00:00:00:01":                         frame(t, arp, "0002 0aff00000001 0a130016 0aff00000002 0a13000b"),
		"arp cut":                                                        frame(t, arp),
		"ip cut length 18":                                               frame(t, ip4, "45000054"),
		"ether 0x88cc length 14":                                         frame(t, "0affdeadbeef 0aff00000001 88cc"),
		"ip6 cut length 14":                                              frame(t, ip6),
		"2001:db8::1 > 2001:db8::2 icmp6 echo request id 7 seq 1 ttl 64": frame(t, ip6, "6000000000083a40", addr6, "8000 0000 0007 0001"),
		"2001:db8::1 > 2001:db8::2 icmp6 neighbour solicitation ttl 255": frame(t, ip6, "6000000000083aff", addr6, "8700 0000 0000 0000"),
		"[2001:db8::1]:53 > [2001:db8::2]:80 udp ttl 64 length 62":       frame(t, ip6, "6000000000081140", addr6, "0035 0050 0008 0000"),
	} {
		if got := Decode(f).Summary(); got != want {
			t.Errorf("%x\n got %s\nwant %s", f, got, want)
		}
	}
}

func TestPacketString(t *testing.T) {
	p := Decode(frame(t, "0affdeadbeef 0aff00000001 88cc"))
	p.Interface, p.Outgoing = "eth1", true
	if got, want := p.String(), "eth1            out ether 0x88cc length 14"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChecksumOfAnOddLength(t *testing.T) {
	b := echo{id: 7, seq: 1, payload: []byte("odd")}.request()
	if sum := checksum(b); sum != 0 {
		t.Errorf("the sum over the message with its checksum is %#x, not 0", sum)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x45\x00\x00\x54\x00\x00\x40\x00\x40\x01\x00\x00\x0a\x13\x00\x16\x0a\x13\x00\x0b\x08\x00\x00\x00\x00\x07\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = Decode(b).String()
		if len(b) > 14 {
			_, _ = parseAnswer(b[14:])
			_, _ = parseAnswer6(b[14:], netip.IPv6Unspecified(), 64)
		}
	})
}
