package lab_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
	"github.com/enichain/enichain/test/vpcsim"
)

const internet6 = "2001:db8:100::10"

// The fabric delivers IPv6 where it is assigned and nowhere else, on both clouds.
func TestIPv6(t *testing.T) {
	for _, cloud := range []string{vpcsim.AWS, vpcsim.TencentCloud} {
		t.Run(cloud, func(t *testing.T) {
			t.Parallel()
			l := up(t, lab.Options{Cloud: cloud, IPv6: true})
			one, two := l.Node("node1"), l.Node("node2")
			at := l.VPC.ENIs(two.InstanceID)[0]
			for _, to := range []string{at.PrimaryIP6.String(), internet6, node2Eth0} {
				reply, err := ping(t, &one.Host, to, probe.From{})
				if err != nil {
					t.Error(err)
				} else if reply.TTL != 64 {
					t.Errorf("ping %s: TTL %d at its return; the fabric is to be no hop", to, reply.TTL)
				}
			}
			ips, prefixes, err := l.VPC.AddIPv6(at.ID, 1, 0)
			if err == nil && cloud == vpcsim.AWS {
				_, prefixes, err = l.VPC.AddIPv6(at.ID, 0, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range prefixes {
				ips = append(ips, p.Addr().Next())
			}
			for _, ip := range ips {
				give(t, two, "eth0", ip)
				for _, from := range []*lab.Host{&one.Host, l.Internet} {
					if _, err := ping(t, from, ip.String(), probe.From{}); err != nil {
						t.Error(err)
					}
				}
			}
			if spoofed, _ := drops(t, l); spoofed != 0 {
				t.Errorf("%d good packets were dropped as spoofed", spoofed)
			}
			callOver6(t, one, two, at.PrimaryIP6)
			spoof6(t, l, two)
			if err := l.Reboot(two); err != nil {
				t.Fatal(err)
			}
			if _, err := ping(t, &one.Host, at.PrimaryIP6.String(), probe.From{}); err != nil {
				t.Errorf("after the node's reboot: %v", err)
			}
		})
	}
}

// give gives an interface of a node an address of IPv6.
func give(t *testing.T, n *lab.Node, name string, ip netip.Addr) {
	t.Helper()
	do(t, &n.Host, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		const noDAD = 2 // IFA_F_NODAD
		address, err := netlink.ParseAddr(ip.String() + "/128")
		if err != nil {
			return err
		}
		address.Flags = noDAD
		return netlink.AddrAdd(link, address)
	})
}

func callOver6(t *testing.T, from, to *lab.Node, at netip.Addr) {
	t.Helper()
	var server *probe.Server
	do(t, &to.Host, func() (err error) {
		server, err = probe.ServeTCP(t.Context(), netip.AddrPortFrom(at, 0))
		return err
	})
	do(t, &from.Host, func() error {
		seen, err := probe.CallTCP(t.Context(), server.Addr(), probe.From{}, []byte("hello"))
		if err == nil && seen.Peer != seen.Local {
			t.Errorf("the server saw %s, and the caller is %s", seen.Peer, seen.Local)
		}
		return err
	})
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

// spoof6 sends from an address that is not assigned, which the fabric drops, and counts.
func spoof6(t *testing.T, l *lab.Lab, n *lab.Node) {
	t.Helper()
	stray := netip.MustParseAddr("2001:db8:19:a::bad")
	give(t, n, "eth0", stray)
	if err := within(t, &n.Host, silence, func(ctx context.Context) error {
		_, err := probe.Ping(ctx, netip.MustParseAddr(internet6), probe.From{Address: stray})
		return err
	}); err == nil {
		t.Errorf("%s, which is not assigned, was answered", stray)
	}
	found, err := l.Spoofers()
	if err != nil || len(found) != 1 || found[0].Source != stray || found[0].Port != "node2-eth0" {
		t.Errorf("spoofers: %+v, error %v", found, err)
	}
}
