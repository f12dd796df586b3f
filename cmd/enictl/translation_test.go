package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/xtables/xtablestest"
	"github.com/enichain/enichain/test/clouds"
)

func TestTranslation(t *testing.T) {
	t.Parallel()
	const one, both = "ok    iptables' rules are of one variant\n", "BAD   iptables-legacy and iptables-nft both have rules"
	for _, tt := range []struct{ command, want string }{
		{"true", one},
		{"iptables-nft -A INPUT -j ACCEPT; iptables-legacy -S", one},
		{"iptables-legacy -A INPUT -j ACCEPT; nft add table ip enichain; nft add chain ip enichain c; nft add rule ip enichain c accept", one},
		{"iptables-legacy -A INPUT -j ACCEPT; iptables-nft -t nat -A POSTROUTING -j ACCEPT", both},
	} {
		var out strings.Builder
		nstest.New(t).Do(func() error {
			if err := exec.CommandContext(t.Context(), "sh", "-c", tt.command).Run(); err != nil {
				return err
			}
			c := &checkup{t: &tool{out: &out}}
			c.translation(t.Context(), &network{snat: &netconf.SNAT{Backend: netconf.IPTables}})
			return nil
		})
		if rest, found := strings.CutPrefix(out.String(), "ok    eni-snat can use iptables\n"); !found || !strings.HasPrefix(rest, tt.want) {
			t.Errorf("%s: %s want %s", tt.command, &out, tt.want)
		}
	}
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
		shell(`sed -i 's/"type": "eni-snat"[^}]*/"type": "eni-snat", "backend": "iptables"/' $NETCONFPATH/*.conflist`)
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
