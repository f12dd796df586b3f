package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
)

func cmdAdd(args *skel.CmdArgs) error {
	parent := os.Getppid()
	c, done, err := begin(args)
	if err != nil {
		return err
	}
	defer done()
	if err := c.validate(); err != nil {
		return err
	}
	want, err := c.request.RequestedIPs(args.Args)
	if err != nil {
		return cnierr.New(cnierr.RequestedAddress, err, "ask for one address of a family, such as 10.0.1.20")
	}
	got, err := c.Allocate(c.ctx, warm.Request{
		Owner: c.owner, Sandbox: warm.SandboxOf(args.Netns, inode(args.Netns), args.Args), IPs: want,
		// A runtime whose patience is over kills the main plugin, calls DEL, and forgets the container.
		Abandoned: func() bool { return os.Getppid() != parent },
	})
	if err != nil {
		return diagnose(fmt.Errorf("allocate an address to %s: %w", c.owner, err))
	}
	if c.pool().Lacking(got.Free) {
		c.refillDetached()
	}
	return types.PrintResult(c.pool().Result(got), c.request.CNIVersion)
}

func cmdDel(args *skel.CmdArgs) error {
	c, done, err := begin(args)
	if err != nil {
		return err
	}
	defer done()
	spare, err := c.Release(c.ctx, c.owner)
	if err != nil {
		return cnierr.ForDel(codeOf(err), fmt.Errorf("release the address of %s: %w", c.owner, err), hintOf(err))
	}
	if spare {
		c.refillDetached()
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
	result, err := netconf.PrevResult(&c.request.NetConf)
	if err != nil {
		return cnierr.New(cnierr.Config, err, "CHECK needs the result of ADD as prevResult")
	}
	reported := netconf.Addresses(result, "") // the main plugin knows which is whose
	held, err := c.held()
	if err != nil {
		return diagnose(fmt.Errorf("look up the address of %s: %w", c.owner, err))
	}
	if len(held) == 0 {
		return cnierr.New(cnierr.Check, fmt.Errorf("%s holds no address", c.owner),
			"the store has no owner of this name: the container must be made anew")
	}
	for _, a := range held {
		if !slices.Contains(reported, a.IP) {
			return cnierr.New(cnierr.Check, fmt.Errorf("%s holds %s, which is not in prevResult %v", c.owner, a.IP, reported),
				"the container's address is another one's, or none's: it must be made anew")
		}
	}
	return nil
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
	if !given {
		valid, err = netconf.Live(args.StdinData)
		if err != nil {
			return cnierr.New(cnierr.Decode, err, "a fault of the main plugin")
		}
	}
	err = c.Store().UpdateExisting(c.ctx, func(tx *store.Tx) error { return collect(tx, c, valid, given) })
	if err != nil && !errors.Is(err, store.ErrNoStore) {
		return diagnose(fmt.Errorf("release what no container of %s holds: %w", c.request.Name, err))
	}
	return nil
}

func cmdStatus(args *skel.CmdArgs) error {
	request, err := netconf.ParseIPAM(args.StdinData)
	if err == nil {
		err = request.Validate()
	}
	if err != nil {
		return cnierr.New(cnierr.Config, err, hintConfig)
	}
	if err := store.At(request.IPAM.DataDir).Usable(); err != nil {
		return cnierr.New(cnierr.NotAvailable, err, `"dataDir" must be a folder that root can write to`)
	}
	if request.IPAM.Cloud == netconf.StaticCloud {
		return nil
	}
	if _, err := cloud.FindDriver(request.IPAM.Cloud, args.Path); err != nil {
		return cnierr.New(cnierr.NotAvailable, err, "put the driver beside the plugins, in /opt/cni/bin")
	}
	return nil
}

// collect releases the attachments of the network that are not valid; where no list is given, only those of them whose
// network namespace is provably gone.
func collect(tx *store.Tx, c *call, valid map[netconf.Attachment]bool, given bool) error {
	owned, err := tx.OwnedIn(c.request.Name)
	if err != nil {
		return err
	}
	for _, a := range owned {
		live := valid[netconf.Attachment{ContainerID: a.Owner.ContainerID, IfName: a.Owner.IfName}]
		if !given {
			live = live || a.Sandbox == nil || sandbox.Alive(a.Sandbox.Netns, a.Sandbox.NetnsInode)
		}
		if live {
			continue
		}
		if err := c.pool().Release(tx, *a.Owner); err != nil {
			return err
		}
		c.log.Info("released", "address", a.IP, "owner", a.Owner)
	}
	return nil
}

// held returns the addresses that the call's owner holds.
func (c *call) held() (held []store.Address, err error) {
	err = c.Store().View(c.ctx, func(tx *store.Tx) error {
		held, err = tx.AddressesOf(c.owner)
		return err
	})
	if errors.Is(err, store.ErrNoStore) {
		return nil, nil
	}
	return held, err
}
