package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// The addresses are the recipe's own: 10.19.0.22 is the node, eth1 an ENI of another subnet, eth2 one of the same.
const (
	nodeIP  = "10.19.0.22"
	otherIP = "10.19.0.11" // another host of the VPC
)

// node is a machine with three ENIs in a VPC that drops what leaves an ENI with a source that it does not own.
type node struct {
	*nstest.NS
	vpc     *nstest.NS
	dataDir string
	enis    []store.ENI
	variant variant // of its configurations
}

type port struct {
	eni store.ENI
	ips []string
}

func ports() []port {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	return []port{
		{store.ENI{
			ID: "eni-0", DeviceIndex: 0, Primary: true, Table: layout.TableMain, MAC: "52:54:00:9b:34:09",
			Subnet: prefix("10.19.0.0/20"), Gateway: addr("10.19.0.1"), PrimaryIP: addr(nodeIP),
		}, []string{"10.19.0.40", "10.19.0.41"}},
		{store.ENI{
			ID: "eni-1", DeviceIndex: 1, Table: 2, MAC: "20:90:6f:ff:7b:f1", MTU: 1450,
			Subnet: prefix("10.19.16.0/20"), Gateway: addr("10.19.16.1"), PrimaryIP: addr("10.19.16.17"),
		}, []string{"10.19.16.6", "10.19.16.9"}},
		{store.ENI{
			ID: "eni-2", DeviceIndex: 2, Table: 3, MAC: "20:90:6f:e2:01:48",
			Subnet: prefix("10.19.0.0/20"), Gateway: addr("10.19.0.1"), PrimaryIP: addr("10.19.0.24"),
		}, []string{"10.19.0.32", "10.19.0.17"}},
	}
}

func newNode(t testing.TB) *node { return newNodeOf(t, variant{}) }

func newNodeOf(t testing.TB, v variant) *node {
	t.Helper()
	n := &node{variant: v, NS: nstest.New(t), vpc: nstest.New(t), dataDir: t.TempDir()}
	n.Do(func() error {
		// A bridge that is older than eth0 offers its address as the source to link-scope destinations.
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "docker0"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return err
		}
		return up("docker0", "172.17.0.1/16")
	})
	for i, p := range ports() {
		n.plug(t, i, p)
		n.enis = append(n.enis, p.eni)
	}
	n.Do(func() error {
		if err := up("eth0", nodeIP+"/20"); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("10.19.0.1")})
	})
	n.vpc.Do(func() error {
		return errors.Join(sysctl("ipv4/ip_forward", "1"), sysctl("ipv4/conf/all/rp_filter", "1"),
			up("lo", "10.19.0.1/32", "10.19.16.1/32", otherIP+"/32"))
	})
	err := store.At(n.dataDir).Update(context.Background(), func(tx *store.Tx) error { return n.fill(tx) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// plug connects an ENI's link with the VPC, which routes the ENI's addresses to it.
func (n *node) plug(t testing.TB, i int, p port) {
	t.Helper()
	name, far := fmt.Sprint("eth", i), fmt.Sprint("port", i)
	mac, err := net.ParseMAC(p.eni.MAC)
	if err != nil {
		t.Fatal(err)
	}
	n.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = name, mac
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far, PeerNamespace: netlink.NsFd(n.vpc.FD())})
	})
	n.vpc.Do(func() error {
		if err := up(far); err != nil {
			return err
		}
		link, err := netlink.LinkByName(far)
		if err != nil {
			return err
		}
		for _, a := range append(p.ips, p.eni.PrimaryIP.String()) {
			ip, index := net.ParseIP(a), link.Attrs().Index
			err := errors.Join(
				netlink.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: netlink.NewIPNet(ip)}),
				// A cloud knows the MAC of each address' ENI: it asks nobody.
				netlink.NeighSet(&netlink.Neigh{LinkIndex: index, IP: ip, HardwareAddr: mac, State: netlink.NUD_PERMANENT}))
			if err != nil {
				return err
			}
		}
		return sysctl("ipv4/conf/"+far+"/rp_filter", "1")
	})
}

func (n *node) fill(tx *store.Tx) error {
	if err := tx.SetNode(store.Node{InstanceID: "i-1", PrimaryENI: "eni-0"}); err != nil {
		return err
	}
	for _, p := range ports() {
		if err := tx.PutENI(p.eni); err != nil {
			return err
		}
		var ips []netip.Addr
		for _, ip := range p.ips {
			ips = append(ips, netip.MustParseAddr(ip))
		}
		if err := tx.AddAddresses(p.eni.ID, ips); err != nil {
			return err
		}
	}
	return nil
}

// conf is a configuration that takes addresses of the ENI.
func (n *node) conf(eni string) map[string]any {
	return n.variant.of(map[string]any{
		"cniVersion": "1.1.0", "name": "net", "type": "eni-ptp",
		"ipam": map[string]any{"type": "eni-ipam", "dataDir": n.dataDir, "eni": eni},
	})
}

// hostLocal is a configuration without a store.
func hostLocal(t testing.TB) map[string]any {
	return map[string]any{
		"cniVersion": "1.1.0", "name": "other", "type": "eni-ptp",
		"ipam": map[string]any{
			"type": "host-local", "dataDir": t.TempDir(),
			"ranges": []any{[]any{map[string]any{"subnet": "10.88.0.0/24"}}},
		},
	}
}

func up(name string, addresses ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

func sysctl(key, value string) error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0) }

// rules lists the namespace's IPv4 rules as ip does, without the kernel's own three.
func rules(t testing.TB, ns *nstest.NS) []string {
	t.Helper()
	return rulesOf(t, ns, netlink.FAMILY_V4)
}

func rulesOf(t testing.TB, ns *nstest.NS, family int) []string {
	t.Helper()
	var out []string
	ns.Do(func() error {
		all, err := netlink.RuleList(family)
		for _, k := range all {
			r := layout.Rule{Pref: k.Priority, Mark: k.Mark, Mask: mask(k), Out: k.OifName, Table: k.Table, From: parsed(k.Src), To: parsed(k.Dst)}
			if r.Pref != 0 && r.Pref < 32766 {
				out = append(out, r.String())
			}
		}
		return err
	})
	return out
}

func mask(k netlink.Rule) uint32 {
	if k.Mask == nil {
		return 0
	}
	return *k.Mask
}

// routes lists a table's routes as ip does; a container's host veth is called podX.
func routes(t testing.TB, ns *nstest.NS, table int) []string {
	t.Helper()
	var out []string
	ns.Do(func() error {
		all, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		if errors.Is(err, unix.ENOENT) { // there was never a route in it
			return nil
		}
		if err != nil {
			return err
		}
		for _, k := range all {
			link, err := netlink.LinkByIndex(k.LinkIndex)
			if err != nil {
				return err
			}
			name := link.Attrs().Name
			if strings.HasPrefix(name, "pod") {
				name = "podX"
			}
			r := layout.Route{Dst: parsed(k.Dst), Dev: layout.Device{Name: name}, Table: k.Table}
			if k.Gw != nil {
				r.Via = netip.MustParseAddr(k.Gw.String())
			}
			if k.Src != nil {
				r.Src = netip.MustParseAddr(k.Src.String())
			}
			out = append(out, r.String())
		}
		return nil
	})
	slices.Sort(out)
	return out
}

func parsed(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(n.String())
}

// everything is the node's links, rules and main table: what must be as before after a DEL.
func (n *node) everything(t testing.TB) []string {
	t.Helper()
	out := append(rules(t, n.NS), routes(t, n.NS, layout.TableMain)...)
	out = append(out, routes(t, n.NS, layout.TablePods)...)
	n.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			out = append(out, "link "+l.Attrs().Name)
		}
		return err
	})
	return out
}

// owned lists the addresses that containers have in the store.
func (n *node) owned(t testing.TB) []string {
	t.Helper()
	var out []string
	err := store.At(n.dataDir).View(context.Background(), func(tx *store.Tx) error {
		all, err := tx.Addresses()
		for _, a := range all {
			if a.State == store.Assigned {
				out = append(out, a.Owner.ContainerID+" "+a.IP.String())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pingWait is how long a reply may take; a network of veths on a busy machine answers in milliseconds.
const pingWait = 3 * time.Second

// resend is how long a request is given before it is sent again.
const resend = 200 * time.Millisecond

// ping sends an echo request from the namespace and returns the TTL of the reply, whose hops it so tells; of IPv4 alone.
func ping(t testing.TB, ns *nstest.NS, from, to string) (ttl int, err error) {
	t.Helper()
	ns.Do(func() error {
		if netip.MustParseAddr(to).Is6() {
			err = echo6(from, to)
		} else {
			ttl, err = echo(from, to)
		}
		if err != nil {
			err = fmt.Errorf("ping %s from %q: %w", to, from, err)
		}
		return nil
	})
	return ttl, err
}

func echo(from, to string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if from != "" {
		if err := unix.Bind(fd, sockaddr(from)); err != nil {
			return 0, err
		}
	}
	message := []byte{8, 0, 0, 0, 0x65, 0x6e, 0, 1, 'e', 'n', 'i', 'c', 'h', 'a', 'i', 'n'}
	binary.BigEndian.PutUint16(message[2:], checksum(message))
	deadline, again := time.Now().Add(pingWait), time.Time{}
	buffer := make([]byte, 1500)
	for time.Now().Before(deadline) {
		// A pair that was just made loses what it is given until the kernel has noticed that it is up.
		if time.Now().After(again) {
			if err := unix.Sendto(fd, message, 0, sockaddr(to)); err != nil {
				return 0, err
			}
			again = time.Now().Add(resend)
		}
		wait := unix.NsecToTimeval(resend.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return 0, err
		}
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return 0, err
		}
		reply := n == 20+len(message) && buffer[20] == 0 && string(buffer[28:n]) == "enichain"
		if reply && netip.AddrFrom4([4]byte(buffer[12:16])) == netip.MustParseAddr(to) {
			return int(buffer[8]), nil
		}
	}
	return 0, os.ErrDeadlineExceeded
}

func sockaddr(ip string) unix.Sockaddr {
	return &unix.SockaddrInet4{Addr: netip.MustParseAddr(ip).As4()}
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}
