package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
)

// plainPaths are the paths of a plain router: two containers of one node and one of another, wired by hand, with addresses of
// the primary ENIs, on nodes that forward.
func plainPaths(l *lab.Lab, of string, near, far *lab.Node) (paths []*path, err error) {
	var hosts []receiver
	for i, n := range []*lab.Node{near, near, far} {
		to, err := wirePlain(l, n, fmt.Sprintf("plain%d", i))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, to)
	}
	for where, to := range map[string]receiver{sameNode: hosts[1], otherNode: hosts[2]} {
		p, err := newPath(carried(of, where), 0, hosts[0].host, to)
		if err != nil {
			return paths, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// addIdleRule gives a node a policy rule that no packet meets. From the first rule on, the kernel asks them all for each packet, where it
// asks one table without (fib_lookup, include/net/ip_fib.h).
func addIdleRule(n *lab.Node) error {
	h, err := n.Handle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table = netlink.FAMILY_V4, 1000, unix.RT_TABLE_MAIN
	r.Src = &net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(32, 32)}
	if err := h.RuleAdd(r); err != nil {
		return fmt.Errorf("add a rule: %w", err)
	}
	return nil
}

// trackConnections has a node track connections, by a rule of nftables that asks for their state and does nothing with it.
func trackConnections(ctx context.Context, n *lab.Node) error {
	_, err := n.Output(ctx, nil, "nft", "add table ip idle; add chain ip idle idle { type filter hook prerouting priority 0; }; add rule ip idle idle ct state invalid")
	if err != nil {
		return fmt.Errorf("track connections: %w", err)
	}
	return nil
}

// wirePlain wires a container to a node, with another address of the node's primary ENI.
func wirePlain(l *lab.Lab, n *lab.Node, id string) (receiver, error) {
	ips, err := l.VPC.AddAddresses(l.VPC.ENIs(n.InstanceID)[0].ID, 1)
	if err != nil {
		return receiver{}, err
	}
	w, err := newWire(n, id, ips[0].AsSlice())
	if err != nil {
		return receiver{}, err
	}
	err = n.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) })
	return receiver{n.Container(id), ips[0]}, errors.Join(err, w.connect(), w.close())
}
