package main

import (
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
)

// TestPrimaryByMethod finds the primary interface on a host where eth0 alone has an address, and shows that the veth of a
// container, whatever address it has, is never it.
func TestPrimaryByMethod(t *testing.T) {
	n := newNode(t)
	n.on(func() error {
		veth, err := netlink.LinkByName(hostVeth)
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr("10.0.9.9/32")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(veth, address)
	})
	// Everywhere, without a store: nothing else says which interface it is.
	everywhere := func(primary any) []byte {
		return n.conf(map[string]any{"dataDir": n.dataDir + "/none", "includeCIDRs": []string{"0.0.0.0/0"}, "primary": primary})
	}
	for _, method := range []any{nil, "first-found", "interface=eth.*", "skip-interface=eth1", "cidr=10.0.0.0/24", "can-reach=192.0.2.1"} {
		n.ok("ADD", everywhere(method))
		n.ok("CHECK", everywhere(method))
		if table := n.nft("list", "ruleset"); !strings.Contains(table, `oifname "eth0"`) || !strings.Contains(table, "snat to 10.0.0.10") {
			t.Errorf("%v: not by eth0 with its address:\n%s", method, table)
		}
		n.nft("flush", "ruleset")
	}
	for _, tt := range []struct{ method, words string }{
		{"interface=eth7", "interface=eth7: no interface that is up with such an address; there are lo, eth0"},
		{"cidr=10.0.0.0/16", "several interfaces could be meant: eth0 (10.0.0.10), " + hostVeth},
		{"can-reach=www.example.com", "an IP address is wanted"},
		{"kubernetes=internal/ip", "docs/eni-snat.md"},
	} {
		n.refused("ADD", everywhere(tt.method), types.ErrInvalidNetworkConfig, tt.words)
	}
	overlapping := map[string]any{"primary": "first-found", "containerInterfaces": []string{"e*"}}
	n.refused("ADD", n.conf(overlapping), types.ErrInvalidNetworkConfig, "which is the primary interface eth0 too")
	n.on(func() error { // as eni-ptp marks its own
		veth, err := netlink.LinkByName(hostVeth)
		if err != nil {
			return err
		}
		return netlink.LinkSetAlias(veth, "enichain podnet c1 eth0")
	})
	n.ok("ADD", everywhere("cidr=10.0.0.0/16"))
}
