//go:build kube

package kube

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/enichain/enichain/test/chain"
)

// left says what is left on a node of pods that are gone, by their addresses, and of what stands for any.
func (c *cluster) left(w *worker, gone []netip.Addr) error {
	all, err := chain.Snapshot(c.ctx, w.Node, "/run/enichain")
	if err != nil {
		return err
	}
	for _, f := range c.families {
		more, err := c.leftOf(f, w)
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	mounts, err := w.machine.Mounts()
	if err != nil {
		return err
	}
	groups, err := w.machine.Cgroups()
	if err != nil {
		return err
	}
	processes, err := w.machine.Processes()
	if err != nil {
		return err
	}
	all = append(append(all, mounts...), groups...)
	for _, p := range processes {
		all = append(all, p.Args)
	}
	// No shim is among the signs: containerd 1.6 forgets one whose task took it over ten seconds to delete, as on a busy machine
	// (containerd/containerd#7496). One with a container or a sandbox is found by their control groups, mounts and processes.
	signs, err := regexp.Compile(anyOf(gone) + `|link: \d+: pod|besteffort/pod|netns/cni-|kubelet/pods/|/opt/echo`)
	if err != nil {
		return err
	}
	var found []string
	for line := range strings.Lines(strings.Join(all, "\n")) {
		if signs.MatchString(line) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("%s still has:\n%s", w.Name, strings.Join(found, "\n"))
	}
	return nil
}

// leftOf is what a node's kernel has of a family, beyond what a snapshot has.
func (c *cluster) leftOf(f family, w *worker) (all []string, err error) {
	for _, command := range [][]string{
		{"ip", "-o", f.ip, "addr"},
		{"ip", f.ip, "rule"},
		{"ip", f.ip, "route", "show", "table", "all"},
		// What the host has asked the VPC for it forgets by itself, after a minute.
		{"ip", f.ip, "neigh", "show", "nud", "permanent"},
		{f.save},
	} {
		out, err := w.Output(c.ctx, nil, command[0], command[1:]...)
		if err != nil {
			return nil, err
		}
		all = append(all, strings.Split(string(out), "\n")...)
	}
	return all, nil
}

// anyOf matches one of the addresses, as a whole.
func anyOf(ips []netip.Addr) string {
	var words []string
	for _, ip := range ips {
		words = append(words, regexp.QuoteMeta(ip.String()))
	}
	return `(^|[^0-9a-f:])(` + strings.Join(words, "|") + `)($|[^0-9a-f:])`
}
