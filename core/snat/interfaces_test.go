package snat

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

func TestPatterns(t *testing.T) {
	links := map[string]Link{
		"pod0123456789ab": {Kind: "veth"},
		"poddeadbeef0123": {Kind: "veth"},
		"eni0123456789ab": {Kind: "veth"},
		"p0123456789ab":   {Kind: "veth"},
		"veth0123abcd":    {Kind: "veth"},
		"vethbridged0":    {Kind: "veth", Bridge: "cni0"},
		"cni0":            {Kind: "bridge"},
		"bwp0123456789ab": {Kind: "ifb"},
		"cali0123456789a": {Kind: "veth"},
		"eth0":            {Kind: "device"},
	}
	look := func(name string) (Link, error) { return links[name], nil }
	tests := []struct {
		hosts []string
		want  []string
	}{
		{nil, nil},
		{[]string{"pod0123456789ab"}, []string{"pod*"}},
		{[]string{"pod0123456789ab", "poddeadbeef0123", "bwp0123456789ab"}, []string{"pod*"}},
		{[]string{"eni0123456789ab", "p0123456789ab"}, []string{"eni*", "p*"}},
		{[]string{"veth0123abcd"}, []string{"veth*"}},
		{[]string{"cni0", "vethbridged0"}, []string{"cni0"}},
		{[]string{"vethbridged0"}, []string{"cni0"}},
		{[]string{"eth0", "elsewhere0"}, []string{"elsewhere0"}},
	}
	for _, tt := range tests {
		got, err := Patterns(tt.hosts, look, "eth0")
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", tt.hosts, err, diff)
		}
	}
	if _, err := Patterns([]string{"cali0123456789a"}, look, "eth0"); err == nil || !strings.Contains(err.Error(), "cali0123456789a") {
		t.Errorf("a name of one container alone gave %v", err)
	}
	broken := errors.New("broken")
	if _, err := Patterns([]string{"cni0"}, func(string) (Link, error) { return Link{}, broken }, "eth0"); !errors.Is(err, broken) {
		t.Errorf("an error of the kernel gave %v", err)
	}
}

// TestDescribe asks the kernel for what Patterns needs.
func TestDescribe(t *testing.T) {
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		for _, link := range []netlink.Link{
			&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}},
			&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "port0"}, PeerName: "port1"},
		} {
			if err := netlink.LinkAdd(link); err != nil {
				t.Fatal(err)
			}
		}
		port, err := netlink.LinkByName("port0")
		if err != nil {
			t.Fatal(err)
		}
		bridge, err := netlink.LinkByName("cni0")
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetMaster(port, bridge); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]Link{
			"cni0": {Kind: "bridge"}, "port0": {Kind: "veth", Bridge: "cni0"}, "port1": {Kind: "veth"}, "none": {},
		} {
			if got, err := describe(h, name); got != want || err != nil {
				t.Errorf("%s: got %+v %v, want %+v", name, got, err, want)
			}
		}
	})
}

func TestNames(t *testing.T) {
	long := strings.Repeat("n", 300)
	a, b := namesOf(long+"a", family.IPv4), namesOf(long+"b", family.IPv4)
	if a == b || len(a.containers) > 128 {
		t.Errorf("long names of networks give %q and %q", a.containers, b.containers)
	}
}
