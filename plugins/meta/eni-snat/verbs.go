package main

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/snat"
)

func cmdAdd(args *skel.CmdArgs) error {
	c, err := begin(args)
	if err != nil {
		return err
	}
	defer c.end()
	policies, err := c.policies()
	if err != nil {
		return err
	}
	for _, p := range policies {
		changed, err := snat.Ensure(c.ctx, c.kernel, p, c.conf.DataDir)
		if err != nil {
			return c.refused(fmt.Errorf("set up %s: %w", p, err))
		}
		c.log.Info("add", "ipv6", p.Family == family.IPv6, "backend", p.Backend, "written", changed, "primary", p.Primary, "address", p.PrimaryIP)
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
	policies, err := c.policies()
	if err != nil {
		return err
	}
	for _, p := range policies {
		difference, err := snat.Check(c.ctx, c.kernel, p)
		if err != nil {
			return c.refused(fmt.Errorf("check %s: %w", p, err))
		}
		if difference != "" {
			return cnierr.New(cnierr.Check, fmt.Errorf("%s: %s", p, difference), "the next ADD in the network puts it right")
		}
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
