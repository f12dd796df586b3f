package layout_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

func TestENI(t *testing.T) {
	dev := layout.Device{Index: 260, Name: "eth1"}
	tests := []struct {
		name string
		eni  store.ENI
		want string
	}{
		{
			name: "recipe 3.1: another subnet than the primary's",
			eni: store.ENI{
				Table: 2, MTU: 1500,
				Subnet:    netip.MustParsePrefix("10.19.16.0/20"),
				Gateway:   netip.MustParseAddr("10.19.16.1"),
				PrimaryIP: netip.MustParseAddr("10.19.16.17"),
			},
			want: `
				sysctl net/ipv4/conf/eth1/forwarding=1
				sysctl net/ipv4/conf/eth1/rp_filter=2
				link eth1 up mtu 1500
				addr 10.19.16.17/32 dev eth1 alone
				route 10.19.16.17 dev eth1 scope link
				route 10.19.16.1 dev eth1 table 2 scope link
				route default via 10.19.16.1 dev eth1 table 2
				no route 10.19.16.0/20 dev eth1 scope link
				rule 512: from all to 10.19.16.17 lookup main
				rule 1536: from 10.19.16.17 lookup 2
			`,
		},
		{
			name: "recipe 4.1: the primary's subnet, MTU left",
			eni: store.ENI{
				Table:     3,
				Subnet:    netip.MustParsePrefix("10.19.0.0/20"),
				Gateway:   netip.MustParseAddr("10.19.0.1"),
				PrimaryIP: netip.MustParseAddr("10.19.0.24"),
			},
			want: `
				sysctl net/ipv4/conf/eth1/forwarding=1
				sysctl net/ipv4/conf/eth1/rp_filter=2
				link eth1 up
				addr 10.19.0.24/32 dev eth1 alone
				route 10.19.0.24 dev eth1 scope link
				route 10.19.0.1 dev eth1 table 3 scope link
				route default via 10.19.0.1 dev eth1 table 3
				no route 10.19.0.0/20 dev eth1 scope link
				rule 512: from all to 10.19.0.24 lookup main
				rule 1536: from 10.19.0.24 lookup 3
			`,
		},
		{
			name: "with IPv6, and an address of its own",
			eni: store.ENI{
				Table:     2,
				Subnet:    netip.MustParsePrefix("10.19.16.0/20"),
				Gateway:   netip.MustParseAddr("10.19.16.1"),
				PrimaryIP: netip.MustParseAddr("10.19.16.17"),
				Subnet6:   netip.MustParsePrefix("2001:db8:1:10::/64"),
				Gateway6:  netip.MustParseAddr("fe80:ec2::1"), PrimaryIP6: netip.MustParseAddr("2001:db8:1:10::17"),
			},
			want: `
				sysctl net/ipv4/conf/eth1/forwarding=1
				sysctl net/ipv4/conf/eth1/rp_filter=2
				sysctl net/ipv6/conf/eth1/disable_ipv6=0
				sysctl net/ipv6/conf/eth1/accept_ra=0
				link eth1 up
				addr 10.19.16.17/32 dev eth1 alone
				addr 2001:db8:1:10::17/128 dev eth1 alone
				route 10.19.16.17 dev eth1 scope link
				route 10.19.16.1 dev eth1 table 2 scope link
				route default via 10.19.16.1 dev eth1 table 2
				route default via fe80:ec2::1 dev eth1 table 2
				no route 10.19.16.0/20 dev eth1 scope link
				no route 2001:db8:1:10::/64 dev eth1
				rule 512: from all to 2001:db8:1:10::17 lookup main
				rule 1536: from 2001:db8:1:10::17 lookup 2
				rule 512: from all to 10.19.16.17 lookup main
				rule 1536: from 10.19.16.17 lookup 2
			`,
		},
		{
			name: "the primary ENI is the host's own",
			eni: store.ENI{
				Primary: true, Table: layout.TableMain, MTU: 9001,
				Subnet:    netip.MustParsePrefix("10.19.0.0/20"),
				Gateway:   netip.MustParseAddr("10.19.0.1"),
				PrimaryIP: netip.MustParseAddr("10.19.0.22"),
			},
			want: "sysctl net/ipv4/conf/eth1/forwarding=1\nsysctl net/ipv4/conf/eth1/rp_filter=2",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(lines(tt.want), lines(layout.ENI(tt.eni, dev, netconf.PerPod).String())); diff != "" {
				t.Fatalf("unexpected state (-want +got):\n%s", diff)
			}
		})
	}
}

// Where the rules are per ENI, its number has one of each family, before the rule that shows that all is there.
func TestENIByNumber(t *testing.T) {
	eni := store.ENI{
		Table: 2, Number: 2, Subnet: netip.MustParsePrefix("10.19.16.0/20"), Gateway: netip.MustParseAddr("10.19.16.1"),
		PrimaryIP: netip.MustParseAddr("10.19.16.17"), Gateway6: netip.MustParseAddr("fe80:ec2::1"),
	}
	dev := layout.Device{Index: 3, Name: "eth1"}
	got := layout.State{Rules: layout.ENI(eni, dev, netconf.PerENI).Rules}
	want := `
		rule 512: from all to 10.19.16.17 lookup main
		rule 1536: from all fwmark 0x2/0x3f lookup 2
		rule 1536: from all fwmark 0x2/0x3f lookup 2
		rule 1536: from 10.19.16.17 lookup 2
	`
	if diff := cmp.Diff(lines(want), lines(got.String())); diff != "" {
		t.Errorf("unexpected rules (-want +got):\n%s", diff)
	}
	if got.Rules[1].Family() != family.IPv4 || got.Rules[2].Family() != family.IPv6 {
		t.Error("the number has no rule of each family")
	}
	var ready []string
	for _, l := range layout.Ready(eni, dev, netconf.PerENI) {
		ready = append(ready, l.String()+" -> "+l.Want.String())
	}
	wantReady := []string{
		"ip route get 192.0.2.1 from 10.19.16.17 -> default via 10.19.16.1 dev eth1 table 2",
		"ip route get 192.0.2.1 mark 0x2 -> default via 10.19.16.1 dev eth1 table 2",
		"ip route get 2001:db8::1 mark 0x2 -> default via fe80:ec2::1 dev eth1 table 2",
	}
	if diff := cmp.Diff(wantReady, ready); diff != "" {
		t.Errorf("unexpected questions (-want +got):\n%s", diff)
	}
	eni.Primary = true
	if rules := layout.ENI(eni, dev, netconf.PerENI).Rules; len(rules) > 0 {
		t.Errorf("the primary ENI has rules: %v", rules)
	}
}

// A number and the marks of others that are named at layout.Mark are not of the same bits.
func TestBitsOfFwmark(t *testing.T) {
	for _, others := range []uint32{layout.Mark, layout.MarkNew, 0x4000, 0x8000, 0x2000, 0x0f00, 0xffff0000} {
		if layout.MaskENI&others != 0 {
			t.Errorf("%#x has bits of %#x", layout.MaskENI, others)
		}
	}
}

func TestNode(t *testing.T) {
	want := `
		sysctl net/ipv4/ip_forward=1
		sysctl net/ipv4/conf/eth0/forwarding=1
		sysctl net/ipv4/conf/eth0/rp_filter=2
	`
	got := layout.Node(layout.Device{Index: 2, Name: "eth0"}).String()
	if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
		t.Fatalf("unexpected state (-want +got):\n%s", diff)
	}
}

func TestContainer(t *testing.T) {
	mac, err := net.ParseMAC("fa:e4:56:6f:92:8d")
	if err != nil {
		t.Fatal(err)
	}
	attached := func(addresses ...layout.Address) layout.Attachment {
		return layout.Attachment{
			Veth:      layout.Device{Index: 267, Name: "pod0"},
			VethMAC:   mac,
			Interface: layout.Device{Index: 3, Name: "eth0"},
			Addresses: addresses,
		}
	}
	beside := func(a layout.Attachment) layout.Attachment {
		a.Beside, a.Destinations = layout.AllGateways(), []netip.Prefix{netip.MustParsePrefix("10.64.0.0/12")}
		return a
	}
	const inside = `
		link lo up
		link eth0 up
		addr 10.19.16.6/32 dev eth0
		neigh 169.254.1.1 dev eth0 lladdr fa:e4:56:6f:92:8d PERMANENT
		route 169.254.1.1 dev eth0 scope link
		route default via 169.254.1.1 dev eth0
	`
	ip := netip.MustParseAddr("10.19.16.6")
	tests := []struct {
		name         string
		attachment   layout.Attachment
		host, inside string
	}{
		{
			name:       "recipe 3.2: on a secondary ENI",
			attachment: attached(layout.Address{IP: ip, Table: 2}),
			host: `
				sysctl net/ipv4/conf/pod0/forwarding=1
				sysctl net/ipv4/conf/pod0/proxy_arp=1
				sysctl net/ipv4/neigh/pod0/proxy_delay=0
				link pod0 up
				route 10.19.16.6 dev pod0 scope link
				rule 512: from all to 10.19.16.6 lookup main
				rule 1536: from 10.19.16.6 lookup 2
			`,
			inside: inside,
		},
		{
			name:       "on the primary ENI, by main alone, with the node's address as source",
			attachment: attached(layout.Address{IP: ip, Table: layout.TableMain, Src: netip.MustParseAddr("10.19.0.22")}),
			host: `
				sysctl net/ipv4/conf/pod0/forwarding=1
				sysctl net/ipv4/conf/pod0/proxy_arp=1
				sysctl net/ipv4/neigh/pod0/proxy_delay=0
				link pod0 up
				route 10.19.16.6 dev pod0 scope link src 10.19.0.22
				rule 512: from all to 10.19.16.6 lookup main
			`,
			inside: inside,
		},
		{
			name:       "beside an interface that has the default route",
			attachment: beside(attached(layout.Address{IP: ip, Table: 2})),
			host: `
				sysctl net/ipv4/conf/pod0/forwarding=1
				sysctl net/ipv4/conf/pod0/proxy_arp=1
				sysctl net/ipv4/neigh/pod0/proxy_delay=0
				link pod0 up
				route 10.19.16.6 dev pod0 scope link
				rule 512: from all to 10.19.16.6 lookup main
				rule 1536: from 10.19.16.6 lookup 2
			`,
			inside: `
				link lo up
				link eth0 up
				addr 10.19.16.6/32 dev eth0
				neigh 169.254.1.1 dev eth0 lladdr fa:e4:56:6f:92:8d PERMANENT
				route 169.254.1.1 dev eth0 table 10003 scope link
				route default via 169.254.1.1 dev eth0 table 10003
				rule 1536: from 10.19.16.6 lookup 10003
				rule 1536: from all oif eth0 lookup 10003
			`,
		},
		{
			name:       "of two families",
			attachment: attached(layout.Address{IP: ip, Table: 2}, layout.Address{IP: netip.MustParseAddr("2001:db8::6"), Table: 2}),
			host: `
				sysctl net/ipv4/conf/pod0/forwarding=1
				sysctl net/ipv4/conf/pod0/proxy_arp=1
				sysctl net/ipv4/neigh/pod0/proxy_delay=0
				sysctl net/ipv6/conf/pod0/disable_ipv6=0
				sysctl net/ipv6/conf/pod0/accept_ra=0
				sysctl net/ipv6/conf/pod0/addr_gen_mode=1
				link pod0 up
				addr fe80::1/64 dev pod0
				route 10.19.16.6 dev pod0 scope link
				route 2001:db8::6 dev pod0
				rule 512: from all to 10.19.16.6 lookup main
				rule 1536: from 10.19.16.6 lookup 2
				rule 512: from all to 2001:db8::6 lookup main
				rule 1536: from 2001:db8::6 lookup 2
			`,
			inside: `
				link lo up
				link eth0 up
				addr 10.19.16.6/32 dev eth0
				addr 2001:db8::6/128 dev eth0
				neigh 169.254.1.1 dev eth0 lladdr fa:e4:56:6f:92:8d PERMANENT
				neigh fe80::1 dev eth0 lladdr fa:e4:56:6f:92:8d PERMANENT
				route 169.254.1.1 dev eth0 scope link
				route default via 169.254.1.1 dev eth0
				route fe80::1 dev eth0
				route default via fe80::1 dev eth0
			`,
		},
		{
			name:       "of two families, on ENIs of their own, with the rules per ENI",
			attachment: attached(layout.Address{IP: ip, Table: 2, Number: 2}, layout.Address{IP: netip.MustParseAddr("2001:db8::6"), Table: 3, Number: 3}).In(netconf.PerENI),
			host: `
				sysctl net/ipv4/conf/pod0/forwarding=1
				sysctl net/ipv4/conf/pod0/proxy_arp=1
				sysctl net/ipv4/neigh/pod0/proxy_delay=0
				sysctl net/ipv6/conf/pod0/disable_ipv6=0
				sysctl net/ipv6/conf/pod0/accept_ra=0
				sysctl net/ipv6/conf/pod0/addr_gen_mode=1
				link pod0 up
				addr fe80::1/64 dev pod0
				route 10.19.16.6 dev pod0 table 101512 scope link
				route 2001:db8::6 dev pod0 table 101512
				rule 512: from all lookup 101512
				rule 512: from all lookup 101512
			`,
			inside: `
				link lo up
				link eth0 up
				addr 10.19.16.6/32 dev eth0
				addr 2001:db8::6/128 dev eth0
				neigh 169.254.1.1 dev eth0 lladdr fa:e4:56:6f:92:8d PERMANENT
				neigh fe80::1 dev eth0 lladdr fa:e4:56:6f:92:8d PERMANENT
				route 169.254.1.1 dev eth0 scope link
				route default via 169.254.1.1 dev eth0
				route fe80::1 dev eth0
				route default via fe80::1 dev eth0
			`,
		},
		{
			name:       "without an address",
			attachment: attached(),
			host: `
				sysctl net/ipv4/conf/pod0/forwarding=1
				sysctl net/ipv4/conf/pod0/proxy_arp=1
				sysctl net/ipv4/neigh/pod0/proxy_delay=0
				link pod0 up
			`,
			inside: `
				link lo up
				link eth0 up
			`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(lines(tt.host), lines(layout.OnHost(tt.attachment).String())); diff != "" {
				t.Errorf("unexpected state on the host (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(lines(tt.inside), lines(layout.Inside(tt.attachment).String())); diff != "" {
				t.Errorf("unexpected state inside (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDestinations(t *testing.T) {
	got := layout.ToDestinations(layout.Attachment{
		Interface:    layout.Device{Index: 3, Name: "net1"},
		Destinations: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/12"), netip.MustParsePrefix("192.0.2.7/32")},
	}).String()
	want := `
		route 10.64.0.0/12 via 169.254.1.1 dev net1
		route 192.0.2.7 via 169.254.1.1 dev net1
	`
	if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
		t.Errorf("unexpected routes (-want +got):\n%s", diff)
	}
}

func TestWords(t *testing.T) {
	ip := netip.MustParseAddr("10.0.1.5")
	dev := layout.Device{Index: 3, Name: "eth0"}
	ready := layout.Ready(store.ENI{PrimaryIP: ip, Gateway: netip.MustParseAddr("10.0.1.1"), Table: 300}, dev, netconf.PerPod)[0]
	tests := []struct{ got, want string }{
		{layout.MarkRule(family.IPv4).String(), "1024: from all fwmark 0x80/0x80 lookup main"},
		{layout.State{Rules: layout.NewRules(
			[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		)}.String(), "rule 1280: from all to 10.0.0.0/16 fwmark 0x40/0x40 goto 1536\nrule 1409: from all fwmark 0x40/0x40 lookup main\n"},
		{ready.String(), "ip route get 192.0.2.1 from 10.0.1.5"},
		{ready.Want.String(), "default via 10.0.1.1 dev eth0 table 300"},
		{layout.Default(netip.MustParseAddr("fe80::1")).String(), "::/0"},
		{layout.Elsewhere(netip.MustParseAddr("fe80::1")).String(), "2001:db8::1"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestIdentify(t *testing.T) {
	a := layout.Identify("pod", "container", "eth0")
	if len(a.Veth) != 15 || !strings.HasPrefix(a.Veth, "pod") {
		t.Errorf("veth name %q is not pod and 12 digits", a.Veth)
	}
	if diff := cmp.Diff(a, layout.Identify("pod", "container", "eth0")); diff != "" {
		t.Errorf("the same key gives another identity:\n%s", diff)
	}
	others := []layout.Identity{layout.Identify("pod", "container", "eth1"), layout.Identify("pod", "containere", "th0")}
	for _, b := range others {
		if a.Veth == b.Veth || a.MAC.String() == b.MAC.String() {
			t.Errorf("two keys give one identity %s %s", a.Veth, a.MAC)
		}
	}
	for _, mac := range []net.HardwareAddr{a.MAC, a.Peer} {
		if len(mac) != 6 || mac[0]&0x03 != 0x02 {
			t.Errorf("%s is not a locally administered unicast address", mac)
		}
	}
	if a.MAC.String() == a.Peer.String() {
		t.Errorf("both ends have %s", a.MAC)
	}
}

func TestAlias(t *testing.T) {
	owner := store.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}
	got, ok := layout.ParseAlias(layout.Alias(owner))
	if !ok || got != owner {
		t.Errorf("%q reads as %v %v", layout.Alias(owner), got, ok)
	}
	for _, foreign := range []string{"", "uplink", "enichain net c1", "docker net c1 eth0"} {
		if _, ok := layout.ParseAlias(foreign); ok {
			t.Errorf("%q was taken for ours", foreign)
		}
	}
	if long := layout.Alias(store.Owner{Network: strings.Repeat("n", 300)}); long != "" {
		t.Errorf("the kernel would refuse an alias of %d bytes", len(long))
	}
}

// lines takes the indentation from a text, to compare it as one would read it.
func lines(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// An ENI without a number, of which there are 63, has no rule of one: "from all lookup T" would be everybody's.
func TestNumberRulesOfNoNumber(t *testing.T) {
	if rules := layout.NumberRules(store.ENI{Table: 2, Gateway6: netip.MustParseAddr("fe80::1")}); len(rules) > 0 {
		t.Errorf("rules %v", rules)
	}
}
