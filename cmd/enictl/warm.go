package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"

	"github.com/enichain/enichain/core/netconf"
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
	return t.printf("%s: %d ENIs with %s\n%d ENIs are there, %d of them not enichain's\ncontainers: %d at the most\n",
		s.node, s.node.MaxENIs, perENI, len(s.enis)+s.node.ForeignENIs, s.node.ForeignENIs, most)
}

func (t *tool) maxPods(args []string) error {
	flags := flag.NewFlagSet("maxpods", flag.ContinueOnError)
	host := flags.Int("host", 0, "how many pods on the host's network are to be counted too")
	net, s, err := t.learn(flags, args)
	if err != nil {
		return err
	}
	most, err := capacity(net.ipam, s)
	if err != nil {
		return err
	}
	return t.printf("%d\n", most+*host)
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
		most = max(0, enis-others) * (s.node.AddressesPerENI - 1)
	}
	if conf.MaxIPs > 0 {
		most = min(most, conf.MaxIPs)
	}
	return most, nil
}
