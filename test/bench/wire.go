package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
)

// linkCreation is the floor of an ADD, what a container needs of the kernel; linkDeletion that of a DEL, the kernel's own removal of
// the veth pair.
const (
	linkCreation = "creation of the link, by netlink"
	linkDeletion = "deletion of the link, by netlink"
)

// wire is a veth pair between a node and a container's namespace, with one address and the routes that a container needs: what
// eni-ptp makes, without its rules.
type wire struct {
	host, container *netlink.Handle // sockets in either namespace
	netns           *os.File        // the container's
	name            string          // of the node's end
	ip              net.IP
}

// newWire opens a container's namespace, and makes no link yet.
func newWire(node *lab.Node, id string, ip net.IP) (w *wire, err error) {
	if _, err := node.AddNetns(id); err != nil {
		return nil, err
	}
	w = &wire{name: "w" + id, ip: ip}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	container := node.Container(id)
	if w.netns, err = container.Netns(); err != nil {
		return nil, err
	}
	if w.host, err = node.Handle(unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	w.container, err = container.Handle(unix.NETLINK_ROUTE)
	return w, err
}

func (w *wire) close() error {
	for _, h := range []*netlink.Handle{w.host, w.container} {
		if h != nil {
			h.Close()
		}
	}
	if w.netns == nil {
		return nil
	}
	return w.netns.Close()
}

// connect makes the pair, with both ends in place.
func (w *wire) connect() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = w.name
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(w.netns.Fd())
	if err := w.host.LinkAdd(veth); err != nil {
		return fmt.Errorf("make %s: %w", w.name, err)
	}
	near, err := w.host.LinkByName(w.name)
	if err != nil {
		return err
	}
	far, err := w.container.LinkByName("eth0")
	if err != nil {
		return err
	}
	return errors.Join(w.host.LinkSetUp(near), w.configure(far, near), w.route(near))
}

// configure gives the container's end its address, and the gateway 169.254.1.1, of which a neighbour entry says where it is.
func (w *wire) configure(far, near netlink.Link) error {
	gateway := net.IPv4(169, 254, 1, 1)
	index := far.Attrs().Index
	return errors.Join(
		w.container.LinkSetUp(far),
		w.container.AddrAdd(far, &netlink.Addr{IPNet: w.host32(w.ip)}),
		w.container.RouteAdd(&netlink.Route{LinkIndex: index, Dst: w.host32(gateway), Scope: unix.RT_SCOPE_LINK}),
		w.container.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway}),
		w.container.NeighSet(&netlink.Neigh{LinkIndex: index, IP: gateway, HardwareAddr: near.Attrs().HardwareAddr, State: unix.NUD_PERMANENT}),
	)
}

// route makes the node deliver to the container.
func (w *wire) route(near netlink.Link) error {
	far, err := w.container.LinkByName("eth0")
	if err != nil {
		return err
	}
	index := near.Attrs().Index
	return errors.Join(
		w.host.RouteAdd(&netlink.Route{LinkIndex: index, Dst: w.host32(w.ip), Scope: unix.RT_SCOPE_LINK}),
		w.host.NeighSet(&netlink.Neigh{LinkIndex: index, IP: w.ip, HardwareAddr: far.Attrs().HardwareAddr, State: unix.NUD_PERMANENT}),
	)
}

func (w *wire) host32(ip net.IP) *net.IPNet { return &net.IPNet{IP: ip, Mask: net.CIDRMask(32, 32)} }

// life makes the pair and removes it, and returns how long the kernel takes for either.
func (w *wire) life() (made, removed time.Duration, err error) {
	began := time.Now()
	if err := w.connect(); err != nil {
		return 0, 0, err
	}
	made = time.Since(began)
	link, err := w.host.LinkByName(w.name)
	if err != nil {
		return 0, 0, err
	}
	began = time.Now()
	err = w.host.LinkDel(link)
	return made, time.Since(began), err
}
