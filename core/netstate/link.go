package netstate

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/nlsock"
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

// LinkByName returns a link; the error is ErrNoLink where there is none.
func (h *Handle) LinkByName(name string) (Link, error) {
	body, err := h.nl.Do(linkNamed(name))
	return oneLink(name, body, err)
}

// LinkByIndex returns a link; the error is ErrNoLink where there is none.
func (h *Handle) LinkByIndex(index int) (Link, error) {
	body, err := h.nl.Do(linkNumbered(index))
	return oneLink(fmt.Sprint("number ", index), body, err)
}

// oneLink reads the answer to a question for a link.
func oneLink(what string, body []byte, err error) (Link, error) {
	if gone(err) {
		return Link{}, fmt.Errorf("link %s: %w", what, ErrNoLink)
	}
	var l Link
	if err == nil {
		l, err = decodeLink(body)
	}
	if err != nil {
		return Link{}, fmt.Errorf("link %s: %w", what, err)
	}
	return l, nil
}

// Links returns all links.
func (h *Handle) Links() ([]Link, error) {
	return list(h, "links", allLinks(), func(body []byte) (Link, bool, error) {
		l, err := decodeLink(body)
		return l, true, err
	})
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
// barrier. Nothing is left where the kernel refuses it. Both ends are down.
func (h *Handle) AddVeth(v Veth) (Link, error) {
	answers, err := h.nl.Exchange(addVeth(v), linkNamed(v.Name))
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return Link{}, fmt.Errorf("create veth %s with peer %s: %w", v.Name, v.Peer, err)
	}
	made, err := oneLink(v.Name, answers[1].Body, answers[1].Err)
	if err == nil && v.Alias != "" {
		// The kernel does not take it at creation (rtnl_create_link), and to send it along, by the name, could give it to another's.
		err = h.change(changeLink(ifinfo(made.Index, 0, 0).Bytes(unix.IFLA_IFALIAS, []byte(v.Alias))))
	}
	if err != nil {
		return Link{}, errors.Join(fmt.Errorf("create veth %s: %w", v.Name, err), h.RemoveLink(layout.Device{Name: v.Name}))
	}
	made.Alias = v.Alias
	return made, nil
}

// SetGroup puts a link into a group.
func (h *Handle) SetGroup(dev layout.Device, group int) error {
	if err := h.change(changeLink(ifinfo(dev.Index, 0, 0).Uint32(unix.IFLA_GROUP, uint32(group)))); err != nil {
		return fmt.Errorf("put link %s into group %d: %w", dev.Name, group, err)
	}
	return nil
}

// IsPair says whether veth, of this namespace, and peer, of ns, are the two ends of one pair.
func (h *Handle) IsPair(veth, peer Link, ns *sandbox.Netns) (bool, error) {
	if peer.Kind != "veth" || veth.Peer != peer.Index {
		return false, nil
	}
	return h.LeadsTo(veth, ns)
}

// LeadsTo says whether a link is a veth whose other end is in ns.
func (h *Handle) LeadsTo(veth Link, ns *sandbox.Netns) (bool, error) {
	if veth.Kind != "veth" || veth.NSID < 0 {
		return false, nil
	}
	body, err := h.nl.Do(numberOf(ns.FD()))
	var id int
	if err == nil {
		id, err = decodeNumber(body)
	}
	if err != nil {
		return false, fmt.Errorf("number of the container's namespace: %w", err)
	}
	return id == veth.NSID, nil
}

// PeerLives says whether a veth's peer is in another namespace that somebody is in, or holds open. One that nobody does is
// dead soon, and before the kernel takes its links away.
func (h *Handle) PeerLives(veth Link) (bool, error) {
	if veth.Kind != "veth" || veth.NSID < 0 {
		return false, nil
	}
	_, err := h.nl.Do(peerOf(veth))
	var refusal *nlsock.Error
	switch {
	case errors.As(err, &refusal) && refusal.Words != "" && !strings.Contains(refusal.Words, "namespace"):
		return false, fmt.Errorf("look up the peer of %s: %w", veth.Name, err) // a kernel that does not like the question says nothing of the peer
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV): // no such namespace (net/core/rtnetlink.c, rtnl_get_net_ns_capable), or no such link in it
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look up the peer of %s: %w", veth.Name, err)
	}
	return true, nil
}

// RemoveLink removes a link, and with a veth its peer: by its index, or by its name where that is 0. One that is gone already is no
// error.
func (h *Handle) RemoveLink(dev layout.Device) error {
	if err := h.change(removeLink(dev)); err != nil && !gone(err) {
		return fmt.Errorf("remove link %s: %w", dev.Name, err)
	}
	return nil
}
