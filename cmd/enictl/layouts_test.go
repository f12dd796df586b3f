package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// layouts are what eni-ptp's section says of the rules, from a comma on; the first is the default.
func layouts() []string {
	return []string{"", `, "routing": "per-eni", "marking": "tcx"`, `, "routing": "per-eni", "marking": "nftables"`}
}

// A node goes from each layout to each other with live containers, and no packet of them is lost meanwhile.
func TestSwitchOfTheLayout(t *testing.T) {
	t.Parallel()
	cloud := clouds.All()[0].Name
	n := newLabNodeOf(t, cloud, layouts()[0])
	fresh := n.snapshot()
	for _, step := range [][2]int{{0, 1}, {1, 2}, {2, 0}, {0, 2}, {2, 1}, {1, 0}} {
		conflist := fmt.Appendf(nil, labConflist, layouts()[step[1]], cloud)
		r, err := chain.NewRuntime(n.Node, bin, conflist)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(t.Context(), "c1"); err != nil {
			t.Errorf("%v: CHECK of a container of before: %v", step, err)
		}
		if !n.reaches() {
			t.Errorf("%v: a container of before reaches nobody", step)
		}
		has(t, n.ctl(1, "repair", "-dry-run"), "would repair")
		before, _, err := n.lab.Drops()
		if err != nil {
			t.Fatal(err)
		}
		stop := n.traffic()
		said := n.ctl(0, "repair")
		for what, err := range stop() {
			t.Errorf("%v: %s: %v", step, what, err)
		}
		// A ping is repeated; the VPC does not forget a packet that left by the wrong ENI.
		if after, _, err := n.lab.Drops(); err != nil || after != before {
			t.Errorf("%v: %d packets left by the wrong ENI, %v", step, after-before, err)
		}
		has(t, said, "put right")
		has(t, n.ctl(0, "repair"), "the kernel is as the store says\n")
		if err := r.Check(t.Context(), "c1"); err != nil {
			t.Errorf("%v: CHECK: %v", step, err)
		}
		if now := strings.Join(n.snapshot(), "\n"); step[1] == 0 && now != strings.Join(fresh, "\n") {
			t.Errorf("%v: other than to begin with:\n%s\nnot:\n%s", step, now, strings.Join(fresh, "\n"))
		}
	}
	if err := n.remove("c1"); err != nil {
		t.Error(err)
	}
}

// remove ends a container.
func (n *labNode) remove(id string) error {
	r, err := chain.NewRuntime(n.Node, bin, fmt.Appendf(nil, labConflist, "", n.cloud))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return r.Del(ctx, id)
}

// traffic pings without pause, until it is stopped: from the container, and to it from its own host and from the other node. Of
// each walk stop returns the first error, if one was lost.
func (n *labNode) traffic() (stop func() map[string]error) {
	ctx, cancel := context.WithCancel(n.t.Context())
	type outcome struct {
		what string
		err  error
	}
	walks := []struct {
		what string
		from *lab.Host
	}{{what: "out", from: n.Container("c1")}, {what: "in", from: &n.Node.Host}}
	outcomes := make(chan outcome, len(walks))
	for _, w := range walks {
		to := n.other
		if w.what == "in" {
			to = n.container
		}
		go func() {
			var err error
			for sent := 0; err == nil && (ctx.Err() == nil || sent < 2); sent++ {
				err = w.from.Do(func() error {
					patience, done := context.WithTimeout(context.Background(), 5*time.Second)
					defer done()
					_, err := probe.Ping(patience, to, probe.From{})
					return err
				})
			}
			outcomes <- outcome{w.what, err}
		}()
	}
	return func() map[string]error {
		cancel()
		lost := map[string]error{}
		for range walks {
			if o := <-outcomes; o.err != nil {
				lost[o.what] = o.err
			}
		}
		return lost
	}
}
