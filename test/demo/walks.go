package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// firstNodePort is the first of the ports that are services' on a node.
const firstNodePort = 30080

// place is an end of a walk.
type place struct {
	name string
	host *lab.Host
	ip   netip.Addr
	link string // of a container's ENI
}

func (c *container) place(f stack) place { return place{c.String(), c.host, f.of(c.ips), c.link} }
func (n *node) place(f stack) place      { return place{n.Name, &n.Host, f.of(n.primary), ""} }
func (d *demo) internet(f stack) place   { return place{"internet", d.lab.Internet, f.internet, ""} }

// walkAll makes every walk but the one of withoutSNAT, by each family. What is called node2 is any other host of the VPC too.
func (d *demo) walkAll(ctx context.Context) error {
	d.title("Every walk of a packet")
	d.printf("  The interfaces on the nodes that carried it (veth is a container's), in order; the answer took the same way back.\n")
	walked := d.walked()
	if d.IPv6 && !slices.ContainsFunc(walked, func(f stack) bool { return f.number == netlink.FAMILY_V6 }) {
		return errors.New("containers have no address of IPv6: is it in the \"families\" of the network configuration?")
	}
	for _, f := range walked {
		d.printf("\n")
		if d.IPv6 {
			d.printf("  %s\n", f.Family)
		}
		if err := d.walkBy(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// walkBy makes every walk of a family.
func (d *demo) walkBy(ctx context.Context, f stack) error {
	n1, n2 := d.nodes[0], d.nodes[1]
	if len(n1.on("eth1")) < 2 {
		return fmt.Errorf("%s has fewer than two containers on eth1", n1.Name)
	}
	p0, p1, p2 := n1.on("eth0")[0].place(f), n1.on("eth1")[0].place(f), n1.on("eth2")[0].place(f)
	neighbour, other1, other2 := n1.on("eth1")[1].place(f), n2.on("eth1")[0].place(f), n2.on("eth2")[0].place(f)
	walks := []walk{
		d.tcp(p1, neighbour, "veth > veth"),
		d.tcp(p1, p2, "veth > veth"),
		d.tcp(p0, p1, "veth > veth"),
		d.tcp(p1, other1, "veth > eth1 > eth1 > veth"),
		d.tcp(p2, other1, "veth > eth2 > eth1 > veth"),
		d.tcp(p0, other2, "veth > eth0 > eth2 > veth"),
		d.tcp(p1, n1.place(f), "veth"),
		d.tcp(n1.place(f), p1, "veth"),
		d.tcp(p1, n2.place(f), "veth > eth1 > eth0"),
		d.tcp(n2.place(f), p1, "eth0 > eth1 > veth"), // recipe 5
		d.tcp(n2.place(f), p2, "eth0 > eth2 > veth"),
		d.tcp(n2.place(f), p0, "eth0 > eth0 > veth"),
	}
	for _, p := range []place{p0, p1, p2} {
		walks = append(walks, d.beyond(f, n1, p)...)
	}
	if f.private {
		walks = append(walks, d.metadata(n1, p1))
	}
	services, err := d.services(f, p1, p2)
	if err != nil {
		return err
	}
	err = d.takeAll(ctx, append(walks, services...)...)
	return errors.Join(err, n1.Do(f.removeServices))
}

// beyond are the walks of a container to the internet, and from there where it knows the container.
func (d *demo) beyond(f stack, n *node, p place) []walk {
	if f.private {
		return []walk{d.tcp(p, d.internet(f), "veth > eth0").seenAs(f.of(n.primary))}
	}
	return []walk{d.tcp(p, d.internet(f), "veth > "+p.link), d.tcp(d.internet(f), p, p.link+" > veth")}
}

// services makes what kube-proxy would make of some services on the first node, and the walks to them.
func (d *demo) services(f stack, p1, p2 place) ([]walk, error) {
	n1, n2 := d.nodes[0], d.nodes[1]
	primary := f.of(n1.primary)
	var rules []service
	serve := func(from, to place, at netip.AddrPort, path string, masquerade bool) walk {
		port := d.port()
		rules = append(rules, service{at: at, to: netip.AddrPortFrom(to.ip, port), masquerade: masquerade})
		w := d.call(from, to, port, at, path)
		w.to = fmt.Sprintf("%s:%d to %s", n1.Name, at.Port(), to.name)
		return w
	}
	nodePort := func(number uint16) netip.AddrPort { return netip.AddrPortFrom(primary, firstNodePort+number) }
	itself := serve(p1, p1, f.service, "veth > veth", false).seenAs(primary)
	itself.to = fmt.Sprintf("itself by Service %s", f.service)
	walks := []walk{
		serve(d.internet(f), p1, nodePort(0), "eth0 > veth", false),
		serve(n2.place(f), p2, nodePort(1), "eth0 > eth0 > veth", false),
		serve(d.internet(f), p1, nodePort(2), "eth0 > veth", true).seenAs(primary),
		itself,
	}
	return walks, n1.Do(func() error { return f.addServices(rules) })
}

// port returns one that no other walk uses, so that its packets are known by it.
func (d *demo) port() uint16 {
	d.ports++
	return d.ports
}

// tcp is a call from one place to another, which sees the caller's own address.
func (d *demo) tcp(from, to place, path string) walk {
	port := d.port()
	return d.call(from, to, port, netip.AddrPortFrom(to.ip, port), path)
}

// call is a call of an address that leads to a port of a place.
func (d *demo) call(from, to place, port uint16, at netip.AddrPort, path string) walk {
	return walk{
		from: from.name, to: to.name, path: path, source: from.ip.String(),
		mine: func(p probe.Packet) bool {
			ours := func(ap netip.AddrPort) bool { return ap.Port() == port || ap == at }
			return p.Protocol == "tcp" && (ours(p.Src) || ours(p.Dst))
		},
		call: func(ctx context.Context) (sight, error) {
			var server *probe.Server
			err := to.host.Do(func() (err error) {
				server, err = probe.ServeTCP(ctx, netip.AddrPortFrom(to.ip, port))
				return err
			})
			if err != nil {
				return sight{}, err
			}
			var seen probe.Seen
			err = from.host.Do(func() (err error) {
				seen, err = probe.CallTCP(ctx, at, probe.From{}, []byte("hello"))
				return err
			})
			if err := errors.Join(err, server.Close()); err != nil {
				return sight{}, err
			}
			return sight{source: seen.Peer.Addr().String()}, nil
		},
	}
}

// seenAs changes whom the far end is to see.
func (w walk) seenAs(source netip.Addr) walk {
	w.source = source.String()
	return w
}

// metadata asks the metadata service, as an SDK in a container does, which instance this is. Whom it sees is captured at
// its own end.
func (d *demo) metadata(n *node, from place) walk {
	ours := func(p probe.Packet) bool {
		return p.Protocol == "tcp" && (p.Src == d.metadataAt || p.Dst == d.metadataAt)
	}
	return walk{
		from: from.name, to: "metadata service", path: "veth > eth0", source: ipv4().of(n.primary).String(), mine: ours,
		call: func(ctx context.Context) (sight, error) {
			var capture *probe.Capture
			err := d.lab.Router.Do(func() (err error) {
				capture, err = probe.StartCapture(func(p probe.Packet) bool { return ours(p) && request(p) }, 128)
				return err
			})
			if err != nil {
				return sight{}, err
			}
			instance, err := d.askInstanceID(ctx, from.host)
			packets, stopped := capture.Stop()
			if err := errors.Join(err, stopped); err != nil {
				return sight{}, err
			}
			if instance != n.InstanceID {
				return sight{}, fmt.Errorf("it was taken for %s, and is in %s", instance, n.InstanceID)
			}
			if len(packets) == 0 {
				return sight{}, errors.New("nothing reached the metadata service")
			}
			return sight{source: packets[0].Src.Addr().String()}, nil
		},
	}
}

// askInstanceID asks the metadata service from within a host.
func (d *demo) askInstanceID(ctx context.Context, h *lab.Host) (string, error) {
	transport := &http.Transport{DialContext: h.DialContext}
	defer transport.CloseIdleConnections()
	ask := func(method, path, header, value string) (string, error) {
		request, err := http.NewRequestWithContext(ctx, method, "http://"+d.metadataAt.Addr().String()+path, nil)
		if err != nil {
			return "", err
		}
		if header != "" {
			request.Header.Set(header, value)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			return "", err
		}
		if response.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s %s: %s: %s", method, path, response.Status, body)
		}
		return string(body), nil
	}
	return d.instanceID(ask)
}
