package main

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// lay writes files below a folder.
func lay(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNetworkd(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		sick  bool
	}{
		{"as it is shipped", map[string]string{"etc/systemd/networkd.conf": "[Network]\n#ManageForeignRoutingPolicyRules=yes\n"}, true},
		{"a drop-in", map[string]string{"etc/systemd/networkd.conf.d/e.conf": "[Network]\nManageForeignRoutingPolicyRules = no\n"}, false},
		{
			"a later one says otherwise", map[string]string{
				"etc/systemd/networkd.conf.d/a.conf": "ManageForeignRoutingPolicyRules=no", "run/systemd/networkd.conf.d/b.conf": "ManageForeignRoutingPolicyRules=yes",
			}, true,
		},
		{
			"that in /etc hides the vendor's", map[string]string{
				"etc/systemd/networkd.conf.d/a.conf": "ManageForeignRoutingPolicyRules=false", "usr/lib/systemd/networkd.conf.d/a.conf": "ManageForeignRoutingPolicyRules=yes",
			}, false,
		},
	}
	for _, tt := range tests {
		root := t.TempDir()
		tt.files["run/systemd/netif/state"] = ""
		lay(t, root, tt.files)
		c := &checkup{t: &tool{out: &strings.Builder{}}}
		c.networkd(root)
		if c.sick != tt.sick {
			t.Errorf("%s: sick is %v", tt.name, c.sick)
		}
	}
}

func TestNetworkManager(t *testing.T) {
	links := []eniLink{
		{true, netstate.Link{Device: layout.Device{Name: "ens5"}}},
		{false, netstate.Link{Device: layout.Device{Name: "ens6"}, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 0xab}}},
	}
	main := map[string]string{"etc/NetworkManager/NetworkManager.conf": "[main]\nplugins=keyfile\n"}
	with := func(name, value string) map[string]string {
		return map[string]string{name: "[keyfile]\n" + value + "\n"}
	}
	tests := []struct {
		name  string
		files map[string]string
		sick  bool
	}{
		{"as it is shipped", main, true},
		{"as we say", with("etc/NetworkManager/conf.d/enichain.conf", "unmanaged-devices=interface-name:pod*;interface-name:ens*;except:interface-name:ens5"), false},
		{"by MAC", with("etc/NetworkManager/conf.d/a.conf", "unmanaged-devices=mac:02:00:00:00:00:AB"), false},
		{"all but the primary", with("run/NetworkManager/conf.d/a.conf", "unmanaged-devices=*,except:interface-name:=ens5"), false},
		{"in the main file", with("etc/NetworkManager/NetworkManager.conf", "unmanaged-devices=interface-name:=ens6"), false},
		{"an exception", with("etc/NetworkManager/conf.d/a.conf", "unmanaged-devices=interface-name:ens*;except:interface-name:ens6"), true},
		{"others", with("etc/NetworkManager/conf.d/a.conf", "unmanaged-devices=interface-name:cali*;mac:02:00:00:00:00:ac"), true},
		{"only a pod", with("etc/NetworkManager/conf.d/a.conf", "unmanaged-devices=interface-name:pod*"), true},
	}
	for _, tt := range tests {
		root := t.TempDir()
		tt.files["run/NetworkManager/no-stub-resolv.conf"] = ""
		lay(t, root, tt.files)
		var out strings.Builder
		c := &checkup{t: &tool{out: &out}}
		c.networkManager(root, links)
		if c.sick != tt.sick {
			t.Errorf("%s: sick is %v: %s", tt.name, c.sick, &out)
		}
		if c.sick && !strings.Contains(out.String(), "manages ens6: put [keyfile] and unmanaged-devices=interface-name:pod*;interface-name:ens*;except:interface-name:ens5 ") {
			t.Errorf("%s: %s", tt.name, &out)
		}
	}
}

// poolOf is a store with an address of IPv4, and one of IPv6 or not.
func poolOf(six bool) *snapshot {
	s := &snapshot{addresses: []store.Address{{IP: netip.MustParseAddr("10.0.0.5")}}}
	if six {
		s.addresses = append(s.addresses, store.Address{IP: netip.MustParseAddr("2001:db8::5")})
	}
	return s
}

func TestForwarding(t *testing.T) {
	plain, whole, off := &network{}, &network{snat: &netconf.SNAT{Forward: new(true)}}, &network{snat: &netconf.SNAT{Forward: new(false)}}
	for _, tt := range []struct {
		command string
		net     *network
		want    string
		six     bool // the pool has an address of IPv6
	}{
		{"true", plain, "ok    no filter drops all that is forwarded", false},
		{"iptables-nft -P FORWARD ACCEPT", plain, "ok    no filter", false},
		{"iptables-nft -P INPUT DROP", plain, "ok    no filter", false},
		{"iptables-nft -P FORWARD DROP", plain, "BAD   chain FORWARD of table ip filter drops what is forwarded", false},
		{"iptables-nft -P FORWARD DROP", whole, `ok    chain FORWARD of table ip filter drops what is forwarded; eni-snat lets`, false},
		{"iptables-nft -P FORWARD DROP", off, "BAD   chain FORWARD", false},
		{"iptables-legacy -P FORWARD DROP", plain, "BAD   chain FORWARD of iptables-legacy drops", false},
		{"iptables-legacy -P FORWARD DROP", whole, "ok    chain FORWARD of iptables-legacy drops", false},
		{"iptables-legacy -P FORWARD ACCEPT", plain, "ok    no filter", false},
		{"nft 'add table inet f; add chain inet f c { type filter hook forward priority 0; policy drop; }'", whole, "BAD   chain c of table inet f drops", false},
		{"nft 'add table ip6 f; add chain ip6 f c { type filter hook forward priority 0; policy drop; }'", plain, "ok    no filter", false},
		{"ip6tables-legacy -P FORWARD DROP; ip6tables-nft -P FORWARD DROP", plain, "ok    no filter", false},
		{"true", plain, "ok    no filter", true},
		{"nft 'add table ip6 f; add chain ip6 f c { type filter hook forward priority 0; policy drop; }'", whole, "BAD   chain c of table ip6 f drops", true},
		{"ip6tables-nft -P FORWARD DROP", plain, "BAD   chain FORWARD of table ip6 filter drops what is forwarded", true},
		{"ip6tables-nft -P FORWARD DROP", whole, "ok    chain FORWARD of table ip6 filter drops what is forwarded; eni-snat lets", true},
		{"ip6tables-legacy -P FORWARD DROP", off, "BAD   chain FORWARD of ip6tables-legacy drops", true},
		{"ip6tables-legacy -P FORWARD DROP", whole, "ok    chain FORWARD of ip6tables-legacy drops", true},
		{"iptables-nft -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP", whole, "ok    chain FORWARD of table ip filter drops what is forwarded; eni-snat lets", true},
	} {
		ns := nstest.New(t)
		var out strings.Builder
		ns.Do(func() error {
			if err := exec.CommandContext(t.Context(), "sh", "-c", tt.command).Run(); err != nil {
				return err
			}
			c := &checkup{t: &tool{out: &out}}
			c.forwarding(tt.net, familiesOf(poolOf(tt.six).addresses))
			return nil
		})
		if !strings.HasPrefix(out.String(), tt.want) {
			t.Errorf("%s: %s want %s", tt.command, &out, tt.want)
		}
	}
}
