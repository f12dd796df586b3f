//go:build kube

package kube

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// proxyConfig tells kube-proxy which packets are a local pod's, by the host ends' names: there is no range of addresses
// per node. It leaves the size of the connection table alone, which is the machine's.
const proxyConfig = `{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": %q,
	"clientConnection": {"kubeconfig": %q}, "hostnameOverride": %q,
	"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "pod"},
	"conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}}`

// startProxy starts kube-proxy in a mode.
func (c *cluster) startProxy(w *worker, mode string) error {
	config, err := c.write(w.Name+"-kube-proxy.json", fmt.Sprintf(proxyConfig, mode, c.proxyAs, w.Name))
	if err != nil {
		return err
	}
	w.proxy, err = c.run(w.machine, binary("kube-proxy"), "--config="+config)
	return err
}

// stopProxy ends kube-proxy and removes its rules, as somebody does who changes its mode.
func (c *cluster) stopProxy(w *worker) error {
	w.proxy.stopped.Store(true)
	if err := w.proxy.program.End(unix.SIGTERM); err != nil {
		return err
	}
	// It says on its standard error, and by status 1, what it did not find.
	_, _ = w.machine.Output(c.ctx, nil, binary("kube-proxy"), "--cleanup")
	return nil
}
