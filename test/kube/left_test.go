//go:build kube

package kube

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/enichain/enichain/test/chain"
)

// left says what is left on a node of pods that are gone, by their addresses, and of what stands for any.
func (c *cluster) left(w *worker, gone []string) error {
	all, err := chain.Snapshot(c.ctx, w.Node, "/run/enichain")
	if err != nil {
		return err
	}
	// What the host has asked the VPC for it forgets by itself, after a minute.
	neighbours, err := chain.IPCommand(c.ctx, &w.Host, "neigh", "show", "nud", "permanent")
	if err != nil {
		return err
	}
	rules, err := w.Output(c.ctx, nil, "iptables-save")
	if err != nil {
		return err
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
	all = append(append(append(all, neighbours...), mounts...), groups...)
	all = append(all, strings.Split(string(rules), "\n")...)
	for _, p := range processes {
		all = append(all, p.Args)
	}
	signs, err := regexp.Compile(`(^|[^0-9])(` + strings.ReplaceAll(strings.Join(gone, "|"), ".", `\.`) + `)($|[^0-9])|` +
		`link: \d+: pod|besteffort/pod|netns/cni-|kubelet/pods/|containerd-shim|/opt/echo`)
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
