// Package demo shows what enichain does, in the lab: containers get addresses of each ENI of two nodes by cnitool, every
// walk of a packet is proven by captures and by what the far end saw, and all is taken away again. It runs no other
// program than cnitool and the plugins.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/test/lab"
)

// Options say what to show.
type Options struct {
	Cloud    string // "aws", also where empty, or "tencent"
	Bin      string // the folder of the plugins and of cnitool
	Conflist []byte // the nodes' network configuration, with eni-ipam in its first plugin
	IPv6     bool   // the lab has IPv6 too, and what has an address of it is walked to by it
	Verbose  bool   // print the packets that were captured
	// Tamper is run after the containers are there and before the walks, to see the demo notice what it broke.
	Tamper func(*lab.Lab) error
}

// demo is one run.
type demo struct {
	Options
	setting
	*screen
	network *libcni.NetworkConfigList
	dataDir string
	lab     *lab.Lab
	nodes   []*node
	ports   uint16 // the last port that a walk took
	tally   tally
}

// tally counts what was proven and what was not.
type tally struct{ walks, good, otherwise int }

func (t tally) ok() bool { return t.walks == t.good && t.otherwise == 0 }

// Run shows everything on out, and says whether all was as it should be. An error is what kept it from being shown.
// Nothing is left when it returns, also where ctx ended before.
func Run(ctx context.Context, o Options, out io.Writer) (ok bool, err error) {
	began := time.Now()
	d := &demo{Options: o, setting: settingOf(o.Cloud), screen: newScreen(out), ports: 8000}
	if err := d.read(); err != nil {
		return false, err
	}
	if d.lab, err = lab.Up(ctx, lab.Options{Name: "demo", Cloud: o.Cloud, IPv6: o.IPv6, InstanceType: d.instanceType}); err != nil {
		return false, err
	}
	err = d.play(ctx)
	if err := errors.Join(err, d.lab.Down()); err != nil {
		return false, err
	}
	d.printf("\nThe lab is down. %d walks, %s, %.1f s\n", d.tally.walks, d.verdict(), time.Since(began).Seconds())
	return d.tally.ok(), d.screen.err
}

// verdict is the summary's middle.
func (d *demo) verdict() string {
	if d.tally.ok() {
		return d.good(fmt.Sprintf("%d ok", d.tally.good))
	}
	s := fmt.Sprintf("%d ok, %d FAILED", d.tally.good, d.tally.walks-d.tally.good)
	if d.tally.otherwise > 0 {
		s += fmt.Sprintf(", %d other failures", d.tally.otherwise)
	}
	return d.bad(s)
}

// read checks the options, and finds the store's place.
func (d *demo) read() error {
	for _, name := range []string{"cnitool", "eni-ptp", "eni-ipam"} {
		if _, err := os.Stat(filepath.Join(d.Bin, name)); err != nil {
			return fmt.Errorf("the demo needs %s, which make build builds: %w", name, err)
		}
	}
	var err error
	if d.network, err = libcni.ConfListFromBytes(d.Conflist); err != nil {
		return fmt.Errorf("read the network configuration: %w", err)
	}
	ipam, err := netconf.ParseIPAM(d.network.Plugins[0].Bytes)
	if err != nil {
		return fmt.Errorf("read the first plugin's ipam section: %w", err)
	}
	d.dataDir = ipam.IPAM.DataDir
	return nil
}

// play is the demo with the lab up.
func (d *demo) play(ctx context.Context) error {
	acts := []func(context.Context) error{
		d.introduce, d.giveIPv6, d.withoutSNAT, d.addContainers, d.tamper, d.walkAll, d.showKernel, d.checkContainers, d.deleteContainers,
	}
	for _, act := range acts {
		if err := act(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.screen.err != nil {
			return d.screen.err
		}
	}
	return nil
}

// introduce shows the nodes and their ENIs.
func (d *demo) introduce(context.Context) error {
	d.title("A VPC of network namespaces, with the cloud's API and metadata service: two nodes, %s", d.instanceType)
	for _, n := range d.lab.Nodes {
		entry := &node{Node: n}
		d.nodes = append(d.nodes, entry)
		for _, e := range d.lab.VPC.ENIs(n.InstanceID) {
			entry.links = append(entry.links, linkName(e.DeviceIndex))
			if e.DeviceIndex == 0 {
				entry.primary = []netip.Addr{e.PrimaryIP, e.PrimaryIP6}
			}
			d.printf("  %-9s %s  %-12s of %s\n", n.Name, linkName(e.DeviceIndex), e.PrimaryIP, e.Subnet)
			if e.PrimaryIP6.IsValid() {
				d.printf("  %-15s %-12s of %s\n", "", e.PrimaryIP6, e.Subnet6)
			}
		}
	}
	for _, f := range d.stacks() {
		d.printf("  %-9s eth0  %s\n", "internet", f.internet)
	}
	return nil
}

func (d *demo) tamper(context.Context) error {
	if d.Tamper == nil {
		return nil
	}
	return d.Tamper(d.lab)
}
