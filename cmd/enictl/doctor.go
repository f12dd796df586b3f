package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
)

// checkup collects what doctor finds.
type checkup struct {
	t    *tool
	sick bool
}

func (c *checkup) good(format string, args ...any) { c.t.say("ok    "+format, args...) }

func (c *checkup) bad(format string, args ...any) {
	c.sick = true
	c.t.say("BAD   "+format, args...)
}

// judge is good where err is nil.
func (c *checkup) judge(what string, err error) {
	if err != nil {
		c.bad("%s: %v", what, err)
		return
	}
	c.good("%s", what)
}

func (t *tool) doctor(args []string) error {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	root := flags.String("root", "/", "the folder below which systemd's files are")
	r, done, err := t.begin(flags, args, 0, 0)
	if err != nil {
		return err
	}
	defer done()
	c := &checkup{t: t}
	c.good("network %s in %s", r.net.name, r.net.file)
	list, err := readConflist(r.net.file)
	if err != nil {
		return err
	}
	for _, f := range inspect(list) {
		c.bad("%s: %s", r.net.file, f)
	}
	c.binaries(r.net)
	c.judge("the store in "+r.net.ipam.DataDir+" can be used", store.At(r.net.ipam.DataDir).Usable())
	c.cloud(r.ctx, r.net)
	s, err := look(r.ctx, store.At(r.net.ipam.DataDir))
	if err != nil {
		c.bad("read the store: %v", err)
		s = &snapshot{}
	}
	links, err := c.kernel(r.ctx, r.net, s)
	if err != nil {
		return err
	}
	c.forwarding(r.net, familiesOf(s.addresses))
	c.translation(r.ctx, r.net, familiesOf(s.addresses))
	c.networkd(*root)
	c.networkManager(*root, links)
	if c.sick {
		return errFindings
	}
	return nil
}

// binaries looks for the plugins of the list.
func (c *checkup) binaries(net *network) {
	wanted := []string{netconf.EniIPAM}
	if net.ptp != nil {
		wanted = append(wanted, "eni-ptp")
	}
	if net.snat != nil {
		wanted = append(wanted, "eni-snat")
	}
	if net.ipam.Cloud != netconf.StaticCloud {
		wanted = append(wanted, "eni-cloud-"+net.ipam.Cloud)
	}
	for _, name := range wanted {
		found := slices.ContainsFunc(filepath.SplitList(c.t.where.cniPath), func(dir string) bool {
			info, err := os.Stat(filepath.Join(dir, name))
			return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
		})
		if found {
			c.good("%s is installed", name)
		} else {
			c.bad("%s is in no folder of CNI_PATH (%s)", name, c.t.where.cniPath)
		}
	}
}

// cloud asks the metadata service and the API the questions that change nothing.
func (c *checkup) cloud(ctx context.Context, net *network) {
	if net.ipam.Mode == netconf.Offline {
		c.good(`the cloud is not asked: "mode" is "offline"`)
		return
	}
	driver, err := c.t.driver(net)()
	if err != nil {
		c.bad("the driver: %v", err)
		return
	}
	node, err := driver.Node(ctx)
	c.judge("the metadata service answers", err)
	if err != nil {
		return
	}
	_, err = driver.ENIs(ctx, node.InstanceID)
	c.judge("the API lists the ENIs of "+node.InstanceID, err)
	limits, err := driver.Limits(ctx, node.InstanceType)
	c.judge("the API tells the limits of "+node.InstanceType, err)
	if err == nil && net.ipam.Prefixes && !limits.Prefixes {
		c.bad(`"prefixes" is true, and %s takes none: containers get single addresses`, node.InstanceType)
	}
}

// kernel looks at the settings and rules that traffic depends on, and returns the links of the ENIs.
func (c *checkup) kernel(ctx context.Context, net *network, s *snapshot) (links []eniLink, err error) {
	host, err := netstate.Here()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	wanted := layout.State{}
	if slices.ContainsFunc(s.enis, s.needed) { // before, nothing has been set up
		if wanted, err = host.Forwarding(familiesOf(s.assigned())); err != nil {
			return nil, err
		}
	}
	for _, e := range s.enis {
		link, err := host.ENILink(e)
		if err != nil {
			c.bad("the link of %s: %v", e.ID, err)
			continue
		}
		if s.needed(e) {
			wanted.Sysctls = append(wanted.Sysctls, layout.ENI(e, link.Device, netconf.PerPod).Sysctls...)
		} else {
			c.good("%s (%s) is prepared when a container needs it", e.ID, link.Name)
		}
		links = append(links, eniLink{e.Primary, link})
	}
	if net.routing() == netconf.PerENI {
		c.marking(net, links)
	}
	k := &healer{net: net, host: host}
	c.marks(ctx, k, s)
	if err := c.rulesets(ctx, k, s); err != nil {
		return nil, err
	}
	for _, sysctl := range wanted.Sysctls {
		d, err := host.Diff(layout.State{Sysctls: []layout.Sysctl{sysctl}})
		switch {
		case err != nil:
			c.bad("sysctl %s: %v", sysctl.Key, err)
		case d != "":
			c.bad("%s: enictl repair sets it", d)
		default:
			c.good("sysctl %s", sysctl)
		}
	}
	return links, c.foreignRules(host)
}

// marking says what marks containers' packets with the number of their ENI.
func (c *checkup) marking(net *network, links []eniLink) {
	if len(links) == 0 {
		return
	}
	by, against, err := net.ptp.Marking, error(nil), error(nil)
	switch by {
	case netconf.Auto:
		by, against, err = marking.Choose(links[0].Index)
	case netconf.TCX:
		err = marking.Available(links[0].Index)
	}
	switch {
	case err != nil:
		c.bad(`"marking" is %q: %v`, net.ptp.Marking, err)
	case against != nil:
		c.good("the packets of containers are marked by %s, which costs them more than %s: %v", by, netconf.TCX, against)
	default:
		c.good("the packets of containers are marked by %s", by)
	}
}

// marks looks for containers that need a mark and have none: what keeps them may have been taken away by others.
func (c *checkup) marks(ctx context.Context, k *healer, s *snapshot) {
	count, difference, err := k.unmarked(ctx, s)
	switch {
	case err != nil:
		c.bad("look at the marks of containers' packets: %v", err)
	case count > 0:
		c.bad("what %d containers send leaves by the wrong ENI: enictl repair marks it (%s)", count, difference)
	}
}

// rulesets looks whether eni-snat's rules are there, where a container of the network is: who has an eni-ptp that does not know "snat" has
// none.
func (c *checkup) rulesets(ctx context.Context, k *healer, s *snapshot) error {
	links, err := k.host.Links()
	if err != nil {
		return err
	}
	veths := map[family.Family][]string{}
	for _, a := range s.assigned() {
		if veth, found := vethOf(*a.Owner, links, k.net); found && a.Owner.Network == k.net.name {
			veths[family.Of(a.IP)] = append(veths[family.Of(a.IP)], veth.Name)
		}
	}
	for _, f := range family.All() {
		policy, difference, err := k.diffSNAT(ctx, veths[f], f)
		switch {
		case err != nil:
			c.bad("eni-snat's rules: %v", err)
		case difference != "":
			c.bad("eni-snat's rules, %s: %s: the next ADD, or enictl repair, puts it right", policy, difference)
		}
	}
	return nil
}

// eniLink is the link of an ENI.
type eniLink struct {
	primary bool
	netstate.Link
}

// foreignRules looks for rules of others that the kernel tries before, or among, ours. Those of preference 0 are its own.
func (c *checkup) foreignRules(host *netstate.Handle) error {
	rules, err := host.Rules()
	if err != nil {
		return err
	}
	foreign := false
	for _, r := range rules {
		if !r.Ours && r.Pref > 0 && r.Pref <= layout.PrefFromContainer {
			foreign = true
			c.bad("the rule %q is not enichain's, and is tried before the rules of containers", r.Rule)
		}
	}
	if !foreign {
		c.good("no rule of others is tried before the containers'")
	}
	return nil
}
