package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strconv"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/pool"
	"github.com/enichain/enichain/core/store"
)

func (t *tool) warm(args []string) error {
	flags := flag.NewFlagSet("warm", flag.ContinueOnError)
	r, done, err := t.begin(flags, args, 1, 1)
	if err != nil {
		return err
	}
	defer done()
	n, err := strconv.Atoi(r.rest[0])
	if err != nil || n < 1 {
		return usageError("warm: %q is no number of addresses", r.rest[0])
	}
	t.doing("grow the pool until %d addresses are free", n)
	free, err := t.supply(r.net).WarmTo(r.ctx, n)
	if err != nil {
		return fmt.Errorf("%d of %d addresses are free: %w", free, n, err)
	}
	return t.printf("%d addresses are free\n", free)
}

func (t *tool) limits(args []string) error {
	net, s, err := t.learn(flag.NewFlagSet("limits", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	most, err := capacity(net.ipam, s)
	if err != nil {
		return err
	}
	perENI := "as many addresses as are configured"
	if net.ipam.Cloud != netconf.StaticCloud {
		perENI = fmt.Sprintf("%d addresses each, the primary one counted", s.node.AddressesPerENI)
	}
	advice := ""
	switch {
	case perPlace(net.ipam, s) > 1:
		perENI += fmt.Sprintf("; each other may be a prefix of %d", pool.PrefixSize)
		advice = fmt.Sprintf("; AWS advises %d pods with %d CPUs", advisedPods(runtime.NumCPU()), runtime.NumCPU())
	case net.ipam.Prefixes:
		perENI += "; the instance type takes no prefixes"
	}
	return t.printf("%s: %d ENIs with %s\n%d ENIs are there, %d of them not enichain's\ncontainers: %d at the most%s\n",
		s.node, s.node.MaxENIs, perENI, len(s.enis)+s.node.ForeignENIs, s.node.ForeignENIs, most, advice)
}

// perPlace is how many addresses a place of an ENI may bring.
func perPlace(conf *netconf.IPAM, s *snapshot) int {
	if conf.Prefixes && !s.node.NoPrefixes {
		return pool.PrefixSize
	}
	return 1
}

// advisedPods is how many pods AWS advises on a node whose pods get addresses of prefixes (Amazon EKS User Guide, "Assign more
// IP addresses to nodes with prefixes"): a type of which more could have addresses has no CPUs for them.
func advisedPods(cpus int) int {
	if cpus < 30 {
		return 110
	}
	return 250
}

func (t *tool) maxPods(args []string) error {
	flags := flag.NewFlagSet("maxpods", flag.ContinueOnError)
	host := flags.Int("host", 0, "how many pods on the host's network are to be counted too")
	uncapped := flags.Bool("uncapped", false, "with prefixes, more than AWS advises")
	net, s, err := t.learn(flags, args)
	if err != nil {
		return err
	}
	most, err := capacity(net.ipam, s)
	if err != nil {
		return err
	}
	most += *host
	if perPlace(net.ipam, s) > 1 && !*uncapped {
		most = min(most, advisedPods(runtime.NumCPU()))
	}
	return t.printf("%d\n", most)
}

// learn begins a verb that reads the store after the cloud was asked, where it may be: kubelet wants its number before any
// container.
func (t *tool) learn(flags *flag.FlagSet, args []string) (*network, *snapshot, error) {
	r, done, err := t.begin(flags, args, 0, 0)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	if err := t.supply(r.net).Learn(r.ctx); err != nil {
		return nil, nil, fmt.Errorf("ask the cloud: %w", err)
	}
	s, err := look(context.WithoutCancel(r.ctx), store.At(r.net.ipam.DataDir))
	return r.net, s, err
}

// capacity is how many containers the node can have addresses for: on the ENIs that it may have and that are enichain's to
// use.
func capacity(conf *netconf.IPAM, s *snapshot) (int, error) {
	most, others := 0, s.node.ForeignENIs
	for _, e := range s.enis {
		if e.DeviceIndex < conf.FirstDeviceIndex {
			others++
			continue
		}
		if conf.Cloud == netconf.StaticCloud {
			most += s.counts[e.ID].Total()
		}
	}
	if conf.Cloud != netconf.StaticCloud {
		if s.node.MaxENIs == 0 || s.node.AddressesPerENI == 0 {
			return 0, errors.New(`the cloud does not say what the instance type takes: give "limits" in the conflist`)
		}
		enis := s.node.MaxENIs
		if conf.MaxENIs > 0 {
			enis = min(enis, conf.MaxENIs)
		}
		most = max(0, enis-others) * (s.node.AddressesPerENI - 1) * perPlace(conf, s)
	}
	if conf.MaxIPs > 0 {
		most = min(most, conf.MaxIPs)
	}
	return most, nil
}
