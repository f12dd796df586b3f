package snat

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
)

// The addresses of the world.
const (
	nodeIP     = "10.0.0.10"       // eth0, the primary ENI's
	eth1IP     = "10.0.1.10"       // the secondary ENI's own
	pod0IP     = "10.0.0.20"       // a container on the primary ENI
	pod1IP     = "10.0.1.20"       // a container on the secondary ENI
	bridgedIP  = "10.0.0.30"       // something else on the node, not a container of ours
	vpcHostIP  = "10.0.2.9"        // in the VPC
	peerIP     = "172.16.0.9"      // beyond the VPC, with routes into it
	internetIP = "198.51.100.9"    // beyond the VPC, which knows the node's primary address alone
	metadataIP = "169.254.169.254" // in the fabric
	balancerIP = "203.0.113.5"     // a load balancer's, which the fabric sends to the node's primary ENI
)

// world is a node with two ENIs and two containers, of both families, in a VPC that drops packets with a source which is not
// of the ENI.
type world struct {
	t                                *testing.T
	vpc, node, pod0, pod1            *nstest.NS
	bridged, vpcHost, peer, internet *nstest.NS
	backend                          string
}

func newWorld(t *testing.T, backend string) *world {
	w := &world{t: t, backend: backend}
	for _, ns := range []**nstest.NS{&w.vpc, &w.node, &w.pod0, &w.pod1, &w.bridged, &w.vpcHost, &w.peer, &w.internet} {
		*ns = nstest.New(t)
		// Else an address could not be used for a second, not even to ask for a neighbour.
		w.sysctl(*ns, "ipv6/conf/all/accept_dad", "0")
		w.sysctl(*ns, "ipv6/conf/default/accept_dad", "0")
	}
	w.cable(w.vpc, "v0", w.node, "eth0")
	w.cable(w.vpc, "v1", w.node, "eth1")
	w.cable(w.vpc, "h0", w.vpcHost, "eth0")
	w.cable(w.vpc, "p0", w.peer, "eth0")
	w.cable(w.vpc, "i0", w.internet, "eth0")
	w.cable(w.node, "oth0", w.bridged, "eth0")
	w.fabric()
	w.host(w.vpcHost, vpcHostIP+"/24", "0.0.0.0/0", "10.0.2.1")
	w.host(w.peer, peerIP+"/24", "10.0.0.0/16", "172.16.0.1")
	w.host(w.internet, internetIP+"/24", nodeIP+"/32", "198.51.100.1")
	w.route(w.internet, balancerIP+"/32", "eth0", "198.51.100.1")
	w.host(w.bridged, bridgedIP+"/32", "0.0.0.0/0", nodeIP)
	w.host(w.vpcHost, vpcHostIP6+"/64", "::/0", fabricIP6)
	w.host(w.internet, internetIP6+"/64", "2001:db8::/32", fabricIP6)
	w.host(w.bridged, bridgedIP6+"/128", "::/0", fabricIP6)
	w.prepareNode()
	w.attach(w.pod0, layout.TableMain, pod0IP, pod0IP6)
	w.attach(w.pod1, 2, pod1IP, pod1IP6)
	for _, ns := range []*nstest.NS{w.vpc, w.node, w.pod0, w.pod1, w.vpcHost, w.peer, w.internet} {
		w.serve(ns)
	}
	w.settle()
	return w
}

// settle waits until each cable carries packets: a link that is up drops them until a worker of the kernel's has turned
// its queue on (net/core/link_watch.c).
func (w *world) settle() {
	w.t.Helper()
	for _, k := range []walk{
		{"", w.internet, "udp", nodeIP + ":80", internetIP},
		{"", w.peer, "udp", pod1IP + ":80", peerIP},
		{"", w.vpcHost, "udp", pod0IP + ":80", vpcHostIP},
		{"", w.bridged, "udp", nodeIP + ":80", bridgedIP},
		{"", w.internet, "udp", at(nodeIP6, 80), internetIP6},
		{"", w.internet, "udp", at(pod1IP6, 80), internetIP6},
		{"", w.vpcHost, "udp", at(pod0IP6, 80), vpcHostIP6},
		{"", w.bridged, "udp", at(nodeIP6, 80), bridgedIP6},
	} {
		const attempts = 20
		for i := 0; w.ask(k.from, k.network, k.to, silence) != k.want; i++ {
			if i == attempts {
				w.t.Fatalf("%s does not reach %s", k.want, k.to)
			}
		}
	}
}

// fabric is the VPC: it routes each address to its ENI, and takes from an ENI only its addresses.
func (w *world) fabric() {
	for dev, cidr := range map[string]string{
		"v0": "10.0.0.1/24", "v1": "10.0.1.1/24", "h0": "10.0.2.1/24", "p0": "172.16.0.1/24", "i0": "198.51.100.1/24",
		"lo": metadataIP + "/32",
	} {
		w.address(w.vpc, dev, cidr)
	}
	for dev, to := range map[string][]string{
		"v0": {nodeIP6 + "/128", pod0IP6 + "/128", bridgedIP6 + "/128", balancerIP6 + "/128"}, "v1": {eth1IP6 + "/128", pod1IP6 + "/128"},
		"h0": {vpcHostIP6 + "/64"}, "i0": {internetIP6 + "/64"},
	} {
		w.address(w.vpc, dev, fabricIP6+"/64")
		for i, dst := range to {
			via := ""
			if i > 0 { // one of a container is its ENI's to deliver
				via = strings.TrimSuffix(to[0], "/128")
			}
			w.route(w.vpc, dst, dev, via)
		}
	}
	w.sysctl(w.vpc, "ipv6/conf/all/forwarding", "1")
	w.route(w.vpc, pod0IP+"/32", "v0", nodeIP)
	w.route(w.vpc, bridgedIP+"/32", "v0", nodeIP)
	w.route(w.vpc, balancerIP+"/32", "v0", nodeIP)
	w.route(w.vpc, pod1IP+"/32", "v1", eth1IP)
	w.sysctl(w.vpc, "ipv4/ip_forward", "1")
	w.in(w.vpc, func() {
		nft(w.t, fmt.Sprintf(`add table ip vpc; add chain ip vpc spoofed { type filter hook prerouting priority -300; };
			add rule ip vpc spoofed iifname v0 ip saddr != { %s, %s, %s, %s } drop;
			add rule ip vpc spoofed iifname v1 ip saddr != { %s, %s } drop`,
			nodeIP, pod0IP, bridgedIP, balancerIP, eth1IP, pod1IP))
		nft(w.t, fmt.Sprintf(`add table ip6 vpc; add chain ip6 vpc spoofed { type filter hook prerouting priority -300; };
			add rule ip6 vpc spoofed iifname v0 ip6 saddr != { fe80::/10, %s, %s, %s, %s } drop;
			add rule ip6 vpc spoofed iifname v1 ip6 saddr != { fe80::/10, %s, %s } drop`,
			nodeIP6, pod0IP6, bridgedIP6, balancerIP6, eth1IP6, pod1IP6))
	})
}

// prepareNode gives the node its own addresses and what eni-ptp gives it.
func (w *world) prepareNode() {
	w.address(w.node, "eth0", nodeIP+"/24")
	w.route(w.node, "0.0.0.0/0", "eth0", "10.0.0.1")
	w.route(w.node, bridgedIP+"/32", "oth0", "")
	w.address(w.node, "eth0", nodeIP6+"/128")
	w.route(w.node, "::/0", "eth0", fabricIP6)
	w.address(w.node, "oth0", fabricIP6+"/64")
	w.route(w.node, bridgedIP6+"/128", "oth0", "")
	inside(w.t, w.node, func(h *netstate.Handle) {
		eth0, err := h.LinkByName("eth0")
		w.must(err)
		eth1, err := h.LinkByName("eth1")
		w.must(err)
		w.must(h.Apply(layout.Node(eth0.Device)))
		w.must(h.Apply(layout.Forwarding6(eth0.Device)))
		w.must(h.Apply(layout.ENI(store.ENI{
			ID: "eni-1", DeviceIndex: 1, Table: 2, Subnet: netip.MustParsePrefix("10.0.1.0/24"),
			Gateway: netip.MustParseAddr("10.0.1.1"), PrimaryIP: netip.MustParseAddr(eth1IP),
			Gateway6: netip.MustParseAddr(fabricIP6), PrimaryIP6: netip.MustParseAddr(eth1IP6),
		}, eth1.Device, netconf.PerPod)))
	})
}

// attach gives a container its interface and its addresses, as eni-ptp does.
func (w *world) attach(ns *nstest.NS, table int, ips ...string) {
	netns, err := sandbox.Open(ns.Path())
	w.must(err)
	defer func() { _ = netns.Close() }()
	id := layout.Identify("pod", ips[0], "eth0")
	a := layout.Attachment{VethMAC: id.MAC}
	for _, ip := range ips {
		a.Addresses = append(a.Addresses, layout.Address{IP: netip.MustParseAddr(ip), Table: table})
	}
	inside(w.t, w.node, func(h *netstate.Handle) {
		veth, err := h.AddVeth(netstate.Veth{Name: id.Veth, MAC: id.MAC, Peer: "eth0", PeerMAC: id.Peer, PeerIn: netns})
		w.must(err)
		a.Veth = veth.Device
		w.must(h.Apply(layout.OnHost(a)))
	})
	inside(w.t, ns, func(h *netstate.Handle) {
		eth0, err := h.LinkByName("eth0")
		w.must(err)
		a.Interface = eth0.Device
		w.must(h.Apply(layout.State{Sysctls: layout.SysctlsInside(a)}))
		w.must(h.Apply(layout.Inside(a)))
	})
}

// must ends the test at an error.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) in(ns *nstest.NS, f func()) {
	w.t.Helper()
	ns.Do(func() error { f(); return nil })
}

// cable joins two namespaces.
func (w *world) cable(a *nstest.NS, nameA string, b *nstest.NS, nameB string) {
	w.t.Helper()
	w.in(a, func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = nameA
		pair := netlink.NewVeth(attrs)
		pair.PeerName, pair.PeerNamespace = nameB, netlink.NsFd(b.FD())
		w.must(netlink.LinkAdd(pair))
		w.must(netlink.LinkSetUp(pair))
	})
	w.in(b, func() {
		link, err := netlink.LinkByName(nameB)
		w.must(err)
		w.must(netlink.LinkSetUp(link))
	})
}

func (w *world) host(ns *nstest.NS, cidr, to, via string) {
	w.address(ns, "eth0", cidr)
	w.route(ns, to, "eth0", via)
}

func (w *world) address(ns *nstest.NS, dev, cidr string) {
	w.t.Helper()
	w.in(ns, func() {
		link, err := netlink.LinkByName(dev)
		w.must(err)
		addr, err := netlink.ParseAddr(cidr)
		w.must(err)
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		w.must(netlink.AddrAdd(link, addr))
	})
}

func (w *world) route(ns *nstest.NS, to, dev, via string) {
	w.t.Helper()
	w.in(ns, func() {
		link, err := netlink.LinkByName(dev)
		w.must(err)
		_, dst, err := net.ParseCIDR(to)
		w.must(err)
		r := &netlink.Route{Dst: dst, LinkIndex: link.Attrs().Index, Gw: net.ParseIP(via), Flags: int(netlink.FLAG_ONLINK)}
		if via == "" {
			r.Scope, r.Flags = netlink.SCOPE_LINK, 0
		}
		w.must(netlink.RouteAdd(r))
	})
}

func (w *world) sysctl(ns *nstest.NS, key, value string) {
	w.t.Helper()
	w.in(ns, func() { w.must(os.WriteFile("/proc/sys/net/"+key, []byte(value), 0)) })
}

// serve answers TCP and UDP at port 80 with the address that the request came from.
func (w *world) serve(ns *nstest.NS) {
	w.in(ns, func() {
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{Port: 80})
		w.must(err)
		udp, err := net.ListenUDP("udp", &net.UDPAddr{Port: 80})
		w.must(err)
		done := make(chan struct{}, 2)
		w.t.Cleanup(func() { _, _ = tcp.Close(), udp.Close(); <-done; <-done })
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, c.RemoteAddr().(*net.TCPAddr).IP.String())
				_ = c.Close()
			}
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			for buf := make([]byte, 64); ; {
				_, from, err := udp.ReadFromUDP(buf)
				if err != nil {
					return
				}
				_, _ = udp.WriteToUDP([]byte(from.IP.String()), from)
			}
		}()
	})
}

// silence is how long an answer is waited for that must not come, and enough, for one that must.
const (
	silence = 400 * time.Millisecond
	enough  = 5 * time.Second
)

// ask returns the address that the far end saw; "nothing" where no answer came, "refused" where a port was closed.
func (w *world) ask(ns *nstest.NS, network, to string, wait time.Duration) (seen string) {
	w.t.Helper()
	w.in(ns, func() {
		if network == "icmp" {
			seen = w.ping(to, wait)
			return
		}
		d := net.Dialer{Timeout: wait}
		c, err := d.Dial(network, to)
		if err != nil {
			seen = verdict(err)
			return
		}
		defer c.Close()
		w.must(c.SetDeadline(time.Now().Add(wait)))
		if network == "udp" {
			_, err = c.Write([]byte("?"))
			w.must(err)
		}
		buf := make([]byte, 64)
		n, err := c.Read(buf)
		if err != nil {
			seen = verdict(err)
			return
		}
		seen = string(buf[:n])
	})
	return seen
}

func verdict(err error) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "nothing"
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	}
	return err.Error()
}

// ping sends one echo request from the calling thread's namespace and says whether it was answered.
func (w *world) ping(to string, wait time.Duration) string {
	c, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	w.must(err)
	defer c.Close()
	id := uint16(time.Now().UnixNano())
	request := []byte{8, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}
	sum := checksum(request)
	request[2], request[3] = byte(sum>>8), byte(sum)
	_, err = c.WriteTo(request, &net.IPAddr{IP: net.ParseIP(to)})
	w.must(err)
	w.must(c.SetDeadline(time.Now().Add(wait)))
	for buf := make([]byte, 256); ; {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return verdict(err)
		}
		if n >= 8 && buf[0] == 0 && buf[4] == request[4] && buf[5] == request[5] && from.String() == to {
			return "answered"
		}
	}
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// rules runs nft commands on the node.
func (w *world) rules(commands ...string) {
	w.t.Helper()
	w.in(w.node, func() { nft(w.t, strings.Join(commands, ";")) })
}

// policy applies a policy on the node.
func (w *world) policy(p Policy) {
	w.t.Helper()
	p.Backend = w.backend
	inside(w.t, w.node, func(h *netstate.Handle) {
		apply(w.t, h, p)
		if d := check(w.t, h, p); d != "" {
			w.t.Errorf("check after apply says %q", d)
		}
	})
}

// conversation opens a UDP flow; each call sends on it and returns what the far end saw.
func (w *world) conversation(ns *nstest.NS, to string) func() string {
	w.t.Helper()
	var c net.Conn
	w.in(ns, func() {
		var err error
		c, err = net.Dial("udp", to)
		w.must(err)
	})
	w.t.Cleanup(func() { _ = c.Close() })
	return func() string {
		w.must(c.SetDeadline(time.Now().Add(enough)))
		_, err := c.Write([]byte("?"))
		w.must(err)
		buf := make([]byte, 64)
		n, err := c.Read(buf)
		if err != nil {
			return verdict(err)
		}
		return string(buf[:n])
	}
}

// damage takes the ruleset or the chains away.
func (w *world) damage() {
	w.t.Helper()
	if w.backend == netconf.NFTables {
		w.rules("flush table ip " + Table)
		return
	}
	w.in(w.node, func() { command(w.t, "iptables", "-t", "mangle", "-F"); command(w.t, "iptables", "-t", "nat", "-F") })
}

// clean takes all rules from the node, whoever made them.
func (w *world) clean() {
	w.t.Helper()
	w.in(w.node, func() {
		nft(w.t, "flush ruleset")
		command(w.t, "sh", "-c", "for p in iptables ip6tables; do for t in mangle nat; do $p-legacy -t $t -F; $p-legacy -t $t -X; done; done")
	})
}
