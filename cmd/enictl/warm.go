package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"

	"github.com/enichain/enichain/core/family"
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
	perENI, advice := "as many addresses as are configured", ""
	if net.ipam.Cloud != netconf.StaticCloud {
		perENI = perENIWords(net.ipam, s)
	}
	if prefixed(net.ipam, s) {
		advice = fmt.Sprintf("; AWS advises %d pods with %d CPUs", advisedPods(runtime.NumCPU()), runtime.NumCPU())
	}
	return t.printf("%s: %d ENIs with %s\n%d ENIs are there, %d of them not enichain's\ncontainers: %d at the most%s\n",
		s.node, s.node.MaxENIs, perENI, len(s.enis)+s.node.ForeignENIs, s.node.ForeignENIs, most, advice)
}

// perENIWords says what an ENI may hold.
func perENIWords(conf *netconf.IPAM, s *snapshot) string {
	words := fmt.Sprintf("%d addresses each, the primary one counted", s.node.AddressesPerENI)
	switch {
	case perPlace(conf, s, family.IPv4) > 1:
		words += fmt.Sprintf("; each other may be a prefix of %d", pool.PrefixSize)
	case conf.Prefixes:
		words += "; the instance type takes no prefixes"
	}
	if slices.Contains(conf.Families, family.IPv6) {
		words += fmt.Sprintf("; and %d of IPv6", s.node.IPv6PerENI)
		if perPlace(conf, s, family.IPv6) > 1 {
			words += ", or as many prefixes"
		}
	}
	return words
}

// perPlace is how many addresses of a family a place of an ENI may bring.
func perPlace(conf *netconf.IPAM, s *snapshot, f family.Family) int {
	switch {
	case s.node.NoPrefixes:
	case f == family.IPv6:
		return store.RangeSize
	case conf.Prefixes:
		return pool.PrefixSize
	}
	return 1
}

// prefixed says whether containers get addresses of prefixes alone, so that there are more than a node can run.
func prefixed(conf *netconf.IPAM, s *snapshot) bool {
	return !slices.ContainsFunc(conf.Families, func(f family.Family) bool { return perPlace(conf, s, f) == 1 })
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
	if prefixed(net.ipam, s) && !*uncapped {
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

// capacity is how many containers the node can have an address of each family for: on the ENIs that it may have and that are
// enichain's to use.
func capacity(conf *netconf.IPAM, s *snapshot) (int, error) {
	most := math.MaxInt
	for _, f := range conf.Families {
		n, err := capacityOf(conf, s, f)
		if err != nil {
			return 0, err
		}
		if f == family.IPv4 && conf.MaxIPs > 0 {
			n = min(n, conf.MaxIPs)
		}
		most = min(most, n)
	}
	return most, nil
}

// capacityOf is how many addresses of a family containers can have.
func capacityOf(conf *netconf.IPAM, s *snapshot, f family.Family) (int, error) {
	static, others := 0, s.node.ForeignENIs
	for _, e := range s.enis {
		if e.DeviceIndex < conf.FirstDeviceIndex {
			others++
			continue
		}
		static += s.counts[f][e.ID].Total()
	}
	if conf.Cloud == netconf.StaticCloud {
		return static, nil
	}
	perENI := s.node.AddressesPerENI
	if f == family.IPv6 {
		perENI = s.node.IPv6PerENI
	}
	switch {
	case f == family.IPv6 && s.node.NoIPv6:
		return 0, nil
	case f == family.IPv6 && perENI == 0:
		return 0, errors.New("the cloud does not say how many addresses of IPv6 the instance type takes")
	case s.node.MaxENIs == 0 || perENI == 0:
		return 0, errors.New(`the cloud does not say what the instance type takes: give "limits" in the conflist`)
	}
	enis := s.node.MaxENIs
	if conf.MaxENIs > 0 {
		enis = min(enis, conf.MaxENIs)
	}
	return max(0, enis-others) * (perENI - 1) * perPlace(conf, s, f), nil
}
