package netstate_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netstate"
)

// What has an address of eth0 stays there, in both families, though main sends the destination by eth1; an address that has a
// rule keeps it.
func TestBySource(t *testing.T) {
	in(t, func(h *netstate.Handle) error {
		devices := map[string]layout.Device{}
		for _, name := range []string{"lo", "eth0", "eth1"} {
			l, err := h.LinkByName(name)
			if err != nil {
				return err
			}
			devices[name] = l.Device
		}
		eth0, eth1 := devices["eth0"], devices["eth1"]
		ip4, ip6 := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")
		second := netip.MustParseAddr("10.0.0.6")
		far4, far6 := netip.MustParsePrefix("172.30.0.0/16"), netip.MustParsePrefix("fd30::/16")
		must(t, h.Apply(layout.Inside(layout.Attachment{
			Interface: eth0, VethMAC: make([]byte, 6), Addresses: []layout.Address{{IP: ip4}, {IP: ip6}},
		})))
		beside := layout.Attachment{
			Interface: eth1, VethMAC: make([]byte, 6), Beside: layout.AllGateways(),
			Addresses: []layout.Address{{IP: second}, {IP: netip.MustParseAddr("fd00::6")}}, Destinations: []netip.Prefix{far4, far6},
		}
		must(t, h.Apply(layout.Inside(beside)))
		apart, err := h.BySource()
		if err != nil {
			return err
		}
		if text := apart.String(); len(apart.Rules) != 2 || strings.Contains(text, second.String()) {
			t.Errorf("unexpected rules:\n%s", text)
		}
		must(t, h.Apply(apart))
		must(t, h.Apply(layout.ToDestinations(beside)))
		for from, to := range map[netip.Addr]netip.Prefix{ip4: far4, ip6: far6} {
			gw := layout.GatewayOf(from)
			own := layout.Lookup{From: from, To: to.Addr().Next(), Want: layout.Route{Dst: layout.Default(gw), Via: gw, Dev: eth0}}
			unbound := layout.Lookup{To: to.Addr().Next(), Want: layout.Route{Dst: to, Via: gw, Dev: eth1}}
			for _, l := range []layout.Lookup{own, unbound} {
				if d, err := h.DiffLookup(l); d != "" || err != nil {
					t.Errorf("%s %v", d, err)
				}
			}
		}
		again, err := h.BySource()
		if len(again.Rules) > 0 {
			t.Errorf("not settled: %s", again)
		}
		return err
	})
}
