package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/xtables"
	"github.com/enichain/enichain/core/xtables/xtablestest"
)

// saved returns what iptables has on the host, without counters and dates, and the policy rules.
func (n *node) saved(v xtables.Variant) string {
	n.t.Helper()
	return n.sh(fmt.Sprintf("iptables-%s-save -t mangle | grep -v '^[#:]'; iptables-%[1]s-save -t nat | grep -v '^[#:]'; ip rule", v))
}

// sh runs a shell on the host.
func (n *node) sh(script string) string {
	n.t.Helper()
	var out []byte
	n.on(func() (err error) {
		if out, err = exec.CommandContext(n.t.Context(), "sh", "-c", script).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w\n%s", script, err, out)
		}
		return err
	})
	return string(out)
}

// TestIPTables runs every verb on both variants, and goes over to nftables.
func TestIPTables(t *testing.T) {
	for _, v := range xtablestest.Variants() {
		t.Run(string(v), func(t *testing.T) {
			n := newNode(t)
			path := "PATH=" + xtablestest.Dir(t, v)
			conf := n.conf(map[string]any{"backend": "iptables"})
			n.ok("STATUS", conf, path)
			n.refused("CHECK", conf, 103, "SNAT of network podnet: chain ENI-PRE-podnet of iptables' table mangle is missing", path)
			n.ok("ADD", conf, path)
			first := n.saved(v)
			n.ok("ADD", conf, path)
			n.ok("CHECK", conf, path)
			for _, verb := range []string{"DEL", "GC"} {
				n.ok(verb, conf, path)
			}
			if diff := cmp.Diff(first, n.saved(v)); diff != "" {
				t.Errorf("another ADD, a DEL and a GC changed the chains:\n%s", diff)
			}
			for damage, want := range map[string]string{
				"-t mangle -D FORWARD 1": "chain FORWARD of iptables' table mangle lacks",
				"-t nat -F":              "chain POSTROUTING of iptables' table nat has",
			} {
				n.sh("iptables-" + string(v) + " " + damage)
				n.refused("CHECK", conf, 103, "SNAT of network podnet: "+want, path)
				n.ok("ADD", conf, path)
				n.ok("CHECK", conf, path)
			}
			if table := n.nft("list", "tables"); strings.Contains(table, "enichain") {
				t.Errorf("nftables: %s", table)
			}
			n.refused("CHECK", n.conf(nil), 103, "table ip enichain is missing", path)
			n.ok("ADD", n.conf(nil), path)
			n.ok("CHECK", n.conf(nil), path)
			n.refused("CHECK", conf, 103, "is missing", path)
			if left := n.saved(v); strings.Contains(left, "ENI-") || strings.Contains(left, "enichain") || strings.Contains(left, "0x40") {
				t.Errorf("left of iptables:\n%s", left)
			}
		})
	}
}

// TestIPTablesKilled kills ADDs at any moment; no table is ever half written, and the next one ends with all in its place.
func TestIPTablesKilled(t *testing.T) {
	n := newNode(t)
	path := "PATH=" + xtablestest.Dir(t, xtables.NFT)
	backends := [][]byte{n.conf(map[string]any{"backend": "iptables"}), n.conf(nil)}
	for i := range 24 {
		n.on(func() error {
			cmd := exec.CommandContext(t.Context(), os.Getenv(binEnv))
			cmd.Env = []string{
				"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + n.container.Path(), "CNI_PATH=/nowhere", path,
			}
			cmd.Stdin = bytes.NewReader(backends[i%2])
			// Its children go with it, as they do where a runtime ends a service.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				return err
			}
			<-time.After(time.Duration(i) * 800 * time.Microsecond) // any moment will do
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
			return nil
		})
		if mangle := n.sh("iptables-nft-save -t mangle"); strings.Count(mangle, "\n:ENI-")%4 != 0 || strings.Count(mangle, "-j ENI-")%5 != 0 {
			t.Fatalf("half a table:\n%s", mangle)
		}
	}
	for _, conf := range backends {
		n.ok("ADD", conf, path)
		n.ok("CHECK", conf, path)
	}
	if left := n.saved(xtables.NFT); strings.Contains(left, "ENI-") || strings.Contains(left, "0x40") {
		t.Errorf("left of iptables:\n%s", left)
	}
}

// TestIPTablesMissing shows what is said on a host without iptables, and that the programs are found where PATH does not
// lead.
func TestIPTablesMissing(t *testing.T) {
	n := newNode(t)
	conf := n.conf(map[string]any{"backend": "iptables"})
	n.ok("ADD", conf, "PATH=/nowhere")
	n.wrap = []string{"sh", "-c", `mount --make-rprivate / && mount -t tmpfs none /usr/sbin && exec "$@"`, "sh"}
	n.refused("ADD", conf, types.ErrInvalidNetworkConfig, "iptables is neither in PATH nor in /usr/sbin: not installed", "PATH=/usr/bin:/bin")
	n.refused("CHECK", conf, types.ErrInvalidNetworkConfig, `"nftables" needs no program`, "PATH=/usr/bin:/bin")
	n.refused("STATUS", conf, types.ErrPluginNotAvailable, "reach iptables: iptables is neither in PATH", "PATH=/usr/bin:/bin")
	n.ok("ADD", n.conf(map[string]any{"backend": "iptables", "snat": false, "nodePort": false}), "PATH=/usr/bin:/bin")
	// What iptables left stays where its programs are gone, and the other backend works.
	n.ok("ADD", n.conf(nil), "PATH=/usr/bin:/bin")
	n.ok("CHECK", n.conf(nil), "PATH=/usr/bin:/bin")
}
