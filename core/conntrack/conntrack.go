// Package conntrack forgets connections. An address that goes to another container must not take the first one's
// connections with it: a reply, or a retried SYN, would be translated for a container that is gone.
package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Flush forgets all connections of the calling thread's network namespace that one of the addresses takes part in: that it
// began, or answers, whatever they are translated to. A kernel without conntrack has none.
//
// The kernel looks for IPv4's itself, with no list of a busy node's connections handed to us (Linux 6.12; before, it is).
func Flush(ips ...netip.Addr) error {
	for _, ip := range ips {
		if err := flush(ip); err != nil {
			return fmt.Errorf("forget connections of %s: %w", ip, err)
		}
	}
	return nil
}

func flush(ip netip.Addr) error {
	if ip.Is6() {
		// The kernel's filter takes all connections but those of the address: ctnetlink_filter_match_tuple takes
		// ipv6_addr_cmp's 0 for a difference (net/netfilter/nf_conntrack_netlink.c, Linux 6.18).
		return flushListed(ip)
	}
	return flushBy(ip, sources)
}

// flushBy has the kernel look, by a request for each direction. Before Linux 6.12 it reads the request as one for a single
// connection, of which most is missing, and answers EINVAL, as one without conntrack does.
func flushBy(ip netip.Addr, request func(direction int, ip netip.Addr) *nl.NetlinkRequest) error {
	for _, direction := range []int{original, reply} {
		_, err := request(direction, ip).Execute(unix.NETLINK_NETFILTER, 0)
		switch {
		case absent(err):
			return flushListed(ip)
		case err != nil:
			return err
		}
	}
	return nil
}

// absent says whether the kernel, or nfnetlink, has no conntrack.
func absent(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT)
}

// What of ctnetlink is needed (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	original = 1 // CTA_TUPLE_ORIG
	reply    = 2 // CTA_TUPLE_REPLY

	deleteMessage = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE

	tupleIP   = 1  // CTA_TUPLE_IP
	ipV4Src   = 1  // CTA_IP_V4_SRC
	filter    = 25 // CTA_FILTER
	bySources = 1  // CTA_FILTER_FLAG(CTA_IP_SRC)
)

// sources is the request to forget the connections whose packets of a direction come from the address, of IPv4. It deletes
// all that pass the filter (ctnetlink_flush_conntrack, net/netfilter/nf_conntrack_netlink.c).
func sources(direction int, ip netip.Addr) *nl.NetlinkRequest {
	request := unfiltered(direction, ip)
	flags := nl.NewRtAttr(unix.NLA_F_NESTED|filter, nil)
	for _, of := range []int{original, reply} { // CTA_FILTER_ORIG_FLAGS and CTA_FILTER_REPLY_FLAGS have the same numbers
		value := uint32(0)
		if of == direction {
			value = bySources
		}
		flags.AddRtAttr(of, nl.Uint32Attr(value))
	}
	request.AddData(flags)
	return request
}

// unfiltered is sources as a kernel reads it that knows no filter here.
func unfiltered(direction int, ip netip.Addr) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(deleteMessage, unix.NLM_F_ACK)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|direction, nil)
	tuple.AddRtAttr(unix.NLA_F_NESTED|tupleIP, nil).AddRtAttr(ipV4Src, ip.AsSlice())
	request.AddData(tuple)
	return request
}

// attempts bounds the repetition of a dump that was interrupted by changes of the table.
const attempts = 4

// flushListed is flush for kernels that do not look themselves.
func flushListed(ip netip.Addr) error {
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netfilter netlink: %w", err)
	}
	defer h.Close()
	filters, err := filtersFor(ip)
	if err != nil {
		return err
	}
	family := netlink.InetFamily(unix.AF_INET)
	if ip.Is6() {
		family = unix.AF_INET6
	}
	for range attempts {
		_, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, family, filters...)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if absent(err) {
		return nil
	}
	return err
}

// filtersFor returns the filters of an address; an entry that meets any of them goes.
func filtersFor(ip netip.Addr) ([]netlink.CustomConntrackFilter, error) {
	var filters []netlink.CustomConntrackFilter
	for _, end := range []netlink.ConntrackFilterType{netlink.ConntrackOrigSrcIP, netlink.ConntrackReplySrcIP} {
		filter := &netlink.ConntrackFilter{}
		if err := filter.AddIP(end, net.IP(ip.AsSlice())); err != nil {
			return nil, err
		}
		filters = append(filters, filter)
	}
	return filters, nil
}
