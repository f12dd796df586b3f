//go:build kube

package kube

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// explain prints what an operator would look at: the cluster's warnings, where the plugins' errors are, the pods, what
// each node's store has, and the ends of the logs.
func (c *cluster) explain() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if c.api != nil {
		c.explainObjects(ctx)
	}
	for _, w := range c.workers {
		c.explainNode(ctx, w)
		if w.containerd != nil {
			c.t.Logf("%s: containerd:\n%s", w.Name, tail(w.containerd.Log(), logLines))
		}
	}
	for _, p := range c.daemons {
		c.t.Logf("%s:\n%s", p.name, p.tail(logLines))
	}
	for _, err := range c.missed.list() { // once more, because of a log the end is read first
		c.t.Log(err)
	}
}

// explainNode prints a node's store, its own opinion, and what is in its kernel.
func (c *cluster) explainNode(ctx context.Context, w *worker) {
	for _, command := range [][]string{
		{bin.Path("enictl"), "show"},
		{bin.Path("enictl"), "doctor"},
		{"ip", "-o", "addr"},
		{"ip", "-4", "rule"},
		{"ip", "-6", "rule"},
		{"ip", "-4", "route", "show", "table", "all"},
		{"ip", "-6", "route", "show", "table", "all"},
		{"sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.eth0.rp_filter", "net.ipv4.conf.all.rp_filter", "net.ipv6.conf.all.forwarding"},
		{"nft", "list", "ruleset"},
	} {
		out, err := w.Output(ctx, w.Env(), command[0], command[1:]...)
		c.t.Logf("%s: %s: %v\n%s", w.Name, strings.Join(command, " "), err, out)
	}
}

// logLines is how much of a log is printed.
const logLines = 15

func (c *cluster) explainObjects(ctx context.Context) {
	var events struct {
		Items []struct {
			InvolvedObject  struct{ Kind, Name string }
			Reason, Message string
		}
	}
	if err := c.api.get(ctx, "/api/v1/events?fieldSelector=type%3DWarning", &events); err != nil {
		c.t.Log(err)
	}
	said := map[string]int{} // the events that a node repeats differ in numbers of no interest
	for _, e := range events.Items {
		about := e.InvolvedObject.Kind + " " + e.InvolvedObject.Name + ": " + e.Reason
		if said[about]++; said[about] == 1 {
			c.t.Logf("%s: %s", about, e.Message)
		}
	}
	for _, o := range append(c.nodes.list(), c.pods.list()...) {
		c.t.Log(describe(o))
	}
}

func describe(o object) string {
	return fmt.Sprintf("%s %s %s %s ready %t", o.Metadata.Name, o.Spec.NodeName, o.Status.Phase, o.ips(), o.is("Ready"))
}
