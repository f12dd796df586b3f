package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/delegate"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/logging"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
)

const (
	hintKernel = "eni-ptp must run as root, in the host's network namespace, on a kernel with veth and policy routing"
	hintLock   = "the process that holds the lock hangs or is stopped: look at it; a retry helps once it is gone"
	hintStore  = `is "dataDir" in "ipam" the folder of eni-ipam's store?`
)

// call is one run of the plugin.
type call struct {
	ctx   context.Context
	conf  *netconf.PTP
	args  *skel.CmdArgs
	owner store.Owner
	names layout.Identity
	host  *netstate.Handle
	log   *slog.Logger

	ipamRequest func() (*netconf.IPAMRequest, bool) // readIPAMRequest, once

	taken  placement     // of the addresses that were taken without eni-ipam
	uplink layout.Device // of the primary ENI, where that was prepared
	logErr error         // why there is none
}

// begin reads a call's input. What it returns second ends the call.
func begin(args *skel.CmdArgs) (*call, func(), error) {
	conf, err := netconf.ParsePTP(args.StdinData)
	if err != nil {
		return nil, nil, cnierr.New(cnierr.Decode, err, "correct the network's conflist: docs/eni-ptp.md lists the fields")
	}
	log, file, logErr := logging.Open(conf.Log)
	host, err := netstate.Here()
	if err != nil {
		_ = file.Close()
		return nil, nil, cnierr.New(cnierr.Kernel, err, hintKernel)
	}
	c := &call{
		ctx:   context.Background(), // the runtime's deadline is a SIGKILL
		conf:  conf,
		args:  args,
		owner: store.Owner{Network: conf.Name, ContainerID: args.ContainerID, IfName: args.IfName},
		names: layout.Identify(conf.VethPrefix, args.ContainerID, args.IfName),
		host:  host,
		log:   log.With("network", conf.Name, "container", args.ContainerID, "ifname", args.IfName),

		logErr: logErr,
	}
	c.ipamRequest = sync.OnceValues(c.readIPAMRequest)
	return c, func() { host.Close(); _ = file.Close() }, nil
}

// diagnose makes the CNI error of a failed call. What was said within keeps its code and its hint; the rest is the
// kernel's.
func diagnose(err error) error {
	hint := hintKernel
	if said := (*types.Error)(nil); errors.As(err, &said) {
		hint = ""
	}
	return cnierr.New(cnierr.Kernel, err, hint)
}

func (c *call) validate() error {
	if c.logErr != nil {
		return cnierr.New(cnierr.Config, c.logErr, `correct "log" in the network's conflist`)
	}
	return cnierr.New(cnierr.Config, c.conf.Validate(), "correct the network's conflist: docs/eni-ptp.md lists the fields")
}

// ipam is the plugin that has the addresses.
func (c *call) ipam() delegate.Plugin {
	return delegate.Plugin{Type: c.conf.IPAM.Type, Path: c.args.Path, Config: c.args.StdinData}
}

// openSandbox opens the container's namespace, and refuses the host's own: it would lose its network.
func (c *call) openSandbox() (*sandbox.Netns, error) {
	ns, err := sandbox.Open(c.args.Netns)
	if err != nil {
		return nil, cnierr.New(cnierr.InvalidNetns, err, "CNI_NETNS must lead to the container's network namespace")
	}
	ours, err := ns.IsOurs()
	if err == nil && ours {
		err = fmt.Errorf("network namespace %s is the host's own", c.args.Netns)
	}
	if err != nil {
		_ = ns.Close()
		return nil, cnierr.New(cnierr.InvalidNetns, err, "a container on the host's network needs no CNI plugin")
	}
	return ns, nil
}

// storeTime bounds the waiting for the store's lock, as eni-ipam does. The delegated call has a bound of its own: ended from
// here it could not say why.
func (c *call) storeTime() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx, time.Duration(c.conf.IPAM.Timeout))
}

// view reads the store. Where there is none, or the addresses are another IPAM's, found is false.
func (c *call) view(read func(*store.Tx) error) (found bool, err error) {
	if !c.conf.OwnIPAM() {
		return false, nil
	}
	ctx, cancel := c.storeTime()
	defer cancel()
	err = store.At(c.conf.IPAM.DataDir).View(ctx, read)
	if errors.Is(err, store.ErrNoStore) {
		return false, nil
	}
	if err != nil {
		hint := hintStore
		if errors.Is(err, context.DeadlineExceeded) {
			hint = hintLock
		}
		return false, cnierr.New(cnierr.IO, err, hint)
	}
	return true, nil
}

// reported returns the addresses in the runtime's prevResult; a DEL does without, so that what cannot be read is none.
func (c *call) reported() []netip.Addr {
	result, err := netconf.PrevResult(&c.conf.NetConf)
	if err != nil {
		return nil
	}
	return netconf.Addresses(result, c.owner.IfName)
}

// forwardingPossible says whether the host forwards or can be made to.
func (c *call) forwardingPossible() error {
	for _, s := range layout.Forwarding().Sysctls {
		value, err := c.host.Sysctl(s.Key)
		if err != nil {
			return err
		}
		if value == s.Value {
			continue
		}
		if err := unix.Access("/proc/sys/"+s.Key, unix.W_OK); err != nil {
			return fmt.Errorf("sysctl %s is %s and cannot be set: %w", s.Key, value, err)
		}
	}
	return nil
}
