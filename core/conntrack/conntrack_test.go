package conntrack_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/conntrack"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// Connections of the address go, at whichever end and in whichever direction it is; others stay.
func TestFlush(t *testing.T) {
	nstest.New(t).Do(func() error {
		entries := []struct{ src, dst, replySrc, replyDst string }{
			{"10.0.0.5", "10.0.0.9", "10.0.0.9", "10.0.0.5"},       // from it
			{"10.0.0.9", "10.0.0.5", "10.0.0.5", "10.0.0.9"},       // to it
			{"10.0.0.9", "10.0.0.1", "10.0.0.5", "10.0.0.9"},       // to it by DNAT
			{"10.0.0.5", "192.0.2.1", "192.0.2.1", "10.0.0.1"},     // from it by SNAT
			{"10.0.0.50", "10.0.0.55", "10.0.0.55", "10.0.0.50"},   // its neighbours'
			{"fd00::5", "fd00::9", "fd00::9", "fd00::5"},           // of IPv6
			{"10.0.0.6", "192.0.2.1", "192.0.2.1", "10.0.0.1"},     // another's by SNAT
			{"10.0.0.105", "10.0.0.99", "10.0.0.99", "10.0.0.105"}, // longer
		}
		for i, e := range entries {
			family := netlink.InetFamily(unix.AF_INET)
			if netip.MustParseAddr(e.src).Is6() {
				family = unix.AF_INET6
			}
			port := uint16(1000 + i)
			err := netlink.ConntrackCreate(netlink.ConntrackTable, family, &netlink.ConntrackFlow{
				FamilyType: uint8(family), TimeOut: 100,
				Forward: netlink.IPTuple{SrcIP: slice(e.src), DstIP: slice(e.dst), SrcPort: port, DstPort: 80, Protocol: unix.IPPROTO_UDP},
				Reverse: netlink.IPTuple{SrcIP: slice(e.replySrc), DstIP: slice(e.replyDst), SrcPort: 80, DstPort: port, Protocol: unix.IPPROTO_UDP},
			})
			if err != nil {
				return err
			}
		}
		ip := netip.MustParseAddr("10.0.0.5")
		for _, want := range []uint{4, 0} {
			if n, err := conntrack.Flush(ip); n != want || err != nil {
				t.Errorf("forgot %d connections, not %d: %v", n, want, err)
			}
		}
		if n, err := conntrack.Flush(netip.MustParseAddr("fd00::5")); n != 1 || err != nil {
			t.Errorf("forgot %d connections of IPv6: %v", n, err)
		}
		left, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		if len(left) != 3 {
			t.Errorf("%d connections are left, not 3", len(left))
		}
		return err
	})
	if n, err := conntrack.Flush(); n != 0 || err != nil {
		t.Errorf("of no address: %d %v", n, err)
	}
}

func slice(ip string) net.IP { return netip.MustParseAddr(ip).AsSlice() }
