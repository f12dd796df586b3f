//go:build kube

package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/enichain/enichain/test/image"
)

const (
	podPort = 8080 // where the pods' server listens
	podsURL = "/api/v1/namespaces/default/pods"
)

// podSpec is of a pod that names its callers, on a node or, where that is empty, on any. The program comes from the
// node's disk, where the plugins are too; the kubelet asks whether it listens. ports is more of the container's description, from a comma on.
func (c *cluster) podSpec(node, ports string) string {
	command := append([]string{"/opt/echo", "serve"}, each(c, func(f family) string {
		return netip.AddrPortFrom(f.unspecified, podPort).String()
	})...)
	return fmt.Sprintf(`{"nodeName": %q, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false, "dnsPolicy": "Default",
		"containers": [{"name": "echo", "image": %q, "imagePullPolicy": "Never", "command": %s,
			"readinessProbe": {"tcpSocket": {"port": %d}, "periodSeconds": 2},
			"volumeMounts": [{"name": "programs", "mountPath": "/opt", "readOnly": true}]%s}],
		"volumes": [{"name": "programs", "hostPath": {"path": "/opt/cni/bin"}}]}`, node, image.Name, quoted(command), podPort, ports)
}

// quoted is a list of words in JSON.
func quoted(words []string) string {
	text, _ := json.Marshal(words) // strings always can be
	return string(text)
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
			if !p.is("Ready") || len(p.ips()) != len(c.families) {
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

// ips are a pod's addresses; none until it has them.
func (o object) ips() (all []netip.Addr) {
	for _, p := range o.Status.PodIPs {
		all = append(all, p.IP)
	}
	return all
}

// ip is a ready pod's address of a family.
func (o object) ip(f family) netip.Addr {
	all := o.ips()
	if at := slices.IndexFunc(all, f.has); at >= 0 {
		return all[at]
	}
	return netip.Addr{}
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
