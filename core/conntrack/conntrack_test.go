package conntrack

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/nfnetlink"
	"github.com/enichain/enichain/core/nlsock"
)

// entry is a connection: its ends, and those of its replies.
type entry struct{ src, dst, replySrc, replyDst string }

// add adds connections to the calling thread's namespace.
func add(entries []entry) error {
	for i, e := range entries {
		family := netlink.InetFamily(unix.AF_INET)
		if netip.MustParseAddr(e.src).Is6() {
			family = unix.AF_INET6
		}
		port := uint16(1000 + i)
		err := netlink.ConntrackCreate(netlink.ConntrackTable, family, &netlink.ConntrackFlow{
			FamilyType: uint8(family), TimeOut: 600,
			Forward: netlink.IPTuple{SrcIP: slice(e.src), DstIP: slice(e.dst), SrcPort: port, DstPort: 80, Protocol: unix.IPPROTO_UDP},
			Reverse: netlink.IPTuple{SrcIP: slice(e.replySrc), DstIP: slice(e.replyDst), SrcPort: 80, DstPort: port, Protocol: unix.IPPROTO_UDP},
		})
		if err != nil {
			return fmt.Errorf("add %v: %w", e, err)
		}
	}
	return nil
}

func slice(ip string) net.IP { return netip.MustParseAddr(ip).AsSlice() }

// left returns the sources of the connections that there are.
func left(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil {
			t.Error(err)
		}
		for _, f := range flows {
			all[fmt.Sprint(f.Forward.SrcIP, " to ", f.Forward.DstIP)] = true
		}
	}
	return all
}

// ways are by the kernel, by a kernel before Linux 6.12, to which the filter of a request means nothing, and by a list alone.
var ways = map[string]func(netip.Addr) error{
	"by the kernel":    func(ip netip.Addr) error { return Flush(ip) },
	"by an old kernel": func(ip netip.Addr) error { return flush([]netip.Addr{ip}, unfiltered) },
	"listed": func(ip netip.Addr) error {
		conn, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		return flushListed(conn, []netip.Addr{ip})
	},
}

// Connections that the address began or answers go, however they are translated; others stay. Kernels that do not look for
// them themselves have the same done by a list.
func TestFlush(t *testing.T) {
	entries := []entry{
		{"10.0.0.5", "10.0.0.9", "10.0.0.9", "10.0.0.5"},       // from it
		{"10.0.0.9", "10.0.0.5", "10.0.0.5", "10.0.0.9"},       // to it
		{"10.0.0.9", "10.0.0.1", "10.0.0.5", "10.0.0.9"},       // to it by DNAT
		{"10.0.0.5", "192.0.2.1", "192.0.2.1", "10.0.0.1"},     // from it by SNAT
		{"10.0.0.50", "10.0.0.55", "10.0.0.55", "10.0.0.50"},   // its neighbours'
		{"fd00::5", "fd00::9", "fd00::9", "fd00::5"},           // of IPv6
		{"fd00::9", "fd00::5", "fd00::5", "fd00::9"},           // to it
		{"10.0.0.6", "192.0.2.1", "192.0.2.1", "10.0.0.1"},     // another's by SNAT
		{"10.0.0.105", "10.0.0.99", "10.0.0.99", "10.0.0.105"}, // longer
		{"fd00::50", "fd00::99", "fd00::99", "fd00::50"},
	}
	for name, flush := range ways {
		t.Run(name, func(t *testing.T) {
			nstest.New(t).Do(func() error {
				if err := add(entries); err != nil {
					return err
				}
				four, six := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")
				for i, ip := range []netip.Addr{four, six, four} {
					if err := flush(ip); err != nil {
						return err
					}
					want := []int{len(entries) - 4, 4, 4}[i]
					if got := left(t); len(got) != want {
						t.Errorf("without %s %d are left, want %d: %v", ip, len(got), want, got)
					}
				}
				return nil
			})
		})
	}
	if err := Flush(); err != nil {
		t.Errorf("of no address: %v", err)
	}
}

// Whatever the kernel's list has is read or refused, without a crash.
func FuzzDecode(f *testing.F) {
	tuple := nlsock.Body{}.Bytes(unix.NLA_F_NESTED|tupleIP, nlsock.Body{}.Bytes(ipV4Src, []byte{10, 0, 0, 5}))
	f.Add([]byte(nfnetlink.Header(unix.AF_INET, 0).Bytes(unix.NLA_F_NESTED|original, tuple).Bytes(unix.NLA_F_NESTED|reply, tuple).Bytes(id, []byte{1, 2, 3, 4}).Bytes(zone, []byte{0, 7})))
	f.Add([]byte(nfnetlink.Header(unix.AF_INET6, 0).Bytes(original, tuple[:7])))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := decode(body)
		if err == nil && len(c.names) > len(body) {
			t.Errorf("%v gave %d octets that name it", body, len(c.names))
		}
	})
}

// BenchmarkFlush is what a DEL pays on a node with so many connections, by either way.
func BenchmarkFlush(b *testing.B) {
	for _, connections := range []int{0, 1_000, 250_000} {
		ns := nstest.New(b)
		ns.Do(func() error {
			var many []entry
			for i := range connections {
				src, dst := fmt.Sprintf("10.1.%d.%d", i>>14, i>>6&255), fmt.Sprintf("10.2.%d.%d", i>>16, i&255)
				many = append(many, entry{src, dst, dst, src})
			}
			return add(many)
		})
		ip := netip.MustParseAddr("10.9.9.9")
		for _, name := range []string{"by the kernel", "listed"} {
			flush := ways[name]
			b.Run(fmt.Sprint(name, "/", connections), func(b *testing.B) {
				ns.Do(func() error {
					for b.Loop() {
						if err := flush(ip); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
	}
}
