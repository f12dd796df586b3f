package primary_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/primary"
)

// link is an interface that is up.
func link(index int, name string, addresses ...string) primary.Link {
	l := primary.Link{Index: index, Name: name, Up: true}
	for _, a := range addresses {
		l.Addresses = append(l.Addresses, netip.MustParseAddr(a))
	}
	return l
}

func TestChoose(t *testing.T) {
	down := link(3, "eth9", "10.9.0.9")
	down.Up = false
	ours := link(6, "pod0", "10.0.0.99")
	ours.Container = true
	host := []primary.Link{ // in no order
		link(8, "eth1", "fe80::1", "10.0.1.10", "10.0.1.11"),
		link(1, "lo", "127.0.0.1", "10.255.0.1"),
		link(4, "docker0", "172.17.0.1"),
		link(7, "eth0", "169.254.7.7", "10.0.0.10", "2001:db8::10"),
		link(9, "eth10", "192.168.0.10"),
		link(2, "nodelocaldns", "10.10.10.10"),
		down, ours,
	}
	tests := []struct {
		method string
		want   string // the interface and the address, or words of the error
	}{
		{"first-found", "eth0 10.0.0.10"},
		{"interface=eth0", "eth0 10.0.0.10"},
		{"interface=eth1", "eth1 10.0.1.10"},
		{"interface=eth.0", "eth10 192.168.0.10"},
		{"interface=eth1, bond0", "eth1 10.0.1.10"},
		{"interface=docker0", "docker0 172.17.0.1"},
		{"interface=eth.*", "several interfaces could be meant: eth0 (10.0.0.10), eth1 (10.0.1.10), eth10 (192.168.0.10)"},
		{"interface=pod.*", "no interface that is up with such an address; there are lo, nodelocaldns, eth9"},
		{"interface=eth9", "no interface that is up"},
		{"skip-interface=^eth1", "eth0 10.0.0.10"},
		{"skip-interface=eth10", "several interfaces could be meant: eth0 (10.0.0.10), eth1 (10.0.1.10)"},
		{"cidr=10.0.1.0/24", "eth1 10.0.1.10"},
		{"cidr=10.0.1.11/32,10.9.0.0/16", "eth1 10.0.1.11"},
		{"cidr=10.0.0.99/32", "no interface"},
		{"cidr=10.0.0.0/15", "several interfaces"},
	}
	for _, tt := range tests {
		m, ok, err := primary.Parse(tt.method)
		if !ok || err != nil {
			t.Fatalf("%s: %v %v", tt.method, ok, err)
		}
		l, ip, err := m.Choose(host, netip.Addr.Is4)
		got := l.Name + " " + ip.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.method, got, tt.want)
		}
	}
	m, _, err := primary.Parse("first-found")
	if err != nil {
		t.Fatal(err)
	}
	if l, ip, err := m.Choose(host, netip.Addr.Is6); err != nil || l.Name != "eth0" || ip.String() != "2001:db8::10" {
		t.Errorf("IPv6: %s %s %v", l.Name, ip, err)
	}
}

func TestParse(t *testing.T) {
	for _, name := range []string{"", "eth0", "first", "a=b", "kubernetes-internal-ip", "interface"} {
		if _, ok, err := primary.Parse(name); ok || err != nil {
			t.Errorf("%q is taken for a method: %v", name, err)
		}
	}
	for _, tt := range []struct{ method, want string }{
		{"interface=", "empty entry"},
		{"interface=eth0,,eth1", "empty entry"},
		{"interface=eth(", "missing closing )"},
		{"skip-interface=*", "missing argument"},
		{"cidr=10.0.0.0", "no '/'"},
		{"can-reach=www.example.com", "no name that must be resolved"},
	} {
		if _, ok, err := primary.Parse(tt.method); !ok || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v %v, want %s", tt.method, ok, err, tt.want)
		}
	}
	m, ok, err := primary.Parse("can-reach=192.0.2.1")
	if to, asked := m.Lookup(); !ok || err != nil || !asked || to != netip.MustParseAddr("192.0.2.1") || m.String() != primary.ByRouteTo(to).String() {
		t.Errorf("can-reach: %v %v %v %v", ok, err, to, asked)
	}
}
