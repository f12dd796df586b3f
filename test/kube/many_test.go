//go:build kube

package kube

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/enichain/enichain/test/vpcsim"
)

const (
	deploymentsURL = "/apis/apps/v1/namespaces/default/deployments"
	many           = 100
)

// createMany makes a deployment of many pods.
func (c *cluster) createMany() error {
	return c.api.create(c.ctx, deploymentsURL, fmt.Sprintf(`{"metadata": {"name": "many"}, "spec": {"replicas": %d,
		"selector": {"matchLabels": {"app": "many"}},
		"template": {"metadata": {"labels": {"app": "many"}}, "spec": %s}}}`, many, c.podSpec("", "")))
}

// eniOf is the ENI that the cloud has the address on.
func (c *cluster) eniOf(ip netip.Addr) (vpcsim.ENI, bool) {
	for _, n := range c.Nodes {
		for _, e := range c.VPC.ENIs(n.InstanceID) {
			ranged := slices.ContainsFunc(e.Prefixes6, func(p netip.Prefix) bool { return p.Contains(ip) })
			if ranged || slices.Contains(e.Secondary, ip) || slices.Contains(e.IPv6, ip) {
				return e, true
			}
		}
	}
	return vpcsim.ENI{}, false
}

// place says where a pod is: "node1-primary" on the primary ENI of its node, "node1-secondary" on others, and "" where its
// addresses are on both.
func (c *cluster) place(p object) (place string, err error) {
	for n, ip := range p.ips() {
		eni, ok := c.eniOf(ip)
		if !ok || eni.InstanceID != c.Node(p.Spec.NodeName).InstanceID {
			return "", fmt.Errorf("%s: no ENI of its node has %s", describe(p), ip)
		}
		kind := "secondary"
		if eni.DeviceIndex == 0 {
			kind = "primary"
		}
		if here := p.Spec.NodeName + "-" + kind; n == 0 {
			place = here
		} else if place != here {
			return "", nil
		}
	}
	return place, nil
}

// choose takes a pod on the primary ENI and one on another of each node out of the deployment, and names them by the
// label app: "node1-primary".
func (c *cluster) choose(pods []object) error {
	chosen := map[string]bool{}
	for _, p := range pods {
		name, err := c.place(p)
		if err != nil {
			return err
		}
		if name == "" || chosen[name] {
			continue
		}
		chosen[name] = true
		patch := fmt.Sprintf(`{"metadata": {"labels": {"app": %q}, "ownerReferences": null}}`, name)
		if err := c.api.do(c.ctx, http.MethodPatch, podsURL+"/"+p.Metadata.Name, patch, nil); err != nil {
			return err
		}
	}
	if len(chosen) != 2*len(c.workers) {
		return fmt.Errorf("pods are on %v only", chosen)
	}
	return nil
}

// pod is the one with a label app.
func (c *cluster) pod(app string) (object, bool) {
	for _, p := range c.pods.list() {
		if p.Metadata.Labels["app"] == app {
			return p, true
		}
	}
	return object{}, false
}
