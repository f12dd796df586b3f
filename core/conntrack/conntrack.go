// Package conntrack forgets connections. An address that goes to another container must not take the first one's
// connections with it: a reply, or a retried SYN, would be translated for a container that is gone.
package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attempts bounds the repetition of a dump that was interrupted by changes of the table.
const attempts = 4

// Flush forgets all connections of the calling thread's network namespace that have one of the addresses at either end,
// before or after translation, and says how many. A kernel without conntrack has none.
func Flush(ips ...netip.Addr) (uint, error) {
	if len(ips) == 0 {
		return 0, nil
	}
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open netfilter netlink: %w", err)
	}
	defer h.Close()
	var n uint
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		filters, err := filtersFor(family, ips)
		if err != nil {
			return n, err
		}
		got, err := flush(h, family, filters)
		n += got
		if err != nil {
			return n, fmt.Errorf("forget connections of %v: %w", ips, err)
		}
	}
	return n, nil
}

func flush(h *netlink.Handle, family netlink.InetFamily, filters []netlink.CustomConntrackFilter) (n uint, err error) {
	if len(filters) == 0 {
		return 0, nil
	}
	for range attempts {
		var got uint
		got, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, family, filters...)
		n += got
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	// nfnetlink answers EINVAL or EOPNOTSUPP where nf_conntrack_netlink is not there.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return n, nil
	}
	return n, err
}

// filtersFor returns the filters of the addresses of one family; an entry that meets any of them goes. The reply's ends
// count too: after DNAT the original direction does not name the container.
func filtersFor(family netlink.InetFamily, ips []netip.Addr) ([]netlink.CustomConntrackFilter, error) {
	ends := []netlink.ConntrackFilterType{
		netlink.ConntrackOrigSrcIP, netlink.ConntrackOrigDstIP, netlink.ConntrackReplyAnyIP,
	}
	var filters []netlink.CustomConntrackFilter
	for _, ip := range ips {
		if ip.Is4() != (family == unix.AF_INET) {
			continue
		}
		for _, end := range ends {
			filter := &netlink.ConntrackFilter{}
			if err := filter.AddIP(end, net.IP(ip.AsSlice())); err != nil {
				return nil, fmt.Errorf("conntrack filter for %s: %w", ip, err)
			}
			filters = append(filters, filter)
		}
	}
	return filters, nil
}
