package netstate

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
)

// ErrNoLink says that the namespace has no such link.
var ErrNoLink = errors.New("no such link")

// Link is a link of the kernel.
type Link struct {
	layout.Device
	Kind   string // "device" for hardware, "veth", ...
	MAC    net.HardwareAddr
	MTU    int
	Up     bool
	Alias  string
	Group  int
	Master int // the index of the bridge or the like that it is a port of; 0 for none
	Peer   int // a veth's peer: its index in its own namespace
	NSID   int // the peer's namespace, as this one numbers it; negative where they are the same
}

func linkOf(k netlink.Link) Link {
	a := k.Attrs()
	return Link{
		Device: layout.Device{Index: a.Index, Name: a.Name},
		Kind:   k.Type(), MAC: a.HardwareAddr, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0, Alias: a.Alias, Group: int(a.Group),
		Master: a.MasterIndex, Peer: a.ParentIndex, NSID: a.NetNsID,
	}
}

// LinkByName returns a link; the error is ErrNoLink where there is none.
func (h *Handle) LinkByName(name string) (Link, error) {
	return oneLink(name, func() (netlink.Link, error) { return h.nl.LinkByName(name) })
}

// LinkByIndex returns a link; the error is ErrNoLink where there is none.
func (h *Handle) LinkByIndex(index int) (Link, error) {
	return oneLink(fmt.Sprint("number ", index), func() (netlink.Link, error) { return h.nl.LinkByIndex(index) })
}

func oneLink(what string, get func() (netlink.Link, error)) (Link, error) {
	k, err := get()
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing), gone(err):
		return Link{}, fmt.Errorf("link %s: %w", what, ErrNoLink)
	case err != nil:
		return Link{}, fmt.Errorf("link %s: %w", what, err)
	}
	return linkOf(k), nil
}

// Links returns all links.
func (h *Handle) Links() ([]Link, error) {
	all, err := dump("links", h.nl.LinkList)
	if err != nil {
		return nil, err
	}
	links := make([]Link, len(all))
	for i, k := range all {
		links[i] = linkOf(k)
	}
	return links, nil
}

// ENILink returns the ENI's link: by its MAC, or by its name where it has none. The index in the store is tried first,
// and saves the dump of all links.
func (h *Handle) ENILink(eni store.ENI) (Link, error) {
	if eni.MAC == "" {
		return h.LinkByName(eni.Link)
	}
	mac, err := net.ParseMAC(eni.MAC)
	if err != nil {
		return Link{}, fmt.Errorf("MAC of %s: %w", eni.ID, err)
	}
	if eni.IfIndex != 0 {
		if l, err := h.LinkByIndex(eni.IfIndex); err == nil && bytes.Equal(l.MAC, mac) && own(l.Kind) {
			return l, nil
		}
	}
	all, err := h.Links()
	if err != nil {
		return Link{}, err
	}
	return byMAC(all, mac)
}

// byMAC returns the one link with the MAC that is no child or master of another, which may share it.
func byMAC(all []Link, mac net.HardwareAddr) (Link, error) {
	var found []Link
	var names []string
	for _, l := range all {
		if bytes.Equal(l.MAC, mac) && own(l.Kind) {
			found = append(found, l)
			names = append(names, l.Name)
		}
	}
	switch len(found) {
	case 0:
		return Link{}, fmt.Errorf("link with MAC %s: %w", mac, ErrNoLink)
	case 1:
		return found[0], nil
	}
	return Link{}, fmt.Errorf("MAC %s is on several links: %s", mac, strings.Join(names, ", "))
}

// own says whether links of the kind have a MAC of their own, not that of a link above or below them.
func own(kind string) bool {
	switch kind {
	case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "bridge", "bond", "team":
		return false
	}
	return true
}

// Veth is a pair to be made: one end here, the other in the container's namespace.
type Veth struct {
	Name    string
	MAC     net.HardwareAddr
	Alias   string // may be empty
	MTU     int    // 0 is the kernel's 1500
	Peer    string
	PeerMAC net.HardwareAddr
	PeerIn  *sandbox.Netns
}

// AddVeth makes the pair, each end in its place from the start: to move one between namespaces would cost an RCU
// barrier. Nothing is left where it fails. Both ends are down.
func (h *Handle) AddVeth(v Veth) (Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = v.Name, v.MAC, v.MTU
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerHardwareAddr, pair.PeerNamespace = v.Peer, v.PeerMAC, netlink.NsFd(v.PeerIn.FD())
	if err := h.nl.LinkAdd(pair); err != nil {
		return Link{}, fmt.Errorf("create veth %s with peer %s: %w", v.Name, v.Peer, err)
	}
	made, err := h.LinkByName(v.Name)
	if err == nil && v.Alias != "" {
		// The kernel does not take it at creation (rtnl_create_link).
		err = h.nl.LinkSetAlias(deviceLink(made.Device), v.Alias)
	}
	if err != nil {
		return Link{}, errors.Join(fmt.Errorf("create veth %s: %w", v.Name, err), h.RemoveLink(v.Name))
	}
	made.Alias = v.Alias
	return made, nil
}

// SetGroup puts a link into a group.
func (h *Handle) SetGroup(dev layout.Device, group int) error {
	if err := h.nl.LinkSetGroup(deviceLink(dev), group); err != nil {
		return fmt.Errorf("put link %s into group %d: %w", dev.Name, group, err)
	}
	return nil
}

// IsPair says whether veth, of this namespace, and peer, of ns, are the two ends of one pair.
func (h *Handle) IsPair(veth, peer Link, ns *sandbox.Netns) (bool, error) {
	if veth.Kind != "veth" || peer.Kind != "veth" || veth.Peer != peer.Index {
		return false, nil
	}
	id, err := h.nl.GetNetNsIdByFd(ns.FD())
	if err != nil {
		return false, fmt.Errorf("number of the container's namespace: %w", err)
	}
	return id >= 0 && id == veth.NSID, nil
}

// PeerLives says whether a veth's peer is in another namespace that somebody is in, or holds open. One that nobody does is
// dead soon, and before the kernel takes its links away. The veth is of the calling thread's namespace.
func PeerLives(veth Link) (bool, error) {
	if veth.Kind != "veth" || veth.NSID < 0 {
		return false, nil
	}
	ask := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	peer := nl.NewIfInfomsg(unix.AF_UNSPEC)
	peer.Index = int32(veth.Peer)
	ask.AddData(peer)
	ask.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(veth.NSID))))
	_, err := ask.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV): // no such namespace (net/core/rtnetlink.c, rtnl_get_net_ns_capable), or no such link in it
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look up the peer of %s: %w", veth.Name, err)
	}
	return true, nil
}

// RemoveLink removes a link, and with a veth its peer. One that is gone already is no error.
func (h *Handle) RemoveLink(name string) error {
	l, err := h.LinkByName(name)
	if errors.Is(err, ErrNoLink) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := h.nl.LinkDel(deviceLink(l.Device)); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}
