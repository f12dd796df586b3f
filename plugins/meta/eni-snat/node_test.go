package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// node is a namespace with a primary interface, a veth of a container, and a store.
type node struct {
	t         *testing.T
	host      *nstest.NS
	container *nstest.NS
	dataDir   string
	user      uint32   // that the plugin runs as
	wrap      []string // a command that runs it, in mounts of its own; none where empty
}

const (
	primaryMAC = "02:00:00:00:00:10"
	hostVeth   = "pod0123456789ab"
)

func newNode(t *testing.T) *node {
	n := &node{t: t, host: nstest.New(t), container: nstest.New(t), dataDir: t.TempDir()}
	n.on(func() error {
		return errors.Join(n.veth("eth0", primaryMAC), n.veth(hostVeth, "02:00:00:00:00:20"), n.routes())
	})
	err := store.At(n.dataDir).Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.SetNode(store.Node{
				InstanceID: "i-1", PrimaryENI: "eni-0",
				VPCCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd00::/56")},
			}),
			tx.PutENI(store.ENI{
				ID: "eni-0", MAC: primaryMAC, Primary: true, Table: 254, Subnet: netip.MustParsePrefix("10.0.0.0/24"),
				Gateway: netip.MustParseAddr("10.0.0.1"), PrimaryIP: netip.MustParseAddr("10.0.0.10"),
			}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// on runs f in the host's namespace.
func (n *node) on(f func() error) { n.t.Helper(); n.host.Do(f) }

func (n *node) veth(name, mac string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace = "peer-"+name[:4], netlink.NsFd(n.container.FD())
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	hw, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	address, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetHardwareAddr(hw, address), netlink.LinkSetUp(hw))
}

func (n *node) routes() error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr("10.0.0.10/24")
	if err != nil {
		return err
	}
	return errors.Join(
		netlink.AddrAdd(eth0, address),
		netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: address.IP.Mask(address.Mask), Flags: int(netlink.FLAG_ONLINK)}),
	)
}

// conf is a network configuration; fields replace or add to the usual ones, and nil takes one away.
func (n *node) conf(fields map[string]any) []byte {
	n.t.Helper()
	all := map[string]any{
		"cniVersion": "1.1.0", "name": "podnet", "type": "eni-snat", "dataDir": n.dataDir,
		"prevResult": result("1.1.0", n.container.Path()),
	}
	for k, v := range fields {
		all[k] = v
		if v == nil {
			delete(all, k)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		n.t.Fatal(err)
	}
	return data
}

// result is eni-ptp's result for a container, in the words of a version.
func result(cniVersion, sandbox string) map[string]any {
	ip := map[string]any{"address": "10.0.1.20/32", "gateway": "169.254.1.1", "interface": 1}
	if cniVersion < "1.0.0" {
		ip["version"] = "4"
	}
	return map[string]any{
		"cniVersion": cniVersion,
		"interfaces": []any{
			map[string]any{"name": hostVeth, "mac": "02:00:00:00:00:20"},
			map[string]any{"name": "eth0", "mac": "02:00:00:00:00:21", "sandbox": sandbox},
		},
		"ips":    []any{ip},
		"routes": []any{map[string]any{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}},
		"dns":    map[string]any{"nameservers": []any{"10.0.0.2"}},
	}
}

// run runs the plugin on the host and returns what it printed, and its error if that is what it printed.
func (n *node) run(verb string, stdin []byte, env ...string) (string, *types.Error) {
	n.t.Helper()
	var stdout, stderr bytes.Buffer
	var failed error
	n.on(func() error {
		args := append(slices.Clone(n.wrap), os.Getenv(binEnv))
		cmd := exec.CommandContext(n.t.Context(), args[0], args[1:]...)
		cmd.Env = append([]string{
			"CNI_COMMAND=" + verb, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + n.container.Path(), "CNI_PATH=/nowhere",
		}, env...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n.user, Gid: n.user}}
		if len(n.wrap) > 0 {
			cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
		}
		failed = cmd.Run()
		return nil
	})
	if failed == nil {
		return stdout.String(), nil
	}
	var e types.Error
	if err := json.Unmarshal(stdout.Bytes(), &e); err != nil {
		n.t.Fatalf("%s: %v, and no error on stdout: %q %q", verb, failed, &stdout, &stderr)
	}
	return "", &e
}

// ok runs the plugin and fails the test where it fails.
func (n *node) ok(verb string, stdin []byte, env ...string) string {
	n.t.Helper()
	out, e := n.run(verb, stdin, env...)
	if e != nil {
		n.t.Fatalf("%s: code %d: %s; %s", verb, e.Code, e.Msg, e.Details)
	}
	return out
}

// refused runs the plugin, which must fail with the code and the words.
func (n *node) refused(verb string, stdin []byte, code uint, words string, env ...string) {
	n.t.Helper()
	out, e := n.run(verb, stdin, env...)
	if e == nil {
		n.t.Errorf("%s succeeded: %s", verb, out)
		return
	}
	if e.Code != code || !strings.Contains(e.Msg+"; "+e.Details, words) {
		n.t.Errorf("%s: code %d: %s; %s\nwant code %d: ...%s...", verb, e.Code, e.Msg, e.Details, code, words)
	}
}

// nft runs the nft binary on the host.
func (n *node) nft(args ...string) string {
	n.t.Helper()
	var out []byte
	n.on(func() (err error) {
		if out, err = exec.CommandContext(n.t.Context(), "nft", args...).CombinedOutput(); err != nil {
			err = fmt.Errorf("nft %v: %w\n%s", args, err, out)
		}
		return err
	})
	return string(out)
}
