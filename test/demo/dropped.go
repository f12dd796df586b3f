package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/enichain/enichain/test/probe"
)

// ptpOnly is a network without eni-snat, on the secondary ENIs, whose addresses are free again at once.
const ptpOnly = `{"cniVersion": "1.0.0", "name": "without-snat", "plugins": [{"type": "eni-ptp", "ipam": {
	"type": "eni-ipam", "cloud": %q, "families": [%s], "firstDeviceIndex": 1, "cooldown": "0s"}}]}`

// withoutSNAT shows that the VPC is no plain network: it drops what a container sends to the internet by itself. It
// goes first, because eni-snat's rules are for all containers of a node, and stay.
func (d *demo) withoutSNAT(ctx context.Context) error {
	d.title("First with eni-snat left out: the VPC drops what has no public address")
	n := d.nodes[1]
	network := "without-snat"
	if err := n.InstallCNI(d.Bin, d.ptpOnly()); err != nil {
		return err
	}
	c, err := d.add(ctx, n, network, "c0")
	if err != nil {
		return err
	}
	n.containers = []*container{c}
	if err := d.takeAll(ctx, d.dropped(c)); err != nil {
		return err
	}
	n.containers = nil
	_, err = n.cnitool(ctx, "del", network, c.id)
	return errors.Join(err, n.DelNetns(c.id))
}

// ptpOnly is that network with the families of the lab: what a store learns of an ENI is what its networks give.
func (d *demo) ptpOnly() []byte {
	families := `"ipv4"`
	if d.IPv6 {
		families = `"ipv4", "ipv6"`
	}
	return fmt.Appendf(nil, ptpOnly, d.cloud, families)
}

// dropped is a ping of the internet that leaves the node and goes no further.
func (d *demo) dropped(c *container) walk {
	return walk{
		from: c.String(), to: "internet", path: "veth > " + c.link, silent: true,
		mine: func(p probe.Packet) bool {
			return p.Protocol == "icmp" && (p.Src.Addr() == ipv4().internet || p.Dst.Addr() == ipv4().internet)
		},
		call: func(ctx context.Context) (sight, error) {
			_, before, err := d.lab.Drops()
			if err != nil {
				return sight{}, err
			}
			answered, err := d.pingTwice(ctx, c)
			if err != nil {
				return sight{}, err
			}
			_, after, err := d.lab.Drops()
			switch {
			case err != nil:
				return sight{}, err
			case answered:
				return sight{}, errors.New("the internet answered")
			case after == before:
				return sight{}, errors.New("the VPC has dropped nothing")
			}
			return sight{note: fmt.Sprintf("the VPC dropped %d packets", after-before)}, nil
		},
	}
}

// pingTwice pings the internet until a second request has left the container's ENI, and says whether an answer came:
// ping sends the second when none has come to the first.
func (d *demo) pingTwice(ctx context.Context, c *container) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var capture *probe.Capture
	if err := c.node.Do(func() (err error) { capture, err = probe.StartCapture(nil, 128); return err }); err != nil {
		return false, err
	}
	second := make(chan error, 1)
	go func() { // ends with the capture at the latest
		_, err := capture.Wait(ctx, func(p probe.Packet) bool { return p.Interface == c.link && request(p) && p.Seq == 2 })
		cancel()
		second <- err
	}()
	err = c.host.Do(func() error { _, err := probe.Ping(ctx, ipv4().internet, probe.From{}); return err })
	_, stopped := capture.Stop()
	waited := <-second
	if err == nil {
		return true, stopped
	}
	if waited != nil { // it was not for the second request that the ping ended
		return false, errors.Join(err, stopped)
	}
	return false, stopped
}
