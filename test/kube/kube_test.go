//go:build kube

package kube

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/enichain/enichain/test/probe"
)

// TestKubernetes is the life of one cluster: many pods, some of which stay as the Services' endpoints, both modes of
// kube-proxy, a node's reboot, and an end that leaves nothing. A step that fails ends it.
func TestKubernetes(t *testing.T) {
	c := up(t)
	var gone []string
	step := func(name string, test func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, test) {
			t.FailNow()
		}
	}
	step("a hundred pods", func(t *testing.T) { gone = c.aHundredPods(t) })
	step("services are made", c.servicesAreMade)
	for _, mode := range []string{"iptables", "nftables"} {
		step("kube-proxy "+mode, func(t *testing.T) { c.services(t, mode) })
	}
	step("a node reboots", c.aNodeReboots)
	step("nothing is left", func(t *testing.T) { c.nothingIsLeft(t, gone) })
}

// aHundredPods brings pods up, calls each, and takes them down but for those that the next steps call. It returns all
// addresses that there were.
func (c *cluster) aHundredPods(t *testing.T) (ips []string) {
	if err := c.createMany(); err != nil {
		t.Fatal(err)
	}
	pods, err := c.awaitPods(many)
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[netip.Addr]bool{}
	for _, p := range pods {
		distinct[p.ip()] = true
		ips = append(ips, p.Status.PodIP)
		to := netip.AddrPortFrom(p.ip(), podPort)
		if seen, err := c.callAs("vpc", to); err != nil || seen != c.ipOf("vpc") {
			t.Errorf("a host of the VPC calls %s: is seen as %s, %v", describe(p), seen, err)
		}
	}
	if t.Failed() {
		t.FailNow() // the next steps would say the same more slowly
	}
	if len(distinct) != many {
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
			seen, err := c.callFrom(from, netip.AddrPortFrom(to.ip(), podPort))
			if err != nil || seen != from.ip() {
				t.Errorf("%s calls %s: is seen as %s, %v", describe(from), describe(to), seen, err)
			}
		}
	}
	return ips
}

// servicesAreMade makes the Services, a pod with a host port, and the servers that are no pods.
func (c *cluster) servicesAreMade(t *testing.T) {
	port := fmt.Sprintf(`, "ports": [{"containerPort": %d, "hostPort": %d}]`, podPort, hostPortPod)
	if err := c.createPod("hostport", podSpec("node1", port)); err != nil {
		t.Fatal(err)
	}
	if err := c.createServices(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"internet", "vpc"} {
		var s *probe.Server
		if err := c.host(name).Do(func() (err error) {
			s, err = probe.ServeTCP(c.ctx, netip.AddrPortFrom(c.ipOf(name), podPort))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		c.t.Cleanup(func() { _ = s.Close() }) // of no interest by then
	}
	if _, err := c.awaitPods(2*len(c.workers) + 1); err != nil {
		t.Fatal(err)
	}
}

// services calls all services with kube-proxy in a mode.
func (c *cluster) services(t *testing.T, mode string) {
	for _, w := range c.workers {
		if err := c.startProxy(w, mode); err != nil {
			t.Fatal(err)
		}
	}
	c.walkAll(t)
	c.dump(t, mode)
	if mode == "nftables" {
		return // it goes on
	}
	for _, w := range c.workers {
		if err := c.stopProxy(w); err != nil {
			t.Fatal(err)
		}
	}
}

// aNodeReboots cuts the power of a node that has pods, and expects all to work again when they are back.
func (c *cluster) aNodeReboots(t *testing.T) {
	w := c.workers[0]
	before := c.containers(w)
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
	if _, err := c.awaitPods(2*len(c.workers) + 1); err != nil {
		t.Fatal(err)
	}
	c.walkAll(t)
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
func (c *cluster) nothingIsLeft(t *testing.T, gone []string) {
	for _, p := range c.pods.list() {
		gone = append(gone, p.Status.PodIP)
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
