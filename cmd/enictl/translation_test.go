package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/xtables/xtablestest"
	"github.com/enichain/enichain/test/clouds"
)

func TestTranslation(t *testing.T) {
	t.Parallel()
	const one, both = "ok    iptables' rules are of one variant\n", "BAD   iptables-legacy and iptables-nft both have rules"
	const one6, both6 = one + "ok    ip6tables' rules are of one variant\n", one + "BAD   ip6tables-legacy and ip6tables-nft both have rules"
	for _, tt := range []struct {
		command, want string
		six           bool // the pool has an address of IPv6
	}{
		{"true", one, false},
		{"iptables-nft -A INPUT -j ACCEPT; iptables-legacy -S", one, false},
		{"iptables-legacy -A INPUT -j ACCEPT; nft add table ip enichain; nft add chain ip enichain c; nft add rule ip enichain c accept", one, false},
		{"iptables-legacy -A INPUT -j ACCEPT; iptables-nft -t nat -A POSTROUTING -j ACCEPT", both, false},
		{"iptables-legacy -A INPUT -j ACCEPT; ip6tables-nft -A INPUT -j ACCEPT", one6, true},
		{"ip6tables-legacy -A INPUT -j ACCEPT; ip6tables-nft -A INPUT -j ACCEPT", both6, true},
		{"ip6tables-legacy -A INPUT -j ACCEPT; ip6tables-nft -A INPUT -j ACCEPT", one, false},
	} {
		var out strings.Builder
		nstest.New(t).Do(func() error {
			if err := exec.CommandContext(t.Context(), "sh", "-c", tt.command).Run(); err != nil {
				return err
			}
			c := &checkup{t: &tool{out: &out}}
			c.translation(t.Context(), &network{snat: &netconf.SNAT{Backend: netconf.IPTables}}, familiesOf(poolOf(tt.six).addresses))
			return nil
		})
		if rest, found := strings.CutPrefix(out.String(), "ok    eni-snat can use iptables\n"); !found || !strings.HasPrefix(rest, tt.want) || !tt.six && strings.Contains(rest, "ip6tables") {
			t.Errorf("%s: %s want %s", tt.command, &out, tt.want)
		}
	}
}

// A repair puts each family right by itself, and asks nothing of IPv6 where no container has it.
func TestRepairIPv6(t *testing.T) {
	t.Parallel()
	conf, err := netconf.ParseSNAT([]byte(`{"name": "net", "dataDir": "/nowhere", "vpcCIDRs": ["10.0.0.0/16"], "primary": "eth0", "primaryIP": "10.0.0.1"}`))
	if err != nil {
		t.Fatal(err)
	}
	nstest.New(t).Do(func() error {
		host, err := netstate.Here()
		if err != nil {
			return err
		}
		defer host.Close()
		for _, step := range []struct {
			family family.Family
			want   string
		}{
			{family.IPv6, "repaired IPv6 of network net: table ip6 enichain is missing\n"},
			{family.IPv6, ""},
			{family.IPv4, "repaired SNAT of network net: table ip enichain is missing\n"},
			{family.IPv4, ""},
		} {
			var out strings.Builder
			k := &healer{net: &network{name: "net", snat: conf}, host: host, say: (&tool{out: &out}).say}
			veths := map[family.Family][]string{step.family: {"pod0123456789ab"}}
			err := errors.Join(k.healSNAT(t.Context(), veths[family.IPv4], family.IPv4), k.healSNAT(t.Context(), veths[family.IPv6], family.IPv6))
			if err != nil || out.String() != step.want {
				t.Errorf("%s: %q, %v, want %q", step.family, &out, err, step.want)
			}
		}
		return nil
	})
}

// A repair on iptables, and what it does after the conflist has gone over to it.
func TestRepairIPTables(t *testing.T) {
	t.Parallel()
	n := newLabNode(t, clouds.All()[0].Name)
	shell := func(command string) string {
		t.Helper()
		out, err := n.Output(t.Context(), n.Env(), "sh", "-c", command)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, v := range xtablestest.Variants() {
		path := "PATH=" + xtablestest.Dir(t, v) + ":$PATH "
		shell(`sed -i 's/"snat": {}/"snat": {"backend": "iptables"}/' $NETCONFPATH/*.conflist`)
		has(t, shell(path+"/opt/cni/bin/enictl repair"), "repaired SNAT of network enichain: chain ENI-PRE-enichain of iptables' table mangle is missing")
		has(t, shell(path+"/opt/cni/bin/enictl repair"), "the kernel is as the store says\n")
		if tables := shell("nft list tables"); strings.Contains(tables, "enichain") {
			t.Errorf("left of nftables: %s", tables)
		}
		shell(path + "iptables -t mangle -F")
		has(t, shell(path+"/opt/cni/bin/enictl repair"), "repaired SNAT of network enichain: chain ENI-PRE-enichain of iptables' table mangle lacks its rule 1")
		if !n.reaches() {
			t.Error("the container reaches nobody after the repair")
		}
	}
	if left := shell("iptables-nft-save"); strings.Contains(left, "ENI-") {
		t.Errorf("left of iptables-nft:\n%s", left)
	}
}
