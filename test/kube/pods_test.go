//go:build kube

package kube

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/enichain/enichain/test/image"
)

const (
	podPort = 8080 // where the pods' server listens
	podsURL = "/api/v1/namespaces/default/pods"
)

// podSpec is of a pod that names its callers, on a node or, where that is empty, on any. The program comes from the
// node's disk, where the plugins are too. ports is more of the container's description, from a comma on.
func podSpec(node, ports string) string {
	return fmt.Sprintf(`{"nodeName": %q, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false, "dnsPolicy": "Default",
		"containers": [{"name": "echo", "image": %q, "imagePullPolicy": "Never", "command": ["/opt/echo", "serve", "%d"],
			"volumeMounts": [{"name": "programs", "mountPath": "/opt", "readOnly": true}]%s}],
		"volumes": [{"name": "programs", "hostPath": {"path": "/opt/cni/bin"}}]}`, node, image.Name, podPort, ports)
}

// createPod makes a pod with the label app=NAME.
func (c *cluster) createPod(name, spec string) error {
	return c.api.create(c.ctx, podsURL, fmt.Sprintf(`{"metadata": {"name": %q, "labels": {"app": %[1]q}}, "spec": %s}`, name, spec))
}

// awaitPods waits until there are so many pods and all are ready, and returns them by name.
func (c *cluster) awaitPods(count int) (all []object, err error) {
	err = c.await(fmt.Sprintf("%d pods", count), func() error {
		all = c.pods.list()
		var lacking []string
		for _, p := range all {
			if !p.is("Ready") {
				lacking = append(lacking, describe(p))
			}
		}
		if len(all) != count || len(lacking) > 0 {
			return fmt.Errorf("there are %d; not ready are %d: %s", len(all), len(lacking), strings.Join(lacking, "; "))
		}
		return nil
	})
	return all, err
}

// ip is a ready pod's address.
func (o object) ip() netip.Addr {
	ip, _ := netip.ParseAddr(o.Status.PodIP) // zero until it has one
	return ip
}

// callFrom makes a pod's container call a server, as `kubectl exec` would, and returns whom that one sees.
func (c *cluster) callFrom(p object, to netip.AddrPort) (netip.Addr, error) {
	var out string
	path := fmt.Sprintf("/api/v1/nodes/%s/proxy/run/default/%s/echo?cmd=%s",
		p.Spec.NodeName, p.Metadata.Name, url.QueryEscape("/opt/echo call "+to.String()))
	if err := c.api.do(c.ctx, http.MethodPost, path, "", &out); err != nil {
		return netip.Addr{}, fmt.Errorf("%s calls %s: %w", p.Metadata.Name, to, err)
	}
	return netip.ParseAddr(strings.TrimSpace(out))
}
