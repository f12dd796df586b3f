package bench

import (
	"errors"
	"fmt"
	"os"

	"github.com/enichain/enichain/test/lab"
)

// plainPaths are the paths of the plain router: two containers of one node and one of another, wired by hand, with addresses of
// the primary ENIs, on nodes that forward and have no rule.
func plainPaths(l *lab.Lab, near, far *lab.Node) (paths []*path, err error) {
	var hosts []receiver
	for i, n := range []*lab.Node{near, near, far} {
		to, err := wirePlain(l, n, fmt.Sprintf("plain%d", i))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, to)
	}
	for where, to := range map[string]receiver{sameNode: hosts[1], otherNode: hosts[2]} {
		p, err := newPath(carried(router, where), 0, hosts[0].host, to)
		if err != nil {
			return paths, err
		}
		paths = append(paths, p)
	}
	return paths, nil
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
