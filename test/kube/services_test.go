//go:build kube

package kube

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

const (
	servicesURL = "/api/v1/namespaces/default/services"
	slicesURL   = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
)

// A service has a number, which says its addresses (family.clusterIP) and its node port, which is that of both families.
func nodePort(number int) uint16 { return uint16(30000 + number) }

// The numbers of the services: what their one endpoint is, and how a node port treats callers from outside.
const (
	toNode2     = 11 + iota // a pod on a secondary ENI of node2; policy Cluster
	toNode1                 // one of node1; policy Local
	toPrimary               // a pod on the primary ENI of node1
	toInternet              // a host beyond the VPC
	toVPC                   // a host of the VPC that is no node
	toLast                  // the pod of toNode2, by the cluster's last family alone
	hostPortPod = 31080     // of a pod of node1
)

// service is what a Service is made of.
type service struct {
	families []family
	policy   string
	selector string // the label app of its pod; one without has a slice of endpoints that is made for it
}

const serviceManifest = `{"metadata": {"name": "service-%[1]d"}, "spec": {"type": "NodePort", "externalTrafficPolicy": %[2]q,
	"ipFamilyPolicy": %[3]q, "ipFamilies": %[4]s, "clusterIP": %[5]q, "clusterIPs": %[6]s,
	"ports": [{"port": 80, "targetPort": %[7]d, "nodePort": %[8]d}]%[9]s}}`

// manifest is the Service in JSON.
func (s service) manifest(number int) string {
	policy, selector := "SingleStack", ""
	if len(s.families) > 1 {
		policy = "RequireDualStack"
	}
	if s.selector != "" {
		selector = fmt.Sprintf(`, "selector": {"app": %q}`, s.selector)
	}
	var names, ips []string
	for _, f := range s.families {
		names, ips = append(names, f.name), append(ips, f.service(number).String())
	}
	return fmt.Sprintf(serviceManifest, number, s.policy, policy, quoted(names), ips[0], quoted(ips), podPort, nodePort(number), selector)
}

// createServices makes the services of the tests, whose pods carry the label app.
func (c *cluster) createServices() error {
	all, last := c.families, c.families[len(c.families)-1:]
	for number, s := range map[int]service{
		toNode2:    {all, "Cluster", "node2-secondary"},
		toNode1:    {all, "Local", "node1-secondary"},
		toPrimary:  {all, "Cluster", "node1-primary"},
		toInternet: {all, "Cluster", ""},
		toVPC:      {all, "Cluster", ""},
		toLast:     {last, "Cluster", "node2-secondary"},
	} {
		if err := c.api.create(c.ctx, servicesURL, s.manifest(number)); err != nil {
			return err
		}
	}
	for number, host := range map[int]string{toInternet: "internet", toVPC: "vpc"} {
		for _, f := range c.families {
			manifest := fmt.Sprintf(`{"metadata": {"name": "slice-%[1]d-%[2]s", "labels": {"kubernetes.io/service-name": "service-%[1]d"}},
				"addressType": %[3]q, "ports": [{"port": %[4]d}], "endpoints": [{"addresses": [%[5]q]}]}`,
				number, strings.ToLower(f.name), f.name, podPort, c.ipOf(f, host))
			if err := c.api.create(c.ctx, slicesURL, manifest); err != nil {
				return err
			}
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
func (c *cluster) walks(f family) map[string][]walk {
	node1, node2 := c.ipOf(f, "node1"), c.ipOf(f, "node2")
	at := func(host netip.Addr, number int) netip.AddrPort { return netip.AddrPortFrom(host, nodePort(number)) }
	same := func(from string, to netip.AddrPort) walk { return walk{from, to, c.ipOf(f, from)} }
	out := func(from string, to netip.AddrPort) walk { // a pod of node1 calls beyond the VPC
		if f.translated {
			return walk{from, to, node1}
		}
		return same(from, to)
	}
	clusterIP := f.clusterIP
	all := map[string][]walk{
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
			{"node1-secondary", at(node1, toNode2), c.byOwnENI(f, "node1-secondary")},
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
			out("node1-primary", clusterIP(toInternet)), out("node1-secondary", clusterIP(toInternet)),
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
	if last := c.families[len(c.families)-1]; f.name == last.name {
		all["of one family"] = []walk{same("node1-secondary", clusterIP(toLast)), {"internet", at(node2, toLast), node2}}
	}
	return all
}

// proxyTimeout is how long calls may be wrong until kube-proxy has written its rules.
const proxyTimeout = 2 * time.Minute

// walkAll makes all calls of the tests.
func (c *cluster) walkAll(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(proxyTimeout)
	for _, f := range c.families {
		for name, walks := range c.walks(f) {
			t.Run(f.name+", "+name, func(t *testing.T) {
				t.Parallel() // what is not to be answered takes a while
				for _, w := range walks {
					if err := c.walk(w, time.Until(deadline)); err != nil {
						t.Errorf("%s calls %s: %v", w.from, w.to, err)
					}
				}
			})
		}
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

// byOwnENI is whom others see where kube-proxy masquerades what a pod sends by its own ENI: the host's address there, or the
// pod where the host has none. After a reboot that may be another ENI.
func (c *cluster) byOwnENI(f family, pod string) netip.Addr {
	ip := c.ipOf(f, pod)
	eni, _ := c.eniOf(ip)
	for _, own := range []netip.Addr{eni.PrimaryIP, eni.PrimaryIP6} {
		if f.has(own) {
			return own
		}
	}
	return ip
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
func (c *cluster) ipOf(f family, name string) netip.Addr {
	if p, ok := c.pod(name); ok {
		return p.ip(f)
	}
	switch name {
	case "internet":
		return f.internet
	case "vpc":
		return f.primary(c.Lab, c.control.Node)
	}
	return f.primary(c.Lab, c.Node(name))
}
