package netstate

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/nlsock"
)

// What x/sys does not name (include/uapi/linux/fib_rules.h).
const (
	ruleInverted = 2 // FIB_RULE_INVERT

	ruleDSCP      = 25 // FRA_DSCP, and behind it other parts of a packet
	ruleFlowLabel = 26 // FRA_FLOWLABEL

	none = 0xffffffff // of a suppressor
)

// ipOf reads an address; the zero Addr stands for one that is none.
func ipOf(a *netlink.AttributeDecoder) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.Bytes())
	return ip.Unmap()
}

// decodeLink reads a message about a link, RTM_NEWLINK.
func decodeLink(body []byte) (Link, error) {
	l := Link{Kind: "device", NSID: -1}
	err := nlsock.Attributes(body, unix.SizeofIfInfomsg, func(a *netlink.AttributeDecoder) {
		switch a.Type() {
		case unix.IFLA_IFNAME:
			l.Name = a.String()
		case unix.IFLA_ADDRESS:
			l.MAC = macOf(a.Bytes())
		case unix.IFLA_MTU:
			l.MTU = int(a.Uint32())
		case unix.IFLA_IFALIAS:
			l.Alias = a.String()
		case unix.IFLA_GROUP:
			l.Group = int(a.Uint32())
		case unix.IFLA_MASTER:
			l.Master = int(a.Uint32())
		case unix.IFLA_LINK:
			l.Peer = int(a.Uint32())
		case unix.IFLA_LINK_NETNSID:
			l.NSID = int(a.Int32())
		case unix.IFLA_LINKINFO:
			a.Nested(func(info *netlink.AttributeDecoder) error {
				for info.Next() {
					if info.Type() == unix.IFLA_INFO_KIND {
						l.Kind = info.String()
					}
				}
				return info.Err()
			})
		}
	})
	if err != nil {
		return Link{}, fmt.Errorf("read a link: %w", err)
	}
	l.Index = int(binary.NativeEndian.Uint32(body[4:]))
	l.Up = binary.NativeEndian.Uint32(body[8:])&unix.IFF_UP != 0
	return l, nil
}

// macOf returns nil for the MAC of a link that has none, of which all is zero.
func macOf(value []byte) net.HardwareAddr {
	for _, octet := range value {
		if octet != 0 {
			return net.HardwareAddr(value)
		}
	}
	return nil
}

// decodeNumber reads how a namespace is numbered, RTM_NEWNSID; negative where it is not.
func decodeNumber(body []byte) (int, error) {
	number := unix.NETNSA_NSID_NOT_ASSIGNED
	err := nlsock.Attributes(body, 4, func(a *netlink.AttributeDecoder) { // struct rtgenmsg, aligned
		if a.Type() == unix.NETNSA_NSID {
			number = int(a.Int32())
		}
	})
	return number, err
}

// address is an address of a link. A point-to-point link has a peer's, to which the mask belongs.
type address struct {
	netip.Prefix
	index int
	peer  netip.Addr
}

func decodeAddr(body []byte) (address, error) {
	var local, far netip.Addr
	err := nlsock.Attributes(body, unix.SizeofIfAddrmsg, func(a *netlink.AttributeDecoder) {
		switch a.Type() {
		case unix.IFA_LOCAL:
			local = ipOf(a)
		case unix.IFA_ADDRESS:
			far = ipOf(a)
		}
	})
	if err != nil {
		return address{}, fmt.Errorf("read an address: %w", err)
	}
	if !local.IsValid() { // of IPv6 without a peer
		local = far
	}
	return address{Prefix: netip.PrefixFrom(local, int(body[1])), index: int(binary.NativeEndian.Uint32(body[4:])), peer: far}, nil
}

// neighbour is what the kernel knows of one.
type neighbour struct {
	layout.Neigh
	permanent bool
}

func decodeNeigh(body []byte) (neighbour, error) {
	var n neighbour
	err := nlsock.Attributes(body, unix.SizeofNdMsg, func(a *netlink.AttributeDecoder) {
		switch a.Type() {
		case unix.NDA_DST:
			n.IP = ipOf(a)
		case unix.NDA_LLADDR:
			n.MAC = net.HardwareAddr(a.Bytes())
		}
	})
	if err != nil {
		return neighbour{}, fmt.Errorf("read a neighbour: %w", err)
	}
	n.Dev.Index = int(binary.NativeEndian.Uint32(body[4:]))
	n.permanent = binary.NativeEndian.Uint16(body[8:])&unix.NUD_PERMANENT != 0
	return n, nil
}

// route is a route of the kernel, whose device has no name here. One of several ways has none of them.
type route struct {
	layout.Route
	family          int
	tos             uint8
	protocol, scope uint8
	kind            uint8 // RTN_…
	metric          uint32
	cloned          bool // a copy of another for one destination
}

func decodeRoute(body []byte) (route, error) {
	var r route
	var dst netip.Addr
	err := nlsock.Attributes(body, unix.SizeofRtMsg, func(a *netlink.AttributeDecoder) {
		switch a.Type() {
		case unix.RTA_DST:
			dst = ipOf(a)
		case unix.RTA_GATEWAY:
			r.Via = ipOf(a)
		case unix.RTA_PREFSRC:
			r.Src = ipOf(a)
		case unix.RTA_OIF:
			r.Dev.Index = int(a.Uint32())
		case unix.RTA_TABLE:
			r.Table = int(a.Uint32())
		case unix.RTA_PRIORITY:
			r.metric = a.Uint32()
		}
	})
	if err != nil {
		return route{}, fmt.Errorf("read a route: %w", err)
	}
	r.family, r.tos, r.protocol, r.scope, r.kind = int(body[0]), body[3], body[5], body[6], body[7]
	r.cloned = binary.NativeEndian.Uint32(body[8:])&unix.RTM_F_CLONED != 0
	if r.Table == 0 {
		r.Table = int(body[4])
	}
	if !dst.IsValid() { // the kernel leaves out that of a default route
		dst = netip.IPv4Unspecified()
		if r.family == unix.AF_INET6 {
			dst = netip.IPv6Unspecified()
		}
	}
	r.Dst = netip.PrefixFrom(dst, int(body[1]))
	return r, nil
}

// decodeRule reads a rule; found is false where it is of another family, as those of multicast routing are.
func decodeRule(body []byte) (r Rule, found bool, err error) {
	r.Plain = true
	var from, to netip.Addr
	err = nlsock.Attributes(body, unix.SizeofRtMsg, func(a *netlink.AttributeDecoder) {
		switch a.Type() {
		case unix.FRA_SRC:
			from = ipOf(a)
		case unix.FRA_DST:
			to = ipOf(a)
		case unix.FRA_PRIORITY:
			r.Pref = int(a.Uint32())
		case unix.FRA_FWMARK:
			r.Mark = a.Uint32()
		case unix.FRA_FWMASK:
			r.Mask = a.Uint32()
		case unix.FRA_OIFNAME:
			r.Out = a.String()
		case unix.FRA_GOTO:
			r.Goto = int(a.Uint32())
		case unix.FRA_TABLE:
			r.Table = int(a.Uint32())
		case unix.FRA_PROTOCOL:
			r.Ours = a.Uint8() == layout.Protocol
		case unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_SUPPRESS_IFGROUP:
			r.Plain = r.Plain && a.Uint32() == none
		case unix.FRA_IIFNAME, unix.FRA_TUN_ID, unix.FRA_L3MDEV, unix.FRA_UID_RANGE, unix.FRA_IP_PROTO, unix.FRA_SPORT_RANGE,
			unix.FRA_DPORT_RANGE, ruleDSCP, ruleFlowLabel:
			r.Plain = false
		}
	})
	if err != nil {
		return Rule{}, false, fmt.Errorf("read a rule: %w", err)
	}
	af, tos, flags := int(body[0]), body[3], binary.NativeEndian.Uint32(body[8:])
	r.IPv6 = af == unix.AF_INET6
	r.Plain = r.Plain && tos == 0 && flags&ruleInverted == 0 && (r.Mask == 0 || r.Mark != 0)
	if r.Mask == r.Mark {
		r.Mask = 0
	}
	if r.Table == 0 {
		r.Table = int(body[4])
	}
	if from.IsValid() {
		r.From = netip.PrefixFrom(from, int(body[2]))
	}
	if to.IsValid() {
		r.To = netip.PrefixFrom(to, int(body[1]))
	}
	return r, af == unix.AF_INET || af == unix.AF_INET6, nil
}
