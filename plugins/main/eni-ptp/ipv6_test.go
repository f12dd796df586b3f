package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// The IPv6 world: the VPC is 2001:db8:1::/48, and its router has the address that Amazon's has on every link.
const (
	gateway6 = "fe80:ec2::1"
	node6    = "2001:db8:1::10"    // eth0's
	far6     = "2001:db8:2::1"     // beyond the VPC
	eth1IP6  = "2001:db8:1:10::17" // eth1's own
	first6   = "2001:db8:1:10::a"  // containers' on eth1
	second6  = "2001:db8:1:10::b"  //
	other6   = "2001:db8:1::2:a"   // a container's on eth2, which has no IPv6 address of its own
	primary6 = "2001:db8:1::3:a"   // a container's on eth0
)

// newNode6 is newNode with IPv6 beside IPv4: the primary ENI learnt its default route from the router.
func newNode6(t testing.TB) *node { return newNode6Of(t, variant{}) }

func newNode6Of(t testing.TB, v variant) *node {
	n := newNodeOf(t, v)
	of := map[string][]string{"eth0": {primary6}, "eth1": {first6, second6}, "eth2": {other6}}
	n.vpc.Do(func() error {
		spoofed := `add table ip6 vpc; add chain ip6 vpc c { type filter hook prerouting priority -300; };
			add rule ip6 vpc c ip6 saddr 2001:db8::/32 fib saddr . iif oif missing counter drop`
		if out, err := exec.CommandContext(t.Context(), "nft", spoofed).CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return errors.Join(sysctl("ipv6/conf/all/forwarding", "1"), up("lo", far6+"/128"))
	})
	for i, name := range []string{"eth0", "eth1", "eth2"} {
		ips := of[name]
		switch name {
		case "eth0":
			ips = append(ips, node6)
		case "eth1":
			ips = append(ips, eth1IP6)
		}
		n.plug6(t, fmt.Sprint("port", i), ips, n.enis[i].MAC)
	}
	n.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(node6 + "/128")
		if err != nil {
			return err
		}
		address.Flags = unix.IFA_F_NODAD
		const learnt = 9 // RTPROT_RA
		return errors.Join(sysctl("ipv6/conf/eth0/accept_ra", "1"), netlink.AddrAdd(eth0, address),
			netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.ParseIP(gateway6), Protocol: learnt, Dst: parsedNet("::/0")}))
	})
	n.fill6(t, of)
	return n
}

func parsedNet(s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return n
}

// plug6 gives the router its address on a port, and routes addresses to it.
func (n *node) plug6(t testing.TB, port string, ips []string, mac string) {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	n.vpc.Do(func() error {
		link, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(gateway6 + "/64")
		if err != nil {
			return err
		}
		address.Flags = unix.IFA_F_NODAD
		err = netlink.AddrAdd(link, address)
		for _, ip := range ips {
			err = errors.Join(err,
				netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: parsedNet(ip + "/128")}),
				netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.ParseIP(ip), HardwareAddr: hw, State: netlink.NUD_PERMANENT}))
		}
		return err
	})
}

// fill6 tells the store of IPv6.
func (n *node) fill6(t testing.TB, of map[string][]string) {
	t.Helper()
	err := store.At(n.dataDir).Update(t.Context(), func(tx *store.Tx) error {
		for i, name := range []string{"eth0", "eth1", "eth2"} {
			eni := n.enis[i]
			eni.Gateway6 = netip.MustParseAddr(gateway6)
			eni.Subnet6 = netip.MustParsePrefix("2001:db8:1::/64")
			switch name {
			case "eth0":
				eni.PrimaryIP6 = netip.MustParseAddr(node6)
			case "eth1":
				eni.Subnet6, eni.PrimaryIP6 = netip.MustParsePrefix("2001:db8:1:10::/64"), netip.MustParseAddr(eth1IP6)
			}
			var ips []netip.Addr
			for _, ip := range of[name] {
				ips = append(ips, netip.MustParseAddr(ip))
			}
			if err := errors.Join(tx.PutENI(eni), tx.AddAddresses(eni.ID, ips)); err != nil {
				return err
			}
			n.enis[i] = eni
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// conf6 is a configuration whose containers get the addresses; the first is the store's where it is empty.
func (n *node) conf6(eni, address, second string) map[string]any {
	c := n.conf(eni)
	section := c["ipam"].(map[string]any)
	section["address"], section["second"] = address, second
	return c
}

func TestDualStack(t *testing.T) { onEach(t, dualStackOn) }

func dualStackOn(t *testing.T, v variant) {
	n := newNode6Of(t, v)
	before := n.everything(t)
	a, b, c, only := nstest.New(t), nstest.New(t), nstest.New(t), nstest.New(t)
	disabled := func() error { return sysctl("ipv6/conf/default/disable_ipv6", "1") } // as runtimes do
	only.Do(disabled)
	calls := []plugin{
		{id: "a", netns: a.Path(), conf: n.conf6("eni-1", "", first6)},
		{id: "b", netns: b.Path(), conf: n.conf6("eni-2", "", other6)},
		{id: "c", netns: c.Path(), conf: n.conf6("eni-0", "", primary6)},
		{id: "only", netns: only.Path(), conf: n.conf6("eni-1", second6, "")},
	}
	for _, p := range calls {
		succeed(t, n.NS, p.checking(add(t, n.NS, p)))
		add(t, n.NS, p) // again
	}
	want := []string{
		"512: from all to " + eth1IP6 + " lookup main", "512: from all to " + first6 + " lookup main", "512: from all to " + other6 + " lookup main",
		"512: from all to " + primary6 + " lookup main", "512: from all to " + second6 + " lookup main",
		"1536: from " + eth1IP6 + " lookup 2", "1536: from " + first6 + " lookup 2", "1536: from " + other6 + " lookup 3", "1536: from " + second6 + " lookup 2",
	}
	if v.routing == netconf.PerENI {
		want = []string{
			"512: from all to " + eth1IP6 + " lookup main", "512: from all lookup 101512",
			"1536: from " + eth1IP6 + " lookup 2", "1536: from all fwmark 0x2/0x3f lookup 2", "1536: from all fwmark 0x3/0x3f lookup 3",
		}
	}
	if diff := cmp.Diff(want, rulesOf(t, n.NS, netlink.FAMILY_V6)); diff != "" {
		t.Errorf("unexpected rules of IPv6 (-want +got):\n%s", diff)
	}
	walks := []struct {
		name     string
		in       *nstest.NS
		from, to string
	}{
		{"container beyond the VPC", a, "", far6},
		{"container of an ENI without an address of its own", b, "", far6},
		{"container on the primary ENI", c, "", far6},
		{"container with IPv6 alone", only, "", far6},
		{"container to its node", a, "", node6},
		{"container to a container on another ENI", a, "", other6},
		{"container to a container on the primary ENI", a, "", primary6},
		{"container to one of the same ENI", only, "", first6},
		{"node to container", n.NS, "", first6},
		{"node to container on the primary ENI", n.NS, "", primary6},
		{"the ENI's own address", n.NS, eth1IP6, far6},
		{"from beyond the VPC", n.vpc, far6, second6},
		{"from beyond the VPC to the ENI without an address", n.vpc, far6, other6},
		{"IPv4 beside it", a, "", otherIP},
		{"IPv4 on the primary ENI", c, "", otherIP},
	}
	for _, w := range walks {
		if _, err := ping(t, w.in, w.from, w.to); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
	}
	for _, p := range calls {
		p.verb = "DEL"
		succeed(t, n.NS, p)
	}
	if left := rulesOf(t, n.NS, netlink.FAMILY_V6); len(left) != v.shared() {
		t.Errorf("left of IPv6: %q, want %d", left, v.shared())
	}
	after := n.everything(t)
	for _, line := range after {
		if strings.Contains(line, "pod") && !slices.Contains(before, line) {
			t.Errorf("left: %s", line)
		}
	}
}

// checking is the CHECK of an ADD with its result.
func (p plugin) checking(result *types100.Result) plugin {
	p.verb, p.conf = "CHECK", with(p.conf, map[string]any{"prevResult": result})
	return p
}

// A packet with a source that is not the ENI's is dropped: the walks above prove by which ENI they went.
func TestTheWrongENIIsDroppedForIPv6(t *testing.T) { onEach(t, theWrongENIIsDroppedForIPv6On) }

func theWrongENIIsDroppedForIPv6On(t *testing.T, v variant) {
	n := newNode6Of(t, v)
	a := nstest.New(t)
	add(t, n.NS, plugin{id: "a", netns: a.Path(), conf: n.conf6("eni-1", "", first6)})
	n.Do(func() error {
		r := shared(1536, 2, 2)
		r.Family = netlink.FAMILY_V6
		if v.routing == netconf.PerPod {
			r.Mark, r.Mask, r.Src = 0, nil, parsedNet(first6+"/128")
		}
		return netlink.RuleDel(r)
	})
	if _, err := ping(t, a, "", far6); err == nil {
		t.Error("a packet left by the primary ENI, and was answered")
	}
}

// Over another IPAM both families are routed by main, and a DEL without a prevResult leaves nothing.
func TestDualStackOverHostLocal(t *testing.T) { onLayouts(t, dualStackOverHostLocalOn) }

func dualStackOverHostLocalOn(t *testing.T, v variant) {
	n := newNode6Of(t, v)
	before := n.everything(t)
	a, b := nstest.New(t), nstest.New(t)
	conf := v.of(hostLocal(t))
	conf["ipam"].(map[string]any)["ranges"] = []any{
		[]any{map[string]any{"subnet": "10.88.0.0/24"}}, []any{map[string]any{"subnet": "fd00:88::/64"}},
	}
	first := add(t, n.NS, plugin{id: "a", netns: a.Path(), conf: conf})
	second := add(t, n.NS, plugin{id: "b", netns: b.Path(), conf: conf})
	for _, ip := range second.IPs {
		if _, err := ping(t, a, "", ip.Address.IP.String()); err != nil {
			t.Error(err)
		}
	}
	succeed(t, n.NS, plugin{id: "a", netns: a.Path(), conf: conf}.checking(first))
	for _, id := range []string{"a", "b"} {
		succeed(t, n.NS, plugin{verb: "DEL", id: id, netns: "", conf: conf})
	}
	after := slices.DeleteFunc(n.everything(t), func(line string) bool { return !slices.Contains(before, line) && isENI(line) })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("left (-before +after):\n%s", diff)
	}
	if left := rulesOf(t, n.NS, netlink.FAMILY_V6); len(left) > 1 || v.routing == netconf.PerPod && len(left) > 0 {
		t.Errorf("left of IPv6: %q", left)
	}
}

func TestResultOfTwoFamilies(t *testing.T) {
	n := newNode6(t)
	a := nstest.New(t)
	result := add(t, n.NS, plugin{id: "a", netns: a.Path(), conf: n.conf6("eni-1", "", first6)})
	var lines []string
	for _, ip := range result.IPs {
		lines = append(lines, fmt.Sprintf("%s via %s on %d", ip.Address.String(), ip.Gateway, *ip.Interface))
	}
	for _, r := range result.Routes {
		lines = append(lines, fmt.Sprintf("%s via %s", r.Dst.String(), r.GW))
	}
	want := []string{
		"10.19.16.6/32 via 169.254.1.1 on 1", first6 + "/128 via fe80::1 on 1",
		"0.0.0.0/0 via 169.254.1.1", "169.254.1.1/32 via <nil>", "::/0 via fe80::1", "fe80::1/128 via <nil>",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("unexpected result (-want +got):\n%s", diff)
	}
}

// Each piece that is missing is named, and an ADD of the same container mends it.
func TestCheckNamesEachPieceOfIPv6(t *testing.T) { onEach(t, checkNamesEachPieceOfIPv6On) }

func checkNamesEachPieceOfIPv6On(t *testing.T, v variant) {
	n := newNode6Of(t, v)
	a := nstest.New(t)
	p := plugin{id: "a", netns: a.Path(), conf: n.conf6("eni-1", "", first6)}
	result := add(t, n.NS, p)
	veth := layout.Identify("pod", "a", "eth0").Veth
	leave, leaving, reach := "ip -6 rule del pref 1536 from "+first6, first6, "ip -6 rule del pref 512 to "+first6
	if v.routing == netconf.PerENI {
		leave, leaving, reach = "ip -6 rule del pref 1536 fwmark 0x2/0x3f", "all fwmark 0x2/0x3f", "ip -6 rule del pref 512 table 101512"
	}
	for _, tt := range []struct {
		ns           *nstest.NS
		damage, want string
	}{
		{n.NS, leave, "rule \"1536: from " + leaving + " lookup 2\" is missing"},
		{n.NS, reach, "is missing"},
		{n.NS, fmt.Sprint("ip -6 route del ", first6, " dev ", veth, " table ", v.table()), "route \"" + first6 + " dev " + veth},
		{n.NS, "ip -6 addr del fe80::1/64 dev " + veth, "address fe80::1/64 is missing"},
		{n.NS, "ip -6 route flush table 2", "route \"default via " + gateway6 + " dev eth1 table 2\" is missing"},
		{n.NS, "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding", "sysctl net/ipv6/conf/all/forwarding is 0, not 1"},
		{n.NS, "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra", "accept_ra is 1, not 2"},
		{a, "ip -6 route del default", "in the container: \"ip route get 2001:db8::1 from " + first6 + "\""},
		{a, "ip -6 neigh del fe80::1 dev eth0", "in the container: neighbour \"fe80::1"},
		{a, "ip -6 addr del " + first6 + "/128 dev eth0", "in the container: address " + first6 + "/128 is missing"},
	} {
		tt.ns.Do(func() error {
			out, err := exec.CommandContext(t.Context(), "sh", "-c", tt.damage).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", tt.damage, err, out)
			}
			return err
		})
		if _, err := run(t, n.NS, p.checking(result)); err == nil || !strings.Contains(err.Msg, tt.want) {
			t.Errorf("%s: CHECK says %v, want %q", tt.damage, err, tt.want)
		}
		succeed(t, n.NS, p.checking(add(t, n.NS, p)))
	}
	if _, err := ping(t, a, "", far6); err != nil {
		t.Error(err)
	}
}

// A link below IPv6's least MTU would silently be without it.
func TestAnMTUThatIsTooSmallForIPv6(t *testing.T) {
	n := newNode6(t)
	a := nstest.New(t)
	conf := n.conf6("eni-1", "", first6)
	conf["mtu"] = 1279
	_, err := run(t, n.NS, plugin{verb: "ADD", id: "a", netns: a.Path(), conf: conf})
	if err == nil || !strings.Contains(err.Details, "IPv6 needs 1280") {
		t.Errorf("ADD says %v", err)
	}
}

// echo6 is echo for IPv6; the kernel does the checksum.
func echo6(from, to string) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if from != "" {
		if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.MustParseAddr(from).As16()}); err != nil {
			return err
		}
	}
	message := []byte{128, 0, 0, 0, 0x65, 0x6e, 0, 1, 'e', 'n', 'i', 'c', 'h', 'a', 'i', 'n'}
	destination := &unix.SockaddrInet6{Addr: netip.MustParseAddr(to).As16()}
	buffer := make([]byte, 1500)
	for deadline, again := time.Now().Add(pingWait), (time.Time{}); time.Now().Before(deadline); {
		if time.Now().After(again) {
			if err := unix.Sendto(fd, message, 0, destination); err != nil {
				return err
			}
			again = time.Now().Add(resend)
		}
		wait := unix.NsecToTimeval(resend.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return err
		}
		n, sender, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return err
		}
		if s, ok := sender.(*unix.SockaddrInet6); ok && n == len(message) && buffer[0] == 129 && s.Addr == destination.Addr {
			return nil
		}
	}
	return os.ErrDeadlineExceeded
}
