package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/vpcsim"
)

// plan is what `enilab up` was asked for, and what the holder is told.
type plan struct {
	lab.Options
	bin, conflist string
}

// planFlags are the flags of a plan, by which `enilab up` also hands it to the holder.
func planFlags(command string) (*flag.FlagSet, *plan) {
	p := &plan{}
	set := flag.NewFlagSet("enilab "+command, flag.ContinueOnError)
	set.StringVar(&p.Name, "name", defaultName, "the lab's `name`")
	set.StringVar(&p.Cloud, "cloud", vpcsim.AWS, "the `cloud` to simulate: aws or tencent")
	set.IntVar(&p.Nodes, "nodes", 2, "how many nodes")
	set.IntVar(&p.ENIs, "enis", 3, "how many ENIs a node has from the start")
	set.StringVar(&p.InstanceType, "type", "", "the nodes' instance `type`; m5.large or S5.MEDIUM4 where it is empty")
	set.DurationVar(&p.Delay, "delay", 0, "how long the network lags behind the API")
	set.StringVar(&p.Hotplug, "hotplug", "eth%d", "what links are called that come later; ens%d is what udev makes of them")
	set.IntVar(&p.RPFilter, "rp-filter", 1, "the nodes' rp_filter: 1 is strict, 2 loose, -1 off")
	set.BoolVar(&p.IPv6, "ipv6", false, "the VPC has IPv6 too")
	set.StringVar(&p.bin, "bin", builtFolder(), "the `folder` that the nodes have as /opt/cni/bin")
	set.StringVar(&p.conflist, "conflist", "", "the nodes' network configuration, a `file`; the cloud's, with both families where the lab has them, where the flag is not given")
	return set, p
}

// builtFolder is this program's, where the plugins are in it too.
func builtFolder() string {
	folder, err := ownFolder()
	if err != nil || !exists(filepath.Join(folder, "eni-ptp")) {
		return ""
	}
	return folder
}

// chooseConflist takes the cloud's conflist, or the one with IPv6 beside IPv4, where no flag names one.
func chooseConflist(set *flag.FlagSet, cloud string, ipv6 bool, conflist *string) {
	given := false
	set.Visit(func(f *flag.Flag) { given = given || f.Name == "conflist" })
	if !given {
		*conflist = builtConflist(shippedConflist(cloud, ipv6))
	}
}

// shippedConflist is what the repository calls a cloud's conflist.
func shippedConflist(cloud string, ipv6 bool) string {
	if ipv6 {
		return "10-enichain-" + cloud + "-dual.conflist"
	}
	return "10-enichain-" + cloud + ".conflist"
}

// builtConflist is the path of a conflist of the repository, where this program is in its bin/.
func builtConflist(name string) string {
	folder, err := ownFolder()
	file := filepath.Join(folder, "../conflist", name)
	if err != nil || !exists(file) {
		return ""
	}
	return file
}

func ownFolder() (string, error) {
	self, err := os.Executable()
	return filepath.Dir(self), err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// args are the flags that make the same plan.
func (p *plan) args(set *flag.FlagSet) []string {
	var args []string
	set.VisitAll(func(f *flag.Flag) { args = append(args, "-"+f.Name+"="+f.Value.String()) })
	return args
}

// install gives the nodes their plugins, where there are any.
func (p *plan) install(l *lab.Lab) error {
	if p.bin == "" && p.conflist == "" {
		return nil
	}
	if p.bin == "" || p.conflist == "" {
		return errors.New("-bin and -conflist are needed together")
	}
	conflist, err := os.ReadFile(p.conflist)
	if err != nil {
		return fmt.Errorf("read the network configuration: %w", err)
	}
	for _, n := range l.Nodes {
		if err := n.InstallCNI(p.bin, conflist); err != nil {
			return err
		}
	}
	return nil
}
