package main

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/snat"
)

func cmdAdd(args *skel.CmdArgs) error {
	c, err := begin(args)
	if err != nil {
		return err
	}
	defer c.end()
	if c.concerned() {
		policy, err := c.policy()
		if err != nil {
			return err
		}
		changed, err := snat.Apply(c.ctx, c.kernel, policy)
		if err != nil {
			return c.refused(fmt.Errorf("set up SNAT for network %s: %w", c.conf.Name, err))
		}
		c.log.Info("add", "backend", policy.Backend, "written", changed, "primary", policy.Primary, "address", policy.PrimaryIP)
	}
	return types.PrintResult(c.conf.PrevResult, c.conf.CNIVersion)
}

// cmdDel has nothing to undo: what ADD made is the node's, and serves the network's other containers.
func cmdDel(*skel.CmdArgs) error { return nil }

func cmdCheck(args *skel.CmdArgs) error {
	c, err := begin(args)
	if err != nil {
		return err
	}
	defer c.end()
	if !c.concerned() {
		return nil
	}
	policy, err := c.policy()
	if err != nil {
		return err
	}
	difference, err := snat.Check(c.ctx, c.kernel, policy)
	if err != nil {
		return c.refused(fmt.Errorf("check SNAT of network %s: %w", c.conf.Name, err))
	}
	if difference != "" {
		return cnierr.New(cnierr.Check, fmt.Errorf("SNAT of network %s: %s", c.conf.Name, difference),
			"the next ADD in the network puts it right")
	}
	return nil
}

// cmdGC has nothing to collect: nothing was made for single containers.
func cmdGC(*skel.CmdArgs) error { return nil }

func cmdStatus(args *skel.CmdArgs) error {
	conf, err := netconf.ParseSNAT(args.StdinData)
	if err != nil {
		return cnierr.New(cnierr.Config, err, confHint)
	}
	if err := snat.Ready(context.Background(), conf.Backend); err != nil {
		return cnierr.New(cnierr.NotAvailable, fmt.Errorf("reach %s: %w", conf.Backend, err), hintOf(conf.Backend))
	}
	return nil
}
