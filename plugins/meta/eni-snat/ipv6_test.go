package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/xtables"
	"github.com/enichain/enichain/core/xtables/xtablestest"
)

const (
	container4 = "10.0.1.20/32"
	container6 = "2001:db8:1:1::20/128"
)

// of is n.conf for a container with the addresses.
func (n *node) of(ips []string, fields map[string]any) []byte {
	n.t.Helper()
	r := result("1.1.0", n.container.Path())
	var all []any
	for _, ip := range ips {
		all = append(all, map[string]any{"address": ip, "interface": 1})
	}
	r["ips"] = all
	more := map[string]any{"prevResult": r}
	for k, v := range fields {
		more[k] = v
	}
	return n.conf(more)
}

// address6 gives eth0 an address of IPv6.
func (n *node) address6() {
	n.t.Helper()
	n.on(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr("2001:db8:1::10/64")
		if err != nil {
			return err
		}
		address.Flags = unix.IFA_F_NODAD
		return netlink.AddrAdd(eth0, address)
	})
}

// route6 gives the host a default route of IPv6.
func (n *node) route6() {
	n.t.Helper()
	n.on(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		_, all, err := net.ParseCIDR("::/0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: all, Gw: net.ParseIP("fe80:ec2::1")})
	})
}

// without4 takes the host's IPv4 away.
func (n *node) without4() { n.t.Helper(); n.sh("ip -4 addr flush dev eth0") }

// TestIPv6 runs every verb for a container of both families, on each backend.
func TestIPv6(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			n := newNode(t)
			path := "PATH=" + xtablestest.Dir(t, xtables.NFT)
			conf := n.of([]string{container4, container6}, map[string]any{"backend": backend})
			n.ok("ADD", n.of([]string{container4}, map[string]any{"backend": backend}), path)
			missing := map[string]string{"nftables": "table ip6 enichain is missing", "iptables": "chain ENI-PRE-podnet of ip6tables' table mangle is missing"}
			n.refused("CHECK", conf, 103, "IPv6 of network podnet: "+missing[backend], path)
			n.ok("ADD", conf, path)
			n.ok("CHECK", conf, path)
			all := n.sh("nft list ruleset; ip rule; ip -6 rule")
			for _, verb := range []string{"ADD", "STATUS", "DEL", "GC"} {
				n.ok(verb, conf, path)
			}
			if diff := cmp.Diff(all, n.sh("nft list ruleset; ip rule; ip -6 rule")); diff != "" {
				t.Errorf("another ADD, a STATUS, a DEL and a GC changed something:\n%s", diff)
			}
			n.sh("ip -6 rule del pref 1024")
			n.refused("CHECK", conf, 103, `IPv6 of network podnet: IPv6 rule "1024: from all fwmark 0x80/0x80 lookup main" is missing`, path)
			n.sh("ip6tables-legacy -P FORWARD DROP")
			n.ok("ADD", conf, path)
			n.sh("ip6tables-legacy -F FORWARD")
			n.refused("CHECK", conf, 103, "IPv6 of network podnet: chain FORWARD of ip6tables-legacy drops what is forwarded and lacks -A FORWARD -i pod+ -j ACCEPT", path)
			n.ok("ADD", conf, path)
			n.ok("CHECK", conf, path)
			if legacy := n.sh("iptables-legacy -S FORWARD"); strings.Contains(legacy, "pod") {
				t.Errorf("IPv4's filter, which drops nothing, has %s", legacy)
			}
		})
	}
}

// TestFamilyAlone shows that a container costs nothing in a family that it has not: no rule, no table, and no program.
func TestFamilyAlone(t *testing.T) {
	for f, absent := range map[family.Family]family.Family{family.IPv4: family.IPv6, family.IPv6: family.IPv4} {
		t.Run(xtables.Name(f), func(t *testing.T) {
			n := newNode(t)
			n.sh("iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP")
			dir, called := xtablestest.Dir(t, xtables.NFT), filepath.Join(t.TempDir(), "called")
			for _, suffix := range []string{"", "-restore", "-legacy", "-legacy-restore"} { // the other family's
				script := filepath.Join(dir, xtables.Name(absent)+suffix)
				err := os.Remove(script)
				if errors.Is(err, os.ErrNotExist) {
					err = nil
				}
				if err := errors.Join(err, os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\necho %s >>%s\n", script, called), 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			of, other, rules := container4, "ip6", "ip -6 rule"
			if f == family.IPv6 {
				of, other, rules = container6, "ip", "ip -4 rule"
			}
			for _, backend := range []string{"nftables", "iptables", "nftables"} {
				conf := n.of([]string{of}, map[string]any{"backend": backend})
				n.ok("ADD", conf, "PATH="+dir)
				n.ok("CHECK", conf, "PATH="+dir)
			}
			if calls, err := os.ReadFile(called); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("called: %s %v", calls, err)
			}
			if tables := n.nft("list", "tables", other); tables != "" {
				t.Errorf("the other family has %s", tables)
			}
			if left := n.sh(rules); strings.Contains(left, "0x80") {
				t.Errorf("the other family has %s", left)
			}
		})
	}
}

// TestIPv6NeedsNoIPv4 shows that a container with IPv6 alone needs no IPv4 of the host, no store and no CIDR, and how the primary
// interface is found then.
func TestIPv6NeedsNoIPv4(t *testing.T) {
	n := newNode(t)
	n.without4()
	n.address6()
	only := func(fields map[string]any) []byte {
		fields["dataDir"] = n.dataDir + "/none"
		return n.of([]string{container6}, fields)
	}
	n.refused("ADD", only(map[string]any{}), types.ErrInvalidNetworkConfig, "resolve IPv6 of network podnet: find the primary interface")
	n.route6()
	for _, method := range []string{"", "eth0", "first-found", "interface=eth.*", "skip-interface=eth1", "cidr=10.0.0.0/24,2001:db8:1::/64", "can-reach=2001:db8:9::1"} {
		fields := map[string]any{"primary": method}
		n.ok("ADD", only(fields))
		n.ok("CHECK", only(fields))
		table := n.nft("list", "ruleset")
		itself := strings.Count(table, `oifname != "eth0" snat to ip6 saddr`) // what keeps its address is not translated
		if !strings.Contains(table, `iifname "eth0"`) || strings.Count(table, "snat to") != itself {
			t.Errorf("%q: not by eth0, or translated:\n%s", method, table)
		}
		n.nft("flush", "ruleset")
	}
	n.refused("ADD", only(map[string]any{"primary": "cidr=2001:db8:7::/64"}), types.ErrInvalidNetworkConfig, "no interface that is up with such an address")
	n.ok("ADD", n.of([]string{container6}, nil)) // by the store, of which the MAC alone is needed
	n.ok("CHECK", n.of([]string{container6}, nil))
	n.nft("flush", "ruleset")
	n.ok("ADD", only(map[string]any{"nodePort": false, "forward": false, "primary": "eth7"}))
	if left := n.nft("list", "ruleset"); left != "" {
		t.Errorf("written where nothing is wanted of IPv6:\n%s", left)
	}
}

// TestIPv4TellsThePrimary shows that a host has one primary interface: where nothing of IPv6 tells it, IPv4 does.
func TestIPv4TellsThePrimary(t *testing.T) {
	n := newNode(t)
	for _, method := range []string{"", "cidr=10.0.0.0/24", "first-found", "can-reach=192.0.2.1"} {
		conf := n.of([]string{container4, container6}, map[string]any{
			"dataDir": n.dataDir + "/none", "vpcCIDRs": []string{"10.0.0.0/16"}, "primary": method,
		})
		n.ok("ADD", conf)
		n.ok("CHECK", conf)
		if table := n.nft("list", "table", "ip6", "enichain"); !strings.Contains(table, `iifname "eth0"`) {
			t.Errorf("%q: not by eth0:\n%s", method, table)
		}
		n.nft("flush", "ruleset")
	}
}

// TestIP6TablesMissing shows what is said on a host that has iptables and no ip6tables.
func TestIP6TablesMissing(t *testing.T) {
	n := newNode(t)
	conf := map[string]any{"backend": "iptables"}
	// Nothing is in /usr/sbin, and iptables' programs elsewhere.
	dir := t.TempDir()
	for _, name := range []string{"xtables-nft-multi", "iptables", "iptables-restore"} {
		source := "/usr/sbin/xtables-nft-multi"
		data, err := os.ReadFile(source)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n.wrap = []string{"sh", "-c", `mount --make-rprivate / && mount -t tmpfs none /usr/sbin && exec "$@"`, "sh"}
	path := "PATH=" + dir + ":/usr/bin:/bin"
	n.ok("ADD", n.of([]string{container4}, conf), path)
	n.ok("STATUS", n.of([]string{container4}, conf), path)
	n.refused("ADD", n.of([]string{container4, container6}, conf), types.ErrInvalidNetworkConfig, "ip6tables is neither in PATH nor in /usr/sbin: not installed", path)
	n.refused("CHECK", n.of([]string{container6}, conf), types.ErrInvalidNetworkConfig, "ip6tables with ip6tables-restore", path)
	conf["nodePort"], conf["snat"] = false, false
	n.ok("ADD", n.of([]string{container4, container6}, conf), path)
}
