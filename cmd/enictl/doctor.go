package main

import (
	"bufio"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/enichain/enichain/core/layout"
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
	if _, err := t.parse(flags, args, 0, 0); err != nil {
		return err
	}
	net, err := findNetwork(t.where)
	if err != nil {
		return err
	}
	ctx, cancel := t.timeout(net)
	defer cancel()
	c := &checkup{t: t}
	c.good("network %s in %s", net.name, net.file)
	list, err := readConflist(net.file)
	if err != nil {
		return err
	}
	for _, f := range inspect(list) {
		c.bad("%s: %s", net.file, f)
	}
	c.binaries(net)
	c.judge("the store in "+net.ipam.DataDir+" can be used", store.At(net.ipam.DataDir).Usable())
	c.cloud(ctx, net)
	if err := c.kernel(ctx, net); err != nil {
		return err
	}
	c.networkd(*root)
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
	_, err = driver.Limits(ctx, node.InstanceType)
	c.judge("the API tells the limits of "+node.InstanceType, err)
}

// kernel looks at the settings and rules that traffic depends on.
func (c *checkup) kernel(ctx context.Context, net *network) error {
	host, err := netstate.Here()
	if err != nil {
		return err
	}
	defer host.Close()
	s, err := look(ctx, store.At(net.ipam.DataDir))
	if err != nil {
		c.bad("read the store: %v", err)
		return nil
	}
	wanted := layout.State{}
	if len(s.enis) > 0 { // before, nothing has been set up
		wanted = layout.Forwarding()
	}
	for _, e := range s.enis {
		link, err := host.ENILink(e)
		if err != nil {
			c.bad("the link of %s: %v", e.ID, err)
			continue
		}
		wanted.Sysctls = append(wanted.Sysctls, layout.ENI(e, link.Device).Sysctls...)
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
	return c.foreignRules(host)
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

// networkd says whether systemd-networkd, where it is installed, leaves the rules of others alone (networkd.conf(5),
// ManageForeignRoutingPolicyRules=, of systemd 249 and later). A file later in the order wins, and one in /etc over others.
func (c *checkup) networkd(root string) {
	if _, err := os.Stat(filepath.Join(root, "run/systemd/netif")); err != nil {
		c.good("systemd-networkd does not run")
		return
	}
	files := []string{filepath.Join(root, "etc/systemd/networkd.conf")}
	byName := map[string]string{}
	for _, dir := range []string{"usr/lib", "usr/local/lib", "run", "etc"} {
		found, _ := filepath.Glob(filepath.Join(root, dir, "systemd/networkd.conf.d/*.conf"))
		for _, f := range found {
			byName[filepath.Base(f)] = f
		}
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		files = append(files, byName[name])
	}
	value := "yes"
	for _, f := range files {
		if v, found := setting(f, "ManageForeignRoutingPolicyRules"); found {
			value = v
		}
	}
	if slices.Contains([]string{"no", "false", "0", "off", "n", "f"}, strings.ToLower(value)) {
		c.good("systemd-networkd leaves the rules of others alone")
		return
	}
	c.bad("systemd-networkd flushes the rules of others when it starts: put [Network] and ManageForeignRoutingPolicyRules=no " +
		"into /etc/systemd/networkd.conf.d/enichain.conf, and ManageForeignRoutes=no as well; enictl repair heals")
}

// setting reads the last value of a key in a file of systemd's form.
func setting(file, key string) (value string, found bool) {
	f, err := os.Open(file)
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, ok := strings.Cut(lines.Text(), "=")
		if ok && strings.TrimSpace(k) == key {
			value, found = strings.TrimSpace(v), true
		}
	}
	return value, found
}
