package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/netconf"
)

func cmdAdd(args *skel.CmdArgs) error {
	c, done, err := begin(args)
	if err != nil {
		return err
	}
	defer done()
	if err := c.validate(); err != nil {
		return err
	}
	if c.conf.RawPrevResult != nil {
		return cnierr.New(cnierr.Config, errors.New("eni-ptp got a prevResult"),
			"eni-ptp makes the interface and heads the list of plugins")
	}
	ns, err := c.openSandbox()
	if err != nil {
		return err
	}
	defer ns.Close()
	result, err := c.attach(ns)
	if err != nil {
		return diagnose(fmt.Errorf("attach %s: %w", c.owner, err))
	}
	return types.PrintResult(result, c.conf.CNIVersion)
}

func cmdDel(args *skel.CmdArgs) error {
	c, done, err := begin(args)
	if err != nil {
		return err
	}
	defer done()
	remains, err := c.detach(attachment{owner: c.owner, veth: c.names.Veth, netns: args.Netns, reported: c.reported()},
		func() { c.ipamRequest() }) // read once, and wanted for the address
	if !remains {
		// Last, so that nobody gets the address while it is wired; in any case, so that it is not lost.
		err = errors.Join(err, c.releaseAddress())
	}
	if err != nil {
		return cnierr.ForDel(cnierr.Kernel, fmt.Errorf("detach %s: %w", c.owner, err), "DEL may be repeated")
	}
	return nil
}

func cmdCheck(args *skel.CmdArgs) error {
	c, done, err := begin(args)
	if err != nil {
		return err
	}
	defer done()
	if err := c.validate(); err != nil {
		return err
	}
	result, err := netconf.PrevResult(&c.conf.NetConf)
	if err != nil {
		return cnierr.New(cnierr.Config, err, "CHECK needs the result of ADD as prevResult")
	}
	ns, err := c.openSandbox()
	if err != nil {
		return err
	}
	defer ns.Close()
	difference, err := c.compare(ns, result)
	if err != nil {
		return diagnose(fmt.Errorf("check %s: %w", c.owner, err))
	}
	if difference != "" {
		return cnierr.New(cnierr.Check, fmt.Errorf("check %s: %s", c.owner, difference),
			"an ADD of the same container mends it; docs/eni-ptp.md says what eni-ptp leaves on the host")
	}
	if err := c.ipam().Run(c.ctx, "CHECK"); err != nil {
		return cnierr.New(cnierr.Check, err, "")
	}
	return cnierr.New(cnierr.Check, c.runSNAT("CHECK", nil), "")
}

func cmdGC(args *skel.CmdArgs) error {
	c, done, err := begin(args)
	if err != nil {
		return err
	}
	defer done()
	valid, given, err := netconf.ValidAttachments(args.StdinData)
	if err != nil {
		return cnierr.New(cnierr.Decode, err, "the runtime's list of valid attachments is not a list")
	}
	if err := c.collectAll(valid, given); err != nil {
		return cnierr.New(cnierr.Kernel, fmt.Errorf("collect dead attachments of %s: %w", c.conf.Name, err), "GC may be repeated")
	}
	return nil
}

// collectAll collects attachments and then their addresses: IPAM's store says what is wired. A veth that would not go holds
// up no address but its own, which is refused to whoever gets it next for as long as it is routed there.
func (c *call) collectAll(valid map[netconf.Attachment]bool, given bool) error {
	ipam := c.ipam()
	found, err := c.attachments()
	if given {
		return errors.Join(err, c.collect(found, valid), ipam.Run(c.ctx, "GC"))
	}
	if err == nil {
		valid, err = c.notDead(found)
	}
	if err == nil && c.conf.OwnIPAM() { // which may not see the namespaces either
		ipam.Config, err = netconf.WithLive(ipam.Config, slices.Collect(maps.Keys(valid)))
	}
	if err != nil {
		return err
	}
	return errors.Join(c.collect(found, valid), ipam.Run(c.ctx, "GC"))
}

func cmdStatus(args *skel.CmdArgs) error {
	c, done, err := begin(args)
	if err != nil {
		return err
	}
	defer done()
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.forwardingPossible(); err != nil {
		return cnierr.New(cnierr.NotAvailable, err, "set net.ipv4.ip_forward=1, or let eni-ptp write to /proc/sys")
	}
	return cnierr.New(cnierr.NotAvailable, errors.Join(c.ipam().Run(c.ctx, "STATUS"), c.runSNAT("STATUS", nil)), "")
}
