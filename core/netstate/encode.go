package netstate

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/nlsock"
)

// What x/sys does not name.
const (
	vethPeer = 1 // VETH_INFO_PEER (include/uapi/linux/veth.h)

	withoutStats = 8 // RTEXT_FILTER_SKIP_STATS (include/uapi/linux/rtnetlink.h)

	ruleToTable = 1 // FR_ACT_TO_TBL (include/uapi/linux/fib_rules.h)
	ruleGoto    = 2 // FR_ACT_GOTO
)

// ifinfo is struct ifinfomsg (include/uapi/linux/rtnetlink.h).
func ifinfo(index int, flags, change uint32) nlsock.Body {
	b := make(nlsock.Body, 0, 128)
	b = binary.NativeEndian.AppendUint32(b, unix.AF_UNSPEC)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

// askLink asks for a link, or for all; without what the kernel counts of it, which is most of what it would answer.
func askLink(index int) nlsock.Body {
	return ifinfo(index, 0, 0).Uint32(unix.IFLA_EXT_MASK, withoutStats)
}

// linkNamed asks for a link.
func linkNamed(name string) nlsock.Request {
	kind := uint16(unix.IFLA_IFNAME)
	if len(name) >= unix.IFNAMSIZ { // only an alternative name is as long
		kind = unix.IFLA_ALT_IFNAME
	}
	return nlsock.Request{Kind: unix.RTM_GETLINK, Replies: true, Body: askLink(0).Text(kind, name)}
}

func linkNumbered(index int) nlsock.Request {
	return nlsock.Request{Kind: unix.RTM_GETLINK, Replies: true, Body: askLink(index)}
}

func allLinks() nlsock.Request {
	return nlsock.Request{Kind: unix.RTM_GETLINK, Body: askLink(0)}
}

func changeLink(body nlsock.Body) nlsock.Request {
	return nlsock.Request{Kind: unix.RTM_SETLINK, Body: body}
}

// raiseLink sets a link's MTU, where there is one to be set, and then brings it up (do_setlink, net/core/rtnetlink.c).
func raiseLink(l layout.Link) nlsock.Request {
	body := ifinfo(l.Index, unix.IFF_UP, unix.IFF_UP)
	if l.MTU != 0 {
		body = body.Uint32(unix.IFLA_MTU, uint32(l.MTU))
	}
	return changeLink(body)
}

// removeLink removes a link by its index, or by its name where that is 0.
func removeLink(dev layout.Device) nlsock.Request {
	body := ifinfo(dev.Index, 0, 0)
	if dev.Index == 0 {
		body = body.Text(unix.IFLA_IFNAME, dev.Name)
	}
	return nlsock.Request{Kind: unix.RTM_DELLINK, Body: body}
}

// addVeth makes both ends, the peer in its namespace (veth_newlink, drivers/net/veth.c).
func addVeth(v Veth) nlsock.Request {
	peer := end(ifinfo(0, 0, 0), v.Peer, v.PeerMAC, v.MTU).Uint32(unix.IFLA_NET_NS_FD, uint32(v.PeerIn.FD()))
	info := nlsock.Body{}.Text(unix.IFLA_INFO_KIND, "veth").
		Bytes(unix.NLA_F_NESTED|unix.IFLA_INFO_DATA, nlsock.Body{}.Bytes(vethPeer, peer))
	return nlsock.Request{
		Kind: unix.RTM_NEWLINK, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL,
		Body: end(ifinfo(0, 0, 0), v.Name, v.MAC, v.MTU).Bytes(unix.NLA_F_NESTED|unix.IFLA_LINKINFO, info),
	}
}

// end describes one end of a veth pair.
func end(body nlsock.Body, name string, mac net.HardwareAddr, mtu int) nlsock.Body {
	body = body.Text(unix.IFLA_IFNAME, name)
	if mac != nil {
		body = body.Bytes(unix.IFLA_ADDRESS, mac)
	}
	if mtu != 0 {
		body = body.Uint32(unix.IFLA_MTU, uint32(mtu))
	}
	return body
}

// peerOf asks for the link at the other end of a veth, in its namespace.
func peerOf(veth Link) nlsock.Request {
	return nlsock.Request{
		Kind: unix.RTM_GETLINK, Replies: true, Body: askLink(veth.Peer).Uint32(unix.IFLA_TARGET_NETNSID, uint32(veth.NSID)),
	}
}

// numberOf asks how the socket's namespace numbers another.
func numberOf(fd int) nlsock.Request {
	return nlsock.Request{Kind: unix.RTM_GETNSID, Replies: true, Body: make(nlsock.Body, 4).Uint32(unix.NETNSA_FD, uint32(fd))} // struct rtgenmsg
}

// ifaddr is struct ifaddrmsg (include/uapi/linux/if_addr.h).
func ifaddr(af, bits, index int) nlsock.Body {
	return binary.NativeEndian.AppendUint32(nlsock.Body{byte(af), byte(bits), 0, 0}, uint32(index))
}

// addrsOf lists addresses; index 0 and family AF_UNSPEC are any.
func addrsOf(af, index int) nlsock.Request {
	return nlsock.Request{Kind: unix.RTM_GETADDR, Body: ifaddr(af, 0, index)}
}

// changeAddr adds or removes an address.
func changeAddr(kind, flags uint16, a address) nlsock.Request {
	body := ifaddr(afOf(family.Of(a.Addr())), a.Bits(), a.index).
		Bytes(unix.IFA_LOCAL, a.Addr().AsSlice()).Bytes(unix.IFA_ADDRESS, a.peer.AsSlice())
	if kind == unix.RTM_NEWADDR && a.Addr().Is6() {
		body = body.Uint32(unix.IFA_FLAGS, unix.IFA_F_NODAD)
	}
	return nlsock.Request{Kind: kind, Flags: flags, Body: body}
}

// ndmsg is struct ndmsg (include/uapi/linux/neighbour.h).
func ndmsg(af, index int, state uint16) nlsock.Body {
	b := nlsock.Body{byte(af), 0, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint16(b, state)
	return append(b, 0, 0)
}

func neighsOf(af, index int) nlsock.Request {
	return nlsock.Request{Kind: unix.RTM_GETNEIGH, Body: ndmsg(af, 0, 0).Uint32(unix.NDA_IFINDEX, uint32(index))}
}

func replaceNeigh(n layout.Neigh) nlsock.Request {
	return nlsock.Request{
		Kind: unix.RTM_NEWNEIGH, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE,
		Body: ndmsg(afOf(family.Of(n.IP)), n.Dev.Index, unix.NUD_PERMANENT).
			Bytes(unix.NDA_DST, n.IP.AsSlice()).Bytes(unix.NDA_LLADDR, n.MAC),
	}
}

// rtmsg is struct rtmsg, and so struct fib_rule_hdr, which has an action where a route has its type. A table above 255 is to be
// told by an attribute.
type rtmsg struct {
	family           int
	dstBits, srcBits int
	tos              uint8
	table            int
	protocol, scope  uint8
	kind             uint8
	flags            uint32
}

func (m rtmsg) encode() nlsock.Body {
	table := byte(unix.RT_TABLE_UNSPEC)
	if m.table < 256 {
		table = byte(m.table)
	}
	b := make(nlsock.Body, 0, 96)
	b = append(b, byte(m.family), byte(m.dstBits), byte(m.srcBits), m.tos, table, m.protocol, m.scope, m.kind)
	return binary.NativeEndian.AppendUint32(b, m.flags)
}

// routesBy lists a family's routes of a table by a device; 0 is any.
func routesBy(af, table, index int) nlsock.Request {
	body := rtmsg{family: af}.encode()
	if table != 0 {
		body = body.Uint32(unix.RTA_TABLE, uint32(table))
	}
	if index != 0 {
		body = body.Uint32(unix.RTA_OIF, uint32(index))
	}
	return nlsock.Request{Kind: unix.RTM_GETROUTE, Body: body}
}

// routeTo asks which route a packet takes; with match it is the table's that answers, without, what becomes of the packet.
func routeTo(l layout.Lookup, match bool) nlsock.Request {
	m := rtmsg{family: afOf(family.Of(l.To)), dstBits: l.To.BitLen()}
	if l.To.Is4() { // whose answers name main otherwise; IPv6's name their table, and it knows no such flag
		m.flags = unix.RTM_F_LOOKUP_TABLE
	}
	if match {
		m.flags |= unix.RTM_F_FIB_MATCH
	}
	if l.From.IsValid() {
		m.srcBits = l.From.BitLen()
	}
	body := m.encode().Bytes(unix.RTA_DST, l.To.AsSlice())
	if l.From.IsValid() {
		body = body.Bytes(unix.RTA_SRC, l.From.AsSlice())
	}
	if l.Mark != 0 {
		body = body.Uint32(unix.RTA_MARK, l.Mark)
	}
	return nlsock.Request{Kind: unix.RTM_GETROUTE, Replies: true, Body: body}
}

func replaceRoute(r layout.Route) nlsock.Request {
	m := rtmsg{
		family: afOf(family.Of(r.Dst.Addr())), dstBits: r.Dst.Bits(), table: r.Table,
		protocol: layout.Protocol, scope: unix.RT_SCOPE_UNIVERSE, kind: unix.RTN_UNICAST,
	}
	if !r.Via.IsValid() {
		m.scope = unix.RT_SCOPE_LINK
	}
	return nlsock.Request{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Body: m.of(r)}
}

// of appends what a route has beyond the fixed part.
func (m rtmsg) of(r layout.Route) nlsock.Body {
	body := m.encode().Bytes(unix.RTA_DST, r.Dst.Addr().AsSlice())
	if r.Via.IsValid() {
		body = body.Bytes(unix.RTA_GATEWAY, r.Via.AsSlice())
	}
	if r.Src.IsValid() {
		body = body.Bytes(unix.RTA_PREFSRC, r.Src.AsSlice())
	}
	return body.Uint32(unix.RTA_OIF, uint32(r.Dev.Index)).Uint32(unix.RTA_TABLE, uint32(r.Table))
}

// deleteRoute removes a route that the kernel listed.
func deleteRoute(r route) nlsock.Request {
	m := rtmsg{
		family: r.family, dstBits: r.Dst.Bits(), tos: r.tos, table: r.Table, protocol: r.protocol, scope: r.scope, kind: r.kind,
	}
	body := m.of(r.Route)
	if r.metric != 0 {
		body = body.Uint32(unix.RTA_PRIORITY, r.metric)
	}
	return nlsock.Request{Kind: unix.RTM_DELROUTE, Body: body}
}

func allRules() nlsock.Request {
	return nlsock.Request{Kind: unix.RTM_GETRULE, Body: rtmsg{}.encode()}
}

// addRule adds a rule behind those of its preference.
func addRule(r layout.Rule) nlsock.Request {
	action := uint8(ruleToTable)
	if r.Goto != 0 {
		action = ruleGoto
	}
	return nlsock.Request{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: ruleBody(r, action)}
}

// deleteRule removes the first rule of ours that has all that this one says: a table of 0 is any (rule_find,
// net/core/fib_rules.c).
func deleteRule(r layout.Rule) nlsock.Request {
	var action uint8 // any
	if r.Goto != 0 {
		action = ruleGoto
	}
	return nlsock.Request{Kind: unix.RTM_DELRULE, Body: ruleBody(r, action)}
}

func ruleBody(r layout.Rule, action uint8) nlsock.Body {
	m := rtmsg{family: afOf(r.Family()), table: r.Table, kind: action}
	if r.To.IsValid() {
		m.dstBits = r.To.Bits()
	}
	if r.From.IsValid() {
		m.srcBits = r.From.Bits()
	}
	body := m.encode().Uint32(unix.FRA_PRIORITY, uint32(r.Pref)).Bytes(unix.FRA_PROTOCOL, []byte{layout.Protocol})
	if r.To.IsValid() {
		body = body.Bytes(unix.FRA_DST, r.To.Addr().AsSlice())
	}
	if r.From.IsValid() {
		body = body.Bytes(unix.FRA_SRC, r.From.Addr().AsSlice())
	}
	if r.Mark != 0 {
		body = body.Uint32(unix.FRA_FWMARK, r.Mark).Uint32(unix.FRA_FWMASK, r.MarkMask())
	}
	if r.Out != "" {
		body = body.Text(unix.FRA_OIFNAME, r.Out)
	}
	if r.Goto != 0 {
		body = body.Uint32(unix.FRA_GOTO, uint32(r.Goto))
	}
	if r.Table >= 256 {
		body = body.Uint32(unix.FRA_TABLE, uint32(r.Table))
	}
	return body
}
