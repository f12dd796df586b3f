// Package lab builds a VPC out of network namespaces, with netlink alone: a router that forwards as a cloud's fabric does
// and drops what a cloud drops, an internet behind it, nodes with elastic network interfaces (ENIs), and the cloud's API
// and metadata service at their real addresses (package vpcsim). Nothing of the machine's own network, mounts or files is
// touched, and nothing has a name outside: namespaces live by open files, so the lab is gone with the process that made it.
// docs/lab.md shows the picture.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"runtime"
	"time"

	"github.com/enichain/enichain/test/vpcsim"
)

// The main thread must not become one of those that Host.Do throws away: the Go runtime keeps it, and /proc/self would
// then show a node's namespaces for ever.
func init() { runtime.LockOSThread() }

// ownerTag is the tag of ENIs that enichain manages (core/supply, TagOwner).
const ownerTag = "enichain/owner"

// Options say what to build. The zero value is a lab of two nodes as the recipes have them.
type Options struct {
	Name         string        // for messages; "lab" where empty
	Cloud        string        // "aws", also where empty, or "tencent"
	Nodes        int           // 2 where 0; at most 50
	ENIs         int           // how many each node has from the start, the primary counted; 3 where 0
	InstanceType string        // "m5.large" or "S5.MEDIUM4" where empty
	Delay        time.Duration // how long the network lags behind the API
	RPFilter     int           // the nodes' rp_filter: 1 (strict) where 0, 2 is loose, -1 is off
	// IPv6 gives the VPC, its subnets and the internet ranges of IPv6, and each node's primary ENI an address.
	IPv6 bool
	// Hotplug is the format of the names of links that come later: "eth%d" where empty, "ens%d" as udev has them. The
	// number is the first that is free.
	Hotplug string
}

// Lab is a VPC that is up. Its methods may be used concurrently, apart from Down.
type Lab struct {
	Name     string
	Cloud    string
	Nodes    []*Node
	Router   *Host // the VPC's fabric
	Internet *Host // 198.51.100.10, which knows only addresses with a public association
	VPC      *vpcsim.VPC

	provider provider
	fabric   *fabric
	services services
}

// Up builds a lab. Root is needed, and Linux 5.10 or newer.
func Up(ctx context.Context, o Options) (*Lab, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", o.Name, err)
	}
	l := &Lab{Name: o.Name, Cloud: o.Cloud, provider: providers()[o.Cloud]}
	if !o.IPv6 {
		l.provider.gateway6 = netip.Addr{}
	}
	if err := l.build(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", o.Name, err), l.Down())
	}
	return l, nil
}

func (o Options) withDefaults() (Options, error) {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.Nodes, 2)
	set(&o.ENIs, 3)
	set(&o.RPFilter, 1)
	for v, d := range map[*string]string{&o.Name: "lab", &o.Cloud: vpcsim.AWS, &o.Hotplug: linkNames} {
		if *v == "" {
			*v = d
		}
	}
	p, err := providerOf(o.Cloud)
	if err != nil {
		return o, err
	}
	if o.InstanceType == "" {
		o.InstanceType = p.instanceType
	}
	switch {
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return o, fmt.Errorf("%d nodes; 1 to %d are possible", o.Nodes, maxNodes)
	case o.ENIs < 1:
		return o, fmt.Errorf("%d ENIs a node; the primary one is needed", o.ENIs)
	case !regexp.MustCompile(`^[a-z]{2,4}%d$`).MatchString(o.Hotplug):
		return o, fmt.Errorf("links cannot be called %q; a name is 2 to 4 small letters and %%d", o.Hotplug)
	case o.RPFilter < -1 || o.RPFilter > 2:
		return o, fmt.Errorf("rp_filter %d; 1, 2 and -1 for off are possible", o.RPFilter)
	}
	return o, nil
}

func (l *Lab) build(ctx context.Context, o Options) error {
	config := vpcsim.Config{
		Cloud: o.Cloud, Region: l.provider.region, CIDRs: vpcCIDRs(), Subnets: subnets(), FabricDelay: o.Delay,
	}
	if o.IPv6 {
		config.IPv6, config.Subnets = vpc6(), subnets6()
	}
	l.VPC = vpcsim.New(config)
	var err error
	if l.Router, err = newRouter(l.provider); err != nil {
		return fmt.Errorf("make the router: %w", err)
	}
	if l.Internet, err = newInternet(l.provider.six()); err != nil {
		return fmt.Errorf("make the internet: %w", err)
	}
	if l.fabric, err = newFabric(l.Router, l.Internet, l.provider); err != nil {
		return fmt.Errorf("join the router and the internet: %w", err)
	}
	l.VPC.SetFabric(l.fabric)
	if err := l.serve(ctx); err != nil {
		return fmt.Errorf("serve the cloud: %w", err)
	}
	for number := 1; number <= o.Nodes; number++ {
		if err := l.addNode(o, number); err != nil {
			return fmt.Errorf("make node%d: %w", number, err)
		}
	}
	l.VPC.Wait() // for what the delay holds back
	l.fabric.setHotplug(o.Hotplug)
	return errors.Join(l.VPC.FabricErrors()...)
}

// addNode launches an instance with its ENIs.
func (l *Lab) addNode(o Options, number int) error {
	instance, err := l.VPC.AddInstance(o.InstanceType)
	if err != nil {
		return err
	}
	n, err := newNode(fmt.Sprintf("node%d", number), instance.ID, max(o.RPFilter, 0), l.provider)
	if err != nil {
		return err
	}
	l.Nodes = append(l.Nodes, n)
	l.fabric.addNode(n)
	for index := range o.ENIs {
		subnet, primary := place(number, index)
		eni, err := l.VPC.AddENI(instance.ID, subnet, index, primary)
		if err != nil {
			return err
		}
		if o.IPv6 && index == 0 {
			if err := l.addOwnIPv6(n, eni.ID); err != nil {
				return err
			}
		}
		// By the tag, enichain uses an ENI that it did not make; it does not delete it.
		if err := l.VPC.Tag(eni.ID, map[string]string{ownerTag: "lab"}); err != nil {
			return err
		}
	}
	return nil
}

// addOwnIPv6 gives a node's primary ENI its own address of IPv6.
func (l *Lab) addOwnIPv6(n *Node, eni string) error {
	ip, err := l.VPC.AddOwnIPv6(eni)
	if err != nil {
		return err
	}
	l.VPC.Wait() // the link may be late
	return n.lease6(ip, l.fabric.link(eni))
}

// Node returns the node of that name ("node1"), or nil.
func (l *Lab) Node(name string) *Node {
	for _, n := range l.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Link returns what an ENI is called in its node: "eth1". It is "" while the ENI has no link.
func (l *Lab) Link(eni string) string { return l.fabric.link(eni) }

// Drops returns how many packets the fabric has dropped: because their source was not assigned to the ENI that they left
// by, and because their source has no public association and they were for the internet.
func (l *Lab) Drops() (spoofed, noPublicAddress uint64, err error) { return l.fabric.guard.drops() }

// Spoofers returns the dropped packets with a source of another, by ENI and source.
func (l *Lab) Spoofers() ([]Spoofer, error) { return l.fabric.spoofers() }

// Down removes the lab. The kernel takes namespaces down when the last process in them has ended, and those are their
// starters' to end. Down may be called again.
func (l *Lab) Down() error {
	errs := []error{l.services.close()}
	if l.VPC != nil {
		l.VPC.GiveUp() // which calls may wait for
		l.services.await()
		l.VPC.Close()
	}
	if l.fabric != nil {
		errs = append(errs, l.fabric.close())
	}
	for _, n := range l.Nodes {
		errs = append(errs, n.close())
	}
	for _, h := range []*Host{l.Internet, l.Router} {
		if h != nil {
			errs = append(errs, h.close())
		}
	}
	return errors.Join(errs...)
}
