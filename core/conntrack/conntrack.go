// Package conntrack forgets connections. An address that goes to another container must not take the first one's
// connections with it: a reply, or a retried SYN, would be translated for a container that is gone.
package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/nfnetlink"
	"github.com/enichain/enichain/core/nlsock"
)

// Flush forgets all connections of the calling thread's network namespace that one of the addresses takes part in: that it
// began, or answers, whatever they are translated to. A kernel without conntrack has none.
//
// The kernel looks for IPv4's itself, with no list of a busy node's connections handed to us (Linux 6.12; before, it is).
func Flush(ips ...netip.Addr) error { return flush(ips, sources) }

// flush has the kernel look for IPv4's, by a request for each direction, and looks itself for what the kernel does not. Before Linux
// 6.12 it reads the request as one for a single connection, of which most is missing, and answers EINVAL, as one without conntrack
// does. For IPv6 its filter takes all connections but those of the address: ctnetlink_filter_match_tuple takes ipv6_addr_cmp's 0 for
// a difference (net/netfilter/nf_conntrack_netlink.c, Linux 6.18).
func flush(ips []netip.Addr, request func(direction uint16, ip netip.Addr) nlsock.Request) error {
	if len(ips) == 0 {
		return nil
	}
	conn, err := nfnetlink.Dial()
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	var requests []nlsock.Request
	var of, listed []netip.Addr // a request's address, and those that are to be looked for
	for _, ip := range ips {
		if ip.Is6() {
			listed = append(listed, ip)
			continue
		}
		requests = append(requests, request(original, ip), request(reply, ip))
		of = append(of, ip, ip)
	}
	answers, err := conn.Exchange(requests...)
	if err != nil {
		return err
	}
	for i, a := range answers {
		switch {
		case absent(a.Err):
			listed = append(listed, of[i])
		case a.Err != nil:
			return fmt.Errorf("forget connections of %s: %w", of[i], a.Err)
		}
	}
	return flushListed(conn, listed)
}

// absent says whether the kernel, or nfnetlink, has no conntrack.
func absent(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT)
}

// What of ctnetlink is needed (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	original = 1  // CTA_TUPLE_ORIG
	reply    = 2  // CTA_TUPLE_REPLY
	id       = 12 // CTA_ID
	zone     = 18 // CTA_ZONE

	getMessages   = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	deleteMessage = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE

	tupleIP   = 1  // CTA_TUPLE_IP
	ipV4Src   = 1  // CTA_IP_V4_SRC
	ipV6Src   = 3  // CTA_IP_V6_SRC
	filter    = 25 // CTA_FILTER
	bySources = 1  // CTA_FILTER_FLAG(CTA_IP_SRC)
)

// sources is the request to forget the connections whose packets of a direction come from the address, of IPv4. It deletes
// all that pass the filter (ctnetlink_flush_conntrack, net/netfilter/nf_conntrack_netlink.c).
func sources(direction uint16, ip netip.Addr) nlsock.Request {
	var flags nlsock.Body
	for _, of := range []uint16{original, reply} { // CTA_FILTER_ORIG_FLAGS and CTA_FILTER_REPLY_FLAGS have the same numbers
		var value uint32
		if of == direction {
			value = bySources
		}
		flags = flags.Uint32(of, value)
	}
	r := unfiltered(direction, ip)
	r.Body = r.Body.Bytes(unix.NLA_F_NESTED|filter, flags)
	return r
}

// unfiltered is sources as a kernel reads it that knows no filter here.
func unfiltered(direction uint16, ip netip.Addr) nlsock.Request {
	tuple := nlsock.Body{}.Bytes(unix.NLA_F_NESTED|tupleIP, nlsock.Body{}.Bytes(ipV4Src, ip.AsSlice()))
	return nlsock.Request{Kind: deleteMessage, Body: nfnetlink.Header(unix.AF_INET, 0).Bytes(unix.NLA_F_NESTED|direction, tuple)}
}

// attempts bounds the repetition of a dump that was interrupted by changes of the table.
const attempts = 4

// flushListed looks for the addresses' connections itself, in the kernel's list.
func flushListed(conn *nlsock.Conn, ips []netip.Addr) error {
	for _, af := range []byte{unix.AF_INET, unix.AF_INET6} {
		of := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return ip.Is6() != (af == unix.AF_INET6) })
		if len(of) == 0 {
			continue
		}
		var err error
		for range attempts {
			if err = flushFamily(conn, af, of); !errors.Is(err, nlsock.ErrInterrupted) {
				break
			}
		}
		if err != nil && !absent(err) {
			return fmt.Errorf("forget connections of %v: %w", of, err)
		}
	}
	return nil
}

// flushFamily forgets what it sees, be the list incomplete.
func flushFamily(conn *nlsock.Conn, af byte, ips []netip.Addr) error {
	var doomed []nlsock.Request
	err := conn.Dump(nlsock.Request{Kind: getMessages, Body: nfnetlink.Header(af, 0)}, func(body []byte) error {
		c, err := decode(body)
		if err == nil && (slices.Contains(ips, c.from) || slices.Contains(ips, c.answers)) {
			doomed = append(doomed, nlsock.Request{Kind: deleteMessage, Body: append(nfnetlink.Header(af, 0), c.names...)})
		}
		return err
	})
	answers, deleteErr := conn.Exchange(doomed...)
	err = errors.Join(err, deleteErr)
	for _, a := range answers {
		if a.Err != nil && !errors.Is(a.Err, unix.ENOENT) { // it ended in the meantime
			err = errors.Join(err, a.Err)
		}
	}
	return err
}

// connection is one of the kernel's list: the sources of its packets in either direction, and the attributes that name it.
type connection struct {
	from, answers netip.Addr
	names         nlsock.Body
}

func decode(body []byte) (c connection, err error) {
	err = nlsock.Attributes(body, nfnetlink.HeaderSize, func(a *netlink.AttributeDecoder) {
		switch kind := a.Type(); kind {
		case original:
			a.Nested(source(&c.from))
			c.names = c.names.Bytes(unix.NLA_F_NESTED|kind, a.Bytes())
		case reply:
			a.Nested(source(&c.answers))
		case id, zone:
			c.names = c.names.Bytes(kind, a.Bytes())
		}
	})
	return c, err
}

// source reads the source address of a tuple.
func source(into *netip.Addr) func(*netlink.AttributeDecoder) error {
	return func(tuple *netlink.AttributeDecoder) error {
		for tuple.Next() {
			if tuple.Type() != tupleIP {
				continue
			}
			tuple.Nested(func(ends *netlink.AttributeDecoder) error {
				for ends.Next() {
					if ends.Type() == ipV4Src || ends.Type() == ipV6Src {
						*into, _ = netip.AddrFromSlice(ends.Bytes())
					}
				}
				return ends.Err()
			})
		}
		return tuple.Err()
	}
}
