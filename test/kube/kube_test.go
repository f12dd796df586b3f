//go:build kube

package kube

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/probe"
)

// TestDualStack is the life of one cluster: many pods, some of which stay as the Services' endpoints, both modes of
// kube-proxy, a node's reboot, and an end that leaves nothing. A step that fails ends it.
func TestDualStack(t *testing.T) {
	c := up(t, ipv4(), ipv6())
	var gone []netip.Addr
	step(t, "a hundred pods", func(t *testing.T) { gone = c.aHundredPods(t) })
	step(t, "services are made", c.servicesAreMade)
	step(t, "kube-proxy iptables", func(t *testing.T) { c.services(t, "iptables") })
	step(t, "kube-proxy nftables", func(t *testing.T) { c.services(t, "nftables") })
	step(t, "eni-snat changes to iptables", c.backendChanges)
	step(t, "kube-proxy nftables, eni-snat iptables", func(t *testing.T) { c.services(t, "nftables") })
	step(t, "kube-proxy iptables, eni-snat iptables", func(t *testing.T) { c.services(t, "iptables") })
	step(t, "a node reboots", c.aNodeReboots)
	step(t, "nothing is left", func(t *testing.T) { c.nothingIsLeft(t, gone) })
}

// TestSingleStack is a shorter life, of a cluster with IPv4 alone, and of one with IPv6 alone.
func TestSingleStack(t *testing.T) {
	for _, f := range []family{ipv4(), ipv6()} {
		t.Run(f.name, func(t *testing.T) {
			c := up(t, f)
			var gone []netip.Addr
			step(t, "a hundred pods", func(t *testing.T) { gone = c.aHundredPods(t) })
			step(t, "services are made", c.servicesAreMade)
			step(t, "kube-proxy iptables", func(t *testing.T) { c.services(t, "iptables") })
			step(t, "eni-snat changes to iptables", c.backendChanges)
			step(t, "a node reboots", c.aNodeReboots) // and has kube-proxy's mode nftables then
			step(t, "nothing is left", func(t *testing.T) { c.nothingIsLeft(t, gone) })
		})
	}
}

func step(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, test) {
		t.FailNow()
	}
}

// aHundredPods brings pods up, calls each, and takes them down but for those that the next steps call. It returns all
// addresses that there were.
func (c *cluster) aHundredPods(t *testing.T) (ips []netip.Addr) {
	if err := c.createMany(); err != nil {
		t.Fatal(err)
	}
	pods, err := c.awaitPods(many)
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[netip.Addr]bool{}
	for _, p := range pods {
		for _, f := range c.families {
			distinct[p.ip(f)] = true
			to := netip.AddrPortFrom(p.ip(f), podPort)
			if seen, err := c.callAs("vpc", to); err != nil || seen != c.ipOf(f, "vpc") {
				t.Errorf("a host of the VPC calls %s: is seen as %s, %v", describe(p), seen, err)
			}
		}
		ips = append(ips, p.ips()...)
	}
	if t.Failed() {
		t.FailNow() // the next steps would say the same more slowly
	}
	if len(distinct) != many*len(c.families) {
		t.Errorf("%d pods have %d addresses", many, len(distinct))
	}
	if err := c.choose(pods); err != nil {
		t.Fatal(err)
	}
	if err := c.api.do(c.ctx, http.MethodDelete, deploymentsURL+"/many", "", nil); err != nil {
		t.Fatal(err)
	}
	staying, err := c.awaitPods(2 * len(c.workers))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range staying {
		for _, to := range staying {
			c.podCallsPod(t, from, to)
		}
	}
	return ips
}

func (c *cluster) podCallsPod(t *testing.T, from, to object) {
	t.Helper()
	for _, f := range c.families {
		seen, err := c.callFrom(from, netip.AddrPortFrom(to.ip(f), podPort))
		if err != nil || seen != from.ip(f) {
			t.Errorf("%s calls %s: is seen as %s, %v", describe(from), describe(to), seen, err)
		}
	}
}

// servicesAreMade makes the Services, a pod with a host port, and the servers that are no pods.
func (c *cluster) servicesAreMade(t *testing.T) {
	port := fmt.Sprintf(`, "ports": [{"containerPort": %d, "hostPort": %d}]`, podPort, hostPortPod)
	if err := c.createPod("hostport", c.podSpec("node1", port)); err != nil {
		t.Fatal(err)
	}
	if err := c.createServices(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"internet", "vpc"} {
		for _, f := range c.families {
			c.serve(t, name, f)
		}
	}
	if _, err := c.awaitPods(2*len(c.workers) + 1); err != nil {
		t.Fatal(err)
	}
}

// serve makes a host a server of a family.
func (c *cluster) serve(t *testing.T, name string, f family) {
	t.Helper()
	var s *probe.Server
	if err := c.host(name).Do(func() (err error) {
		s, err = probe.ServeTCP(c.ctx, netip.AddrPortFrom(c.ipOf(f, name), podPort))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = s.Close() }) // of no interest by then
}

// services calls all services with kube-proxy in a mode.
func (c *cluster) services(t *testing.T, mode string) {
	for _, w := range c.workers {
		if err := c.startProxy(w, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("calls", c.walkAll)
	if *update && len(c.families) > 1 {
		for _, f := range c.families {
			c.dump(t, mode, f)
		}
	}
	for _, w := range c.workers {
		if err := c.stopProxy(w); err != nil {
			t.Fatal(err)
		}
	}
}

// backendChanges gives both nodes a conflist with eni-snat on iptables, which a new pod of each puts into effect.
func (c *cluster) backendChanges(t *testing.T) {
	pods := len(c.pods.list())
	for _, w := range c.workers {
		if err := w.Do(func() error { return os.WriteFile(conflistPath, onIPTables(w.conflist), 0o600) }); err != nil {
			t.Fatal(err)
		}
	}
	// containerd takes a changed conflist when the kernel tells it; a pod that was faster is no use.
	for round := 1; ; round++ {
		for _, w := range c.workers {
			if err := c.createPod(fmt.Sprintf("new-%s-%d", w.Name, round), c.podSpec(w.Name, "")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.awaitPods(pods + round*len(c.workers)); err != nil {
			t.Fatal(err)
		}
		err := c.onIPTables()
		if err == nil {
			return
		}
		if round == 5 {
			t.Fatal(err)
		}
	}
}

// onIPTables says which node does not have eni-snat's rules in iptables, or still has them in a table of nftables.
func (c *cluster) onIPTables() error {
	for _, w := range c.workers {
		tables, err := w.Output(c.ctx, nil, "nft", "list", "tables")
		if err != nil {
			return err
		}
		for _, f := range c.families {
			rules, err := w.Output(c.ctx, nil, f.save)
			if err != nil {
				return err
			}
			if strings.Contains(string(tables), "table "+f.table+" enichain") || !strings.Contains(string(rules), "ENI-PRE-enichain") {
				return fmt.Errorf("%s, %s, has:\n%s%s", w.Name, f.name, tables, rules)
			}
		}
	}
	return nil
}

// aNodeReboots cuts the power of a node that has pods, and expects all to work again when they are back.
func (c *cluster) aNodeReboots(t *testing.T) {
	for _, w := range c.workers {
		if err := c.startProxy(w, "nftables"); err != nil {
			t.Fatal(err)
		}
	}
	w := c.workers[0]
	before, pods := c.containers(w), len(c.pods.list())
	if err := c.powerOff(w); err != nil {
		t.Fatal(err)
	}
	if err := c.Reboot(w.Node); err != nil {
		t.Fatal(err)
	}
	if err := c.powerOn(w); err != nil {
		t.Fatal(err)
	}
	if err := c.startProxy(w, "nftables"); err != nil {
		t.Fatal(err)
	}
	if err := c.await("the pods to be made anew", func() error {
		for name, id := range c.containers(w) {
			if id == before[name] || id == "" {
				return fmt.Errorf("%s is %q", name, id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.awaitPods(pods); err != nil {
		t.Fatal(err)
	}
	t.Run("calls", c.walkAll)
}

// containers are the IDs of a node's containers, by pod.
func (c *cluster) containers(w *worker) map[string]string {
	all := map[string]string{}
	for _, p := range c.pods.list() {
		if p.Spec.NodeName == w.Name && len(p.Status.ContainerStatuses) > 0 {
			all[p.Metadata.Name] = p.Status.ContainerStatuses[0].ContainerID
		}
	}
	return all
}

// nothingIsLeft deletes all pods, and looks for traces of those that there were.
func (c *cluster) nothingIsLeft(t *testing.T, gone []netip.Addr) {
	for _, p := range c.pods.list() {
		gone = append(gone, p.ips()...)
	}
	for _, w := range c.workers {
		if err := c.left(w, gone); err == nil {
			t.Errorf("%s has pods, and no trace of them is found", w.Name)
		}
	}
	if err := c.api.do(c.ctx, http.MethodDelete, podsURL, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.awaitPods(0); err != nil {
		t.Fatal(err)
	}
	for _, w := range c.workers {
		if err := c.stopProxy(w); err != nil {
			t.Fatal(err)
		}
		if err := c.poll(proxyTimeout, "traces to go", func() error { return c.left(w, gone) }); err != nil {
			t.Error(err)
		}
	}
}
