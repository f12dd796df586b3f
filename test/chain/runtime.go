package chain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/enichain/enichain/test/lab"
)

// IfName is the name of a container's interface.
const IfName = "eth0"

// Runtime is a container runtime on a node, as far as the network goes: libcni, with its cache in the node.
type Runtime struct {
	Node *lab.Node
	List *libcni.NetworkConfigList
	cni  *libcni.CNIConfig
	exec *nodeExec
	do   func(func() error) error // runs something in the node
}

// NewRuntime installs the programs and the conflist in the node.
func NewRuntime(node *lab.Node, bin *Binaries, conflist []byte) (*Runtime, error) {
	if err := node.InstallCNI(bin.Dir, conflist); err != nil {
		return nil, err
	}
	exec := &nodeExec{node: node, DefaultExec: invoke.DefaultExec{RawExec: &invoke.RawExec{}, PluginDecoder: version.PluginDecoder{}}}
	r := &Runtime{Node: node, cni: libcni.NewCNIConfig([]string{"/opt/cni/bin"}, exec), exec: exec, do: node.Do}
	return r.Network(conflist)
}

// Network is the same runtime with another network.
func (r *Runtime) Network(conflist []byte) (*Runtime, error) {
	list, err := libcni.ConfListFromBytes(conflist)
	if err != nil {
		return nil, fmt.Errorf("read the conflist: %w", err)
	}
	return &Runtime{Node: r.Node, List: list, cni: r.cni, exec: r.exec, do: r.do}, nil
}

// On is the same runtime on a thread in the node, which must not be used otherwise meanwhile: calls that are measured pay for
// no thread of their own.
func (r *Runtime) On(t *lab.Thread) *Runtime {
	on := *r
	on.do = t.Do
	return &on
}

// Wrap sets a command line that plugins' paths are appended to from then on, in all networks, such as unshare's.
func (r *Runtime) Wrap(line ...string) { r.exec.wrapper = line }

// nodeExec runs plugins with the node's environment. They start where the calling thread is, which Runtime.do moves.
type nodeExec struct {
	invoke.DefaultExec
	node    *lab.Node
	wrapper []string
}

func (e *nodeExec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	environ = append(environ, e.node.Env()...)
	if len(e.wrapper) == 0 {
		return e.DefaultExec.ExecPlugin(ctx, path, stdin, environ)
	}
	call := Call{Plugin: path, Env: map[string]string{}, Stdin: stdin, Wrapper: e.wrapper}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		call.Env[name] = value
	}
	o, err := call.Run(ctx, &e.node.Host)
	switch {
	case err != nil:
		return nil, err
	case o.Error != nil:
		return nil, o.Error
	case o.Status != 0:
		return nil, fmt.Errorf("%s: status %d: %s", path, o.Status, o.Stderr)
	}
	return o.Stdout, nil
}

// Option changes what a call hands to the plugins.
type Option func(*libcni.RuntimeConf)

// As gives the container's interface another name than IfName.
func As(ifName string) Option {
	return func(c *libcni.RuntimeConf) { c.IfName = ifName }
}

// WithIP asks for an address by CNI_ARGS, in which runtimes let plugins ignore what is for others.
func WithIP(ip netip.Addr) Option {
	return func(c *libcni.RuntimeConf) {
		c.Args = append(c.Args, [2]string{"IgnoreUnknown", "1"}, [2]string{"IP", ip.String()})
	}
}

// WithCapability adds to runtimeConfig.
func WithCapability(key string, value any) Option {
	return func(c *libcni.RuntimeConf) {
		if c.CapabilityArgs == nil {
			c.CapabilityArgs = map[string]any{}
		}
		c.CapabilityArgs[key] = value
	}
}

func (r *Runtime) conf(id string, options []Option) *libcni.RuntimeConf {
	c := &libcni.RuntimeConf{ContainerID: id, NetNS: "/run/netns/" + id, IfName: IfName}
	for _, o := range options {
		o(c)
	}
	return c
}

// Run makes a container's network namespace and adds it to the network.
func (r *Runtime) Run(ctx context.Context, id string, options ...Option) (*types100.Result, error) {
	if _, err := r.Node.AddNetns(id); err != nil {
		return nil, err
	}
	return r.Add(ctx, id, options...)
}

// Remove takes a container from the network and removes its network namespace.
func (r *Runtime) Remove(ctx context.Context, id string, options ...Option) error {
	return errors.Join(r.Del(ctx, id, options...), r.Node.DelNetns(id))
}

// Add is ADD of the chain.
func (r *Runtime) Add(ctx context.Context, id string, options ...Option) (result *types100.Result, err error) {
	err = r.do(func() error {
		added, err := r.cni.AddNetworkList(ctx, r.List, r.conf(id, options))
		if err != nil {
			return err
		}
		result, err = types100.NewResultFromResult(added)
		return err
	})
	return result, err
}

// Check is CHECK of the chain.
func (r *Runtime) Check(ctx context.Context, id string, options ...Option) error {
	return r.do(func() error { return r.cni.CheckNetworkList(ctx, r.List, r.conf(id, options)) })
}

// Del is DEL of the chain.
func (r *Runtime) Del(ctx context.Context, id string, options ...Option) error {
	return r.do(func() error { return r.cni.DelNetworkList(ctx, r.List, r.conf(id, options)) })
}

// GC is GC of the chain, where only these attachments are valid.
func (r *Runtime) GC(ctx context.Context, valid ...types.GCAttachment) error {
	args := &libcni.GCArgs{ValidAttachments: append([]types.GCAttachment{}, valid...)}
	return r.do(func() error { return r.cni.GCNetworkList(ctx, r.List, args) })
}

// Status is STATUS of the chain.
func (r *Runtime) Status(ctx context.Context) error {
	return r.do(func() error { return r.cni.GetStatusNetworkList(ctx, r.List) })
}

// IP is the one address of a result.
func IP(result *types100.Result) netip.Addr {
	if all := IPs(result); len(all) == 1 {
		return all[0]
	}
	return netip.Addr{}
}

// IPs returns the addresses of a result, in their order.
func IPs(result *types100.Result) []netip.Addr {
	var all []netip.Addr
	for _, c := range result.IPs {
		ip, _ := netip.AddrFromSlice(c.Address.IP)
		all = append(all, ip.Unmap())
	}
	return all
}
