package lab

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/vpcsim"
)

// igwPort is the router's link to the internet: the VPC's internet gateway.
const igwPort = "igw"

// fabric carries out in namespaces what the cloud's API changed.
type fabric struct {
	host             *Host // the router
	router, internet *netlink.Handle
	guard            *guard
	igw              int // ifindex in the internet of its link to the router

	mu       sync.Mutex
	nodes    map[string]*Node // by instance ID
	ports    map[string]port  // by ENI ID
	hotplug  string           // the format of links' names from now on
	provider provider
}

// port is the router's end of an ENI.
type port struct {
	index int
	name  string
	link  string           // the ENI's name in its node
	mac   net.HardwareAddr // the ENI's
}

// newFabric joins the router and the internet, and sets the guard up.
func newFabric(router, internet *Host, p provider) (*fabric, error) {
	f := &fabric{host: router, nodes: map[string]*Node{}, ports: map[string]port{}, hotplug: linkNames, provider: p}
	if err := f.open(router, internet); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *fabric) open(router, internet *Host) (err error) {
	if f.router, err = router.Handle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if f.internet, err = internet.Handle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	index, err := f.cable(igwPort, net.HardwareAddr{2, 0, 0, 0, 0, 1}, internet, "eth0", net.HardwareAddr{2, 0, 0, 0, 0, 2}, internetMTU)
	if err != nil {
		return err
	}
	if err := setUp(f.router, igwPort, internetGateway()); err != nil {
		return err
	}
	if err := setUp(f.internet, "eth0", internetHost()); err != nil {
		return err
	}
	far, err := f.internet.LinkByName("eth0")
	if err != nil {
		return err
	}
	f.igw = far.Attrs().Index
	if f.guard, err = newGuard(router, index); err != nil || !f.provider.six() {
		return err
	}
	return errors.Join(f.guard.addIPv6(index), f.joinIPv6())
}

func (f *fabric) close() error {
	for _, h := range []*netlink.Handle{f.router, f.internet} {
		if h != nil {
			h.Close()
		}
	}
	if f.guard != nil {
		return f.guard.close()
	}
	return nil
}

func (f *fabric) addNode(n *Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[n.InstanceID] = n
}

// cable makes a link between the router and a host, both ends in place and down, and returns the router's end.
func (f *fabric) cable(name string, mac net.HardwareAddr, to *Host, peer string, peerMAC net.HardwareAddr, mtu int) (int, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = name, mac, mtu
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = peer, peerMAC, uint32(mtu)
	veth.PeerNamespace = netlink.NsFd(to.in.net.Fd())
	if err := f.router.LinkAdd(veth); err != nil {
		return 0, fmt.Errorf("link %s of the router to %s of %s: %w", name, peer, to.Name, err)
	}
	// A delay before the answer is for routers that stand in for others; a fabric answers at once.
	for host, settings := range map[*Host][]sysctl{
		f.host: append(askOften(name), sysctl{"neigh/" + name + "/proxy_delay", "0"}),
		to:     askOften(peer),
	} {
		if err := host.Do(func() error { return f.provider.writeBoth(settings) }); err != nil {
			return 0, err
		}
	}
	link, err := f.router.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("find %s of the router: %w", name, err)
	}
	return link.Attrs().Index, nil
}

// askOften makes a lost ARP request cost 50 ms and not a second, and still gives up after three seconds. The end of a veth
// pair that was set up first begins to send a moment after the other was (the kernel's linkwatch works in the
// background), and loses what it is given until then; real links do not.
func askOften(link string) []sysctl {
	return []sysctl{{"neigh/" + link + "/retrans_time_ms", "50"}, {"neigh/" + link + "/mcast_solicit", "60"}}
}

// Attach makes the ENI appear in its node: down and bare, or, for the primary one, as DHCP configures it.
func (f *fabric) Attach(eni vpcsim.ENI) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	node, ok := f.nodes[eni.InstanceID]
	if !ok {
		return fmt.Errorf("instance %s is not in the lab", eni.InstanceID)
	}
	link, err := node.freeName(f.hotplug)
	if err != nil {
		return err
	}
	name := portName(node.Name, link)
	mac := append(net.HardwareAddr{eni.MAC[0] ^ 4}, eni.MAC[1:]...) // told apart from the ENI's by one bit
	index, err := f.cable(name, mac, &node.Host, link, eni.MAC, f.provider.mtu)
	if err != nil {
		return err
	}
	if err := setUp(f.router, name, f.provider.portAddresses()...); err != nil {
		return err
	}
	f.ports[eni.ID] = port{index: index, name: name, link: link, mac: eni.MAC}
	if eni.DeviceIndex != 0 {
		return nil
	}
	if err := node.lease(eni, link); err != nil {
		return fmt.Errorf("configure %s of %s: %w", link, node.Name, err)
	}
	return f.publish(eni.PrimaryIP)
}

// Detach takes the ENI out of its node. Its addresses go with it.
func (f *fabric) Detach(eni vpcsim.ENI) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.ports[eni.ID]
	if !ok {
		return nil
	}
	link, err := f.router.LinkByName(p.name)
	if err != nil {
		return fmt.Errorf("find %s: %w", p.name, err)
	}
	if err := f.router.LinkDel(link); err != nil {
		return fmt.Errorf("delete %s: %w", p.name, err)
	}
	delete(f.ports, eni.ID)
	return f.guard.forbid(p.index)
}

// Assign makes the fabric deliver the address to the ENI, and accept it as a source from there.
func (f *fabric) Assign(eni vpcsim.ENI, ip netip.Addr) error {
	if ip.Is6() {
		return f.AssignPrefix(eni, netip.PrefixFrom(ip, 128))
	}
	p, err := f.port(eni)
	if err != nil {
		return err
	}
	if err := f.guard.allow(p.index, ip); err != nil {
		return fmt.Errorf("accept %s from %s: %w", ip, p.name, err)
	}
	// The cloud knows where an address is; it does not ask the instance.
	if err := f.router.NeighSet(p.neighbour(ip)); err != nil {
		return fmt.Errorf("add neighbour %s at %s: %w", ip, p.name, err)
	}
	if err := f.router.RouteReplace(p.route(ip)); err != nil {
		return fmt.Errorf("add route %s to %s: %w", ip, p.name, err)
	}
	return nil
}

// Unassign undoes Assign.
func (f *fabric) Unassign(eni vpcsim.ENI, ip netip.Addr) error {
	if ip.Is6() {
		return f.UnassignPrefix(eni, netip.PrefixFrom(ip, 128))
	}
	p, err := f.port(eni)
	if err != nil {
		return err
	}
	return errors.Join(f.router.RouteDel(p.route(ip)), f.router.NeighDel(p.neighbour(ip)), f.guard.forbid(p.index, ip))
}

func (f *fabric) port(eni vpcsim.ENI) (port, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.ports[eni.ID]
	if !ok {
		return port{}, fmt.Errorf("%s is not attached", eni.ID)
	}
	return p, nil
}

// setHotplug names the links that come from now on.
func (f *fabric) setHotplug(format string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hotplug = format
}

// link is what an ENI is called in its node; "" while it has no link.
func (f *fabric) link(eni string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports[eni].link
}

func (p port) route(ip netip.Addr) *netlink.Route {
	return &netlink.Route{LinkIndex: p.index, Dst: ipNet(ip, 32), Scope: unix.RT_SCOPE_LINK}
}

func (p port) neighbour(ip netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: p.index, IP: ip.AsSlice(), HardwareAddr: p.mac, State: unix.NUD_PERMANENT, Family: unix.AF_INET}
}

// publish gives an address a public association: the internet gateway passes it, and the internet knows the way back.
func (f *fabric) publish(ip netip.Addr) error {
	if err := f.guard.publish(ip); err != nil {
		return fmt.Errorf("publish %s: %w", ip, err)
	}
	back := &netlink.Route{LinkIndex: f.igw, Dst: ipNet(ip, 32), Gw: internetGateway().Addr().AsSlice()}
	if err := f.internet.RouteReplace(back); err != nil {
		return fmt.Errorf("add the route to %s in the internet: %w", ip, err)
	}
	return nil
}

// Spoofer is a source that was used where it is not assigned.
type Spoofer struct {
	Port    string // the node and its interface, "node1-eth0"; empty for an ENI that is detached since
	Source  netip.Addr
	Packets uint64
}

func (f *fabric) spoofers() ([]Spoofer, error) {
	found, err := f.guard.spoofers()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	names := map[int]string{}
	for _, p := range f.ports {
		names[p.index] = p.name
	}
	var all []Spoofer
	for index, sources := range found {
		for _, s := range sources {
			s.Port = names[index]
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Spoofer) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), a.Source.Compare(b.Source))
	})
	return all, nil
}

// setUp gives a link addresses and sets it up.
func setUp(h *netlink.Handle, name string, addresses ...netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, p := range addresses {
		if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p.Addr(), p.Bits()), Flags: withoutDAD(p.Addr())}); err != nil {
			return fmt.Errorf("add %s to %s: %w", p, name, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
