package main

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/logging"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
)

// call is one run of the plugin.
type call struct {
	ctx     context.Context // ends when "timeout" is over
	began   time.Duration   // since boot
	request *netconf.IPAMRequest
	cniPath string
	store   *store.Store
	owner   store.Owner
	sandbox store.Sandbox
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
		began:   store.SinceBoot(),
		request: request,
		cniPath: args.Path,
		store:   store.At(request.IPAM.DataDir),
		owner:   store.Owner{Network: request.Name, ContainerID: args.ContainerID, IfName: args.IfName},
		sandbox: store.Sandbox{
			Netns:        args.Netns,
			NetnsInode:   inode(args.Netns),
			PodNamespace: netconf.Arg(args.Args, "K8S_POD_NAMESPACE"),
			PodName:      netconf.Arg(args.Args, "K8S_POD_NAME"),
		},
		log:    log.With("network", request.Name, "container", args.ContainerID, "ifname", args.IfName),
		logErr: logErr,
	}
	return c, func() { cancel(); _ = file.Close() }, nil
}

// validate refuses a configuration with which no address can be given.
func (c *call) validate() error {
	if c.logErr != nil {
		return cnierr.New(cnierr.Config, c.logErr, `correct "log" in the "ipam" section`)
	}
	return cnierr.New(cnierr.Config, c.request.Validate(), hintConfig)
}

// cooldown is how long a released address rests.
func (c *call) cooldown() time.Duration { return time.Duration(*c.request.IPAM.Cooldown) }

// timeout bounds the call.
func (c *call) timeout() time.Duration { return time.Duration(c.request.IPAM.Timeout) }

// usable says whether containers may have addresses of the ENI.
func (c *call) usable(e store.ENI) bool { return e.DeviceIndex >= c.request.IPAM.FirstDeviceIndex }

// driver returns the cloud's driver.
func (c *call) driver() (cloud.Driver, error) {
	if c.request.IPAM.Cloud == netconf.StaticCloud {
		return static{c.request.IPAM.Static}, nil
	}
	path, err := cloud.FindDriver(c.request.IPAM.Cloud, c.cniPath)
	if err != nil {
		return nil, err
	}
	return &cloud.Exec{Path: path, Config: c.request.IPAM.Driver}, nil
}

// inode identifies a network namespace beyond its path, which another container may get later; 0 where none is there.
func inode(path string) uint64 {
	ns, err := sandbox.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = ns.Close() }()
	return ns.Inode()
}

// gateway4 is every container's next hop.
func gateway4() net.IP { return layout.Gateway4().AsSlice() }
