//go:build kube

package kube

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

const apiPort = 6443

// startControl starts the control plane on a host of the VPC which is no node of the cluster, and makes the client.
func (c *cluster) startControl() error {
	host := c.primaries(c.control.Node)[0].String()
	ca, err := newAuthority(c.dir)
	if err != nil {
		return fmt.Errorf("make the authority: %w", err)
	}
	c.ca = ca
	own := each(c, func(f family) net.IP { return f.service(1).AsSlice() })
	serving, err := ca.issue("apiserver", nil, append(own, net.ParseIP(host), net.IPv4(127, 0, 0, 1))...)
	if err != nil {
		return err
	}
	admin, err := ca.issue("admin", []string{"system:masters"})
	if err != nil {
		return err
	}
	accounts, err := ca.issue("accounts", nil)
	if err != nil {
		return err
	}
	c.server = "https://" + net.JoinHostPort(host, strconv.Itoa(apiPort))
	if c.admin, err = ca.kubeconfig(c.server, admin); err != nil {
		return err
	}
	proxy, err := ca.issue("system:kube-proxy", nil)
	if err != nil {
		return err
	}
	if c.proxyAs, err = ca.kubeconfig(c.server, proxy); err != nil {
		return err
	}
	trust, err := ca.trust(admin)
	if err != nil {
		return err
	}
	c.api = newAPI(c.server, trust, c.control.Node.DialContext)
	if _, err := c.run(c.control, "/usr/bin/etcd", etcdFlags()...); err != nil {
		return err
	}
	if _, err := c.run(c.control, binary("kube-apiserver"), c.apiserverFlags(host, serving, admin, accounts)...); err != nil {
		return err
	}
	if err := c.poll(patience, "the API server to be ready", c.readyz); err != nil {
		return err
	}
	if _, err := c.run(c.control, binary("kube-controller-manager"), "--kubeconfig="+c.admin, "--leader-elect=false",
		"--service-account-private-key-file="+accounts.key, "--root-ca-file="+ca.file()); err != nil {
		return err
	}
	_, err = c.run(c.control, binary("kube-scheduler"), "--kubeconfig="+c.admin, "--leader-elect=false")
	return err
}

// etcdFlags keep the data in the host's memory: a cluster of a test outlives nothing.
func etcdFlags() []string {
	return []string{"--data-dir=/run/etcd", "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379"}
}

func (c *cluster) apiserverFlags(host string, serving, kubelet, accounts pair) []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address=" + host, fmt.Sprintf("--secure-port=%d", apiPort),
		"--service-cluster-ip-range=" + joined(each(c, func(f family) netip.Prefix { return f.services })),
		"--tls-cert-file=" + serving.cert, "--tls-private-key-file=" + serving.key, "--client-ca-file=" + c.ca.file(),
		"--kubelet-client-certificate=" + kubelet.cert, "--kubelet-client-key=" + kubelet.key,
		"--kubelet-preferred-address-types=InternalIP", // there is no resolver
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + accounts.key, "--service-account-signing-key-file=" + accounts.key,
		"--authorization-mode=Node,RBAC",
	}
}

// readyz asks the API server for its own opinion.
func (c *cluster) readyz() error { return c.api.get(c.ctx, "/readyz", nil) }
