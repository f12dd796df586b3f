//go:build kube

package kube

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

const (
	servicesURL = "/api/v1/namespaces/default/services"
	slicesURL   = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
)

// A service has a number, which says its address and its node port.
func clusterIP(number int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, 0, byte(number)}), 80)
}

func nodePort(number int) uint16 { return uint16(30000 + number) }

// The numbers of the services: what their one endpoint is, and how a node port treats callers from outside.
const (
	toNode2     = 11 + iota // a pod on a secondary ENI of node2; policy Cluster
	toNode1                 // one of node1; policy Local
	toPrimary               // a pod on the primary ENI of node1
	toInternet              // a host beyond the VPC
	toVPC                   // a host of the VPC that is no node
	hostPortPod = 31080     // of a pod of node1
)

const serviceManifest = `{"metadata": {"name": "service-%[1]d"}, "spec": {"type": "NodePort", "clusterIP": "%[2]s",
	"externalTrafficPolicy": %[3]q, "ports": [{"port": %[4]d, "targetPort": %[5]d, "nodePort": %[6]d}]%[7]s}}`

// createServices makes the services of the tests, whose pods carry the label app.
func (c *cluster) createServices() error {
	for number, s := range map[int]struct{ policy, selector string }{
		toNode2:    {"Cluster", "node2-secondary"},
		toNode1:    {"Local", "node1-secondary"},
		toPrimary:  {"Cluster", "node1-primary"},
		toInternet: {"Cluster", ""},
		toVPC:      {"Cluster", ""},
	} {
		selector := ""
		if s.selector != "" {
			selector = fmt.Sprintf(`, "selector": {"app": %q}`, s.selector)
		}
		ip := clusterIP(number)
		manifest := fmt.Sprintf(serviceManifest, number, ip.Addr(), s.policy, ip.Port(), podPort, nodePort(number), selector)
		if err := c.api.create(c.ctx, servicesURL, manifest); err != nil {
			return err
		}
	}
	for number, host := range map[int]*lab.Host{toInternet: c.Internet, toVPC: &c.control.Node.Host} {
		manifest := fmt.Sprintf(`{"metadata": {"name": "slice-%[1]d", "labels": {"kubernetes.io/service-name": "service-%[1]d"}},
			"addressType": "IPv4", "ports": [{"port": %[2]d}], "endpoints": [{"addresses": ["%[3]s"]}]}`, number, podPort, c.addressOf(host))
		if err := c.api.create(c.ctx, slicesURL, manifest); err != nil {
			return err
		}
	}
	return nil
}

// walk is a call, and whom the far end is to see: a zero address says that there is to be no answer.
type walk struct {
	from string // a pod, or a host
	to   netip.AddrPort
	seen netip.Addr
}

// walks are the calls to each service, and to a host port. A call is masqueraded by the node that it enters, unless it
// comes from one of its own pods or the policy is Local.
func (c *cluster) walks() map[string][]walk {
	node1, node2 := c.ipOf("node1"), c.ipOf("node2")
	at := func(host netip.Addr, number int) netip.AddrPort { return netip.AddrPortFrom(host, nodePort(number)) }
	same := func(from string, to netip.AddrPort) walk { return walk{from, to, c.ipOf(from)} }
	return map[string][]walk{
		"ClusterIP": {
			same("node1-primary", clusterIP(toNode2)), same("node1-secondary", clusterIP(toNode2)),
			same("node2-primary", clusterIP(toNode2)), same("node2-secondary", clusterIP(toNode1)),
			same("node1", clusterIP(toNode2)), same("node2", clusterIP(toNode2)),
		},
		"hairpin": {
			{"node2-secondary", clusterIP(toNode2), node2},
			{"node1-secondary", clusterIP(toNode1), node1},
			{"node1-primary", clusterIP(toPrimary), node1},
			{"node1-primary", at(node1, toPrimary), node1},
		},
		"NodePort, policy Cluster": {
			{"internet", at(node1, toNode2), node1},
			{"internet", at(node2, toNode2), node2},
			{"vpc", at(node1, toNode2), node1},
			{"vpc", at(node2, toNode2), node2},
			{"internet", at(node1, toPrimary), node1},
			{"internet", at(node2, toPrimary), node2},
			{"node1-secondary", at(node1, toNode2), c.ownENI("node1-secondary")},
			{"node1-secondary", at(node2, toNode2), node2},
			{"node2", at(node1, toNode2), node1},
		},
		"NodePort, policy Local": {
			{"internet", at(node2, toNode2), node2},     // node2's rules are there
			same("node2-secondary", at(node2, toNode1)), // for its own pods it is a ClusterIP
			same("internet", at(node1, toNode1)), same("vpc", at(node1, toNode1)), same("node2", at(node1, toNode1)),
			same("node2-primary", at(node1, toNode1)), same("node2-secondary", at(node1, toNode1)),
			{"internet", at(node2, toNode1), netip.Addr{}},
			{"vpc", at(node2, toNode1), netip.Addr{}},
		},
		"endpoint beyond the VPC": {
			{"node1-primary", clusterIP(toInternet), node1},
			{"node1-secondary", clusterIP(toInternet), node1},
			{"node1", clusterIP(toInternet), node1},
			{"vpc", at(node2, toInternet), node2},
		},
		"endpoint in the VPC": {
			same("node1-primary", clusterIP(toVPC)), same("node1-secondary", clusterIP(toVPC)),
			{"internet", at(node2, toVPC), node2},
		},
		"hostPort": {
			same("internet", netip.AddrPortFrom(node1, hostPortPod)), same("vpc", netip.AddrPortFrom(node1, hostPortPod)),
			same("node2-secondary", netip.AddrPortFrom(node1, hostPortPod)), same("node1-secondary", netip.AddrPortFrom(node1, hostPortPod)),
		},
	}
}

// proxyTimeout is how long calls may be wrong until kube-proxy has written its rules.
const proxyTimeout = 2 * time.Minute

// walkAll makes all calls of the tests.
func (c *cluster) walkAll(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(proxyTimeout)
	for name, walks := range c.walks() {
		t.Run(name, func(t *testing.T) {
			for _, w := range walks {
				if err := c.walk(w, time.Until(deadline)); err != nil {
					t.Errorf("%s calls %s: %v", w.from, w.to, err)
				}
			}
		})
	}
}

// walk makes a call until it is as it is to be, and once at least.
func (c *cluster) walk(w walk, limit time.Duration) error {
	if !w.seen.IsValid() {
		if seen, err := c.callAs(w.from, w.to); err == nil {
			return fmt.Errorf("was answered, and seen as %s", seen)
		}
		return nil
	}
	return c.poll(limit, "the answer", func() error {
		seen, err := c.callAs(w.from, w.to)
		if err == nil && seen != w.seen {
			err = fmt.Errorf("is seen as %s, want %s", seen, w.seen)
		}
		return err
	})
}

// callAs calls from a pod or a host, by its name.
func (c *cluster) callAs(from string, to netip.AddrPort) (netip.Addr, error) {
	if p, ok := c.pod(from); ok {
		return c.callFrom(p, to)
	}
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	var seen probe.Seen
	err := c.host(from).Do(func() (err error) {
		seen, err = probe.CallTCP(ctx, to, probe.From{}, []byte("hello"))
		return err
	})
	return seen.Peer.Addr(), err
}

// ownENI is the primary address of a pod's ENI.
func (c *cluster) ownENI(pod string) netip.Addr {
	eni, _ := c.eniOf(c.ipOf(pod)) // zero, and so seen by nobody, where there is none
	return eni.PrimaryIP
}

// host is one of the lab's, by the name that the tests have for it.
func (c *cluster) host(name string) *lab.Host {
	switch name {
	case "internet":
		return c.Internet
	case "vpc":
		return &c.control.Node.Host
	}
	return &c.Node(name).Host
}

// ipOf is the address of a pod or a host.
func (c *cluster) ipOf(name string) netip.Addr {
	if p, ok := c.pod(name); ok {
		return p.ip()
	}
	return c.addressOf(c.host(name))
}

func (c *cluster) addressOf(h *lab.Host) netip.Addr {
	for _, n := range c.Nodes {
		if h == &n.Host {
			return primary(c.Lab, n)
		}
	}
	return netip.MustParseAddr("198.51.100.10") // the internet's only one
}
