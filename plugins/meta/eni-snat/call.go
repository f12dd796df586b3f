package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/logging"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/core/xtables"
)

// timeout bounds an ADD or a CHECK; what is waited for is the store's lock, and that of iptables, which are held for
// milliseconds.
const timeout = 20 * time.Second

// What an operator can do.
const (
	confHint   = "correct the network's conflist: docs/eni-snat.md lists the fields"
	orderHint  = "eni-snat follows a plugin that makes an interface, such as eni-ptp, in the conflist"
	kernelHint = "the kernel needs nf_tables with nft_ct, nft_fib_ipv4 (of IPv6, nft_fib_ipv6) and nft_nat, and the plugin CAP_NET_ADMIN on the host"
	textHint   = `"backend": "iptables" needs iptables 1.4.11 or newer with iptables-restore (of IPv6, ip6tables with ip6tables-restore) in PATH or /usr/sbin, the kernel's mangle and nat tables with conntrack, connmark, mark, addrtype and comment, and CAP_NET_ADMIN and CAP_NET_RAW on the host; "nftables" needs no program`
	filterHint = `iptables-legacy, or ip6tables-legacy, drops what the host forwards, and only its program can let containers' packets pass: install it, or say "forward": false and see to it yourself`
	lockHint   = "another program changes iptables' rules all the time, or hangs: see who holds /run/xtables.lock"
	factsHint  = `put eni-snat behind, or into, an eni-ptp over eni-ipam with the same "dataDir", or give "vpcCIDRs", "primary", "primaryIP" and "containerInterfaces"`
)

// call is one ADD or CHECK.
type call struct {
	ctx    context.Context
	cancel context.CancelFunc
	conf   *netconf.SNAT
	result *types100.Result // the prevResult
	ifName string
	kernel *netstate.Handle
	log    *slog.Logger
	file   io.Closer
}

// begin reads a call's input.
func begin(args *skel.CmdArgs) (*call, error) {
	conf, err := netconf.ParseSNAT(args.StdinData)
	if err != nil {
		return nil, cnierr.New(cnierr.Config, err, confHint)
	}
	result, err := previous(conf)
	if err != nil {
		return nil, err
	}
	log, file, err := logging.Open(conf.Log)
	if err != nil {
		return nil, cnierr.New(cnierr.Config, err, `correct "log"`)
	}
	kernel, err := netstate.Here()
	if err != nil {
		_ = file.Close()
		return nil, cnierr.New(cnierr.Kernel, err, kernelHint)
	}
	c := &call{conf: conf, result: result, ifName: args.IfName, kernel: kernel, file: file}
	c.ctx, c.cancel = context.WithTimeout(context.Background(), timeout)
	c.log = log.With("network", conf.Name, "container", args.ContainerID, "ifname", args.IfName)
	return c, nil
}

// end releases what begin took.
func (c *call) end() {
	c.cancel()
	c.kernel.Close()
	_ = c.file.Close()
}

// previous returns the result of the plugins before us.
func previous(conf *netconf.SNAT) (*types100.Result, error) {
	result, err := netconf.PrevResult(&conf.NetConf)
	code := cnierr.Decode
	if errors.Is(err, netconf.ErrNoPrevResult) {
		code = cnierr.Config
	}
	return result, cnierr.New(code, err, orderHint)
}

// policies returns what the network wants in each family that the container has.
func (c *call) policies() ([]snat.Policy, error) {
	var all []snat.Policy
	for _, f := range family.All() {
		if !c.concerned(f) {
			continue
		}
		p, err := c.policy(f)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// concerned says whether the container has an address of the family on the interface: one without an index, or with that
// of an interface of that name in a sandbox. An index may be out of range, and interfaces come in any order. A link-local
// address of IPv6, which every interface has, is none.
func (c *call) concerned(f family.Family) bool {
	for _, ip := range c.result.IPs {
		if ip == nil {
			continue
		}
		addr := netconf.Prefix(ip.Address).Addr()
		if family.Of(addr) != f || f == family.IPv6 && addr.IsLinkLocalUnicast() {
			continue
		}
		if ip.Interface == nil {
			return true
		}
		i := *ip.Interface
		if i < 0 || i >= len(c.result.Interfaces) {
			continue
		}
		if in := c.result.Interfaces[i]; in != nil && in.Sandbox != "" && in.Name == c.ifName {
			return true
		}
	}
	return false
}

// policy returns what the network wants in one family.
func (c *call) policy(f family.Family) (snat.Policy, error) {
	var hosts []string
	for _, i := range c.result.Interfaces {
		if i != nil && i.Sandbox == "" {
			hosts = append(hosts, i.Name)
		}
	}
	policy, err := snat.Resolve(c.ctx, c.kernel, c.conf, hosts, f)
	if err == nil {
		return policy, nil
	}
	err = fmt.Errorf("resolve %s: %w", policy, err)
	switch {
	case errors.Is(err, snat.ErrUnknown):
		return policy, cnierr.New(cnierr.Config, err, factsHint)
	case errors.Is(err, netstate.ErrNoLink):
		return policy, cnierr.New(cnierr.Config, err, `the primary ENI's interface is not there: give "primary" if it has another name or MAC`)
	}
	return policy, cnierr.New(cnierr.IO, err, `see "dataDir"; docs/eni-snat.md, "Failure modes"`)
}

// refused is the error of a backend that could not do what it was to do.
func (c *call) refused(err error) error {
	switch {
	case errors.Is(err, xtables.ErrMissing) && c.conf.Backend != netconf.IPTables:
		return cnierr.New(cnierr.Config, err, filterHint)
	case errors.Is(err, xtables.ErrMissing):
		return cnierr.New(cnierr.Config, err, textHint)
	case errors.Is(err, xtables.ErrBusy), c.conf.Backend == netconf.IPTables && c.ctx.Err() != nil:
		return cnierr.New(cnierr.TryAgainLater, err, lockHint)
	}
	return cnierr.New(cnierr.Kernel, err, hintOf(c.conf.Backend))
}

// hintOf is what a backend needs.
func hintOf(backend string) string {
	if backend == netconf.IPTables {
		return textHint
	}
	return kernelHint
}
