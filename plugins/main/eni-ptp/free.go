package main

import (
	"context"
	"errors"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/logging"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/sandbox"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/warm"
)

// errIPAMs undoes a transaction that turned out to be more than taking a free address: eni-ipam is to do it.
var errIPAMs = errors.New("this is eni-ipam's")

// takeFree takes addresses that the pool has free, as eni-ipam would, and saves its process; nil where there are none, or there
// is more to do or to say.
func (c *call) takeFree(ns *sandbox.Netns) *types100.Result {
	request, ok := c.ipamRequest()
	if !ok {
		return nil
	}
	want, err := request.RequestedIPs(c.args.Args)
	if err != nil {
		return nil
	}
	pool := warm.Of(&request.IPAM)
	var got warm.Grant
	var place placement
	done := c.inStore(func(tx *store.Tx) (err error) {
		if err := place.addPrimary(tx); err != nil {
			return err
		}
		got, err = pool.Give(tx, warm.Request{Owner: c.owner, IPs: want, Sandbox: warm.SandboxOf(c.args.Netns, ns.Inode(), c.args.Args)})
		if err != nil {
			return err
		}
		if pool.Lacking(got.Free) {
			return errIPAMs // which starts a refill
		}
		for _, a := range got.Addresses {
			place.put(a.IP, a.Of)
		}
		return nil
	})
	if !done {
		return nil
	}
	c.taken = place
	return pool.Result(got)
}

// releaseFree gives the container's addresses back as eni-ipam would; false where that has more to do or to say.
func (c *call) releaseFree() (done bool) {
	request, ok := c.ipamRequest()
	if !ok {
		return false
	}
	pool := warm.Of(&request.IPAM)
	if pool.Bounded() { // whether something goes back to the cloud is to be seen
		return false
	}
	return c.inStore(func(tx *store.Tx) error { return pool.Release(tx, c.owner) })
}

// readIPAMRequest reads the configuration as eni-ipam does; false where it is not ours to carry out.
func (c *call) readIPAMRequest() (*netconf.IPAMRequest, bool) {
	if !c.conf.OwnIPAM() {
		return nil, false
	}
	request, err := netconf.ParseIPAM(c.args.StdinData)
	if err != nil || request.Validate() != nil {
		return nil, false
	}
	_, file, err := logging.Open(request.IPAM.Log)
	_ = file.Close()
	return request, err == nil
}

// inStore does something in the store; false, and nothing is done, where it cannot be. Whoever holds the lock for longer than a
// tenth of "timeout" is waited for by eni-ipam, which can say who it is: an ADD has that time once, and not twice.
func (c *call) inStore(do func(*store.Tx) error) bool {
	ctx, cancel := context.WithTimeout(c.ctx, time.Duration(c.conf.IPAM.Timeout)/10)
	defer cancel()
	return store.At(c.conf.IPAM.DataDir).UpdateExisting(ctx, do) == nil
}
