package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/logging"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/core/warm"
)

// call is one run of the plugin.
type call struct {
	*supply.Supply
	ctx     context.Context // ends when "timeout" is over
	request *netconf.IPAMRequest
	args    *skel.CmdArgs
	owner   store.Owner
	log     *slog.Logger
	logErr  error // why there is none
}

// hintConfig goes with every error of the configuration.
const hintConfig = "correct the network's conflist: docs/eni-ipam.md lists the fields"

// begin reads a call's input. What it returns second ends the call.
func begin(args *skel.CmdArgs) (*call, func(), error) {
	request, err := netconf.ParseIPAM(args.StdinData)
	if err != nil {
		return nil, nil, cnierr.New(cnierr.Config, err, hintConfig)
	}
	log, file, logErr := logging.Open(request.IPAM.Log)
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Duration(request.IPAM.Timeout), errTimeout)
	c := &call{
		ctx:     ctx,
		request: request,
		args:    args,
		owner:   store.Owner{Network: request.Name, ContainerID: args.ContainerID, IfName: args.IfName},
		log:     log.With("network", request.Name, "container", args.ContainerID, "ifname", args.IfName),
		logErr:  logErr,
	}
	c.Supply = supply.New(&request.IPAM, supply.Driver(&request.IPAM, args.Path), c.log)
	return c, func() { cancel(); _ = file.Close() }, nil
}

// validate refuses a configuration with which no address can be given.
func (c *call) validate() error {
	if c.logErr != nil {
		return cnierr.New(cnierr.Config, c.logErr, `correct "log" in the "ipam" section`)
	}
	return cnierr.New(cnierr.Config, c.request.Validate(), hintConfig)
}

// pool is what the network may have of the store.
func (c *call) pool() warm.Pool { return warm.Of(&c.request.IPAM) }

// inode identifies a network namespace beyond its path, which another container may get later; 0 where none is there.
func inode(path string) uint64 {
	ns, err := sandbox.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = ns.Close() }()
	return ns.Inode()
}
