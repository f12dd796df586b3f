//go:build kube

package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/machine"
)

// patience is how long anything may take on a slow and busy machine before the test gives up.
const patience = 5 * time.Minute

// cluster is a Kubernetes in a lab. node1 and node2 are its nodes; node3 holds the control plane, and is else a host of
// the VPC that no plugin knows of.
type cluster struct {
	*lab.Lab
	t        *testing.T
	families []family        // of nodes, pods and Services; the first comes first in each
	ctx      context.Context // ends, with the reason, when a daemon does
	fail     context.CancelCauseFunc
	dir      string
	ca       *authority
	server   string // the API server's URL
	admin    string // a kubeconfig
	proxyAs  string // kube-proxy's
	api      *api
	control  *machine.Machine
	workers  []*worker
	daemons  []*process
	missed   complaints // what was waited for in vain
	nodes    objects
	pods     objects
	*changes
	tasks sync.WaitGroup
}

// up brings a cluster up with both nodes ready.
func up(t *testing.T, families ...family) *cluster {
	t.Helper()
	ctx, stop := interrupted(t)
	t.Cleanup(stop)
	ctx, fail := context.WithCancelCause(ctx)
	c := &cluster{
		t: t, families: families, ctx: ctx, fail: fail, dir: t.TempDir(), changes: &changes{happened: make(chan struct{})},
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.explain()
		}
		fail(errors.New("the test is over"))
		if err := c.down(); err != nil {
			t.Error(err)
		}
	})
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// interrupted is a context that ends early enough for a test that is interrupted, or takes too long, to tidy up.
func interrupted(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, unix.SIGTERM)
	deadline, ok := t.Deadline()
	if !ok {
		return ctx, stop
	}
	ctx, cancel := context.WithDeadlineCause(ctx, deadline.Add(-2*time.Minute), errors.New("the test takes too long"))
	return ctx, func() { cancel(); stop() }
}

func (c *cluster) start() (err error) {
	// Three ENIs of 14 containers are there, and a fourth can be attached.
	o := lab.Options{Name: c.t.Name(), Nodes: 3, InstanceType: "m5.xlarge", IPv6: c.six()}
	if c.families[0].name == ipv6().name {
		o.InstanceType = "m4.xlarge" // which takes no prefixes: one of the primary ENI would do for all pods
	}
	if c.Lab, err = lab.Up(c.ctx, o); err != nil {
		return err
	}
	if c.control, err = machine.On(c.Nodes[2]); err != nil {
		return err
	}
	if err := c.startControl(); err != nil {
		return fmt.Errorf("start the control plane: %w", err)
	}
	c.tasks.Go(func() { c.follow("/api/v1/nodes", &c.nodes) })
	c.tasks.Go(func() { c.follow("/api/v1/pods", &c.pods) })
	for _, n := range c.Nodes[:2] {
		w, err := c.newWorker(n)
		if err != nil {
			return fmt.Errorf("make %s: %w", n.Name, err)
		}
		c.workers = append(c.workers, w)
		if err := errors.Join(c.powerOn(w), c.importImage(w)); err != nil {
			return fmt.Errorf("start %s: %w", n.Name, err)
		}
	}
	return c.await("both nodes to be ready", c.nodesReady)
}

// down ends all processes at once; what they would tidy up is gone with the lab.
func (c *cluster) down() error {
	var errs []error
	for _, w := range c.workers {
		errs = append(errs, c.powerOff(w))
	}
	if c.control != nil {
		errs = append(errs, c.off(c.control))
	}
	if c.api != nil {
		c.api.close()
	}
	c.tasks.Wait()
	if c.Lab != nil {
		errs = append(errs, c.Lab.Down())
	}
	return errors.Join(errs...)
}

// off ends all processes of a machine at once, and says what is left of it on the real one.
func (c *cluster) off(m *machine.Machine) error {
	for _, p := range c.daemons {
		if p.machine == m {
			p.stopped.Store(true)
		}
	}
	err := m.Off()
	groups, e := m.Cgroups()
	if len(groups) > 0 {
		e = errors.Join(e, fmt.Errorf("%s left %v", m.Node.Name, groups))
	}
	return errors.Join(err, e)
}

// run starts a daemon on a machine; its end is the test's.
func (c *cluster) run(m *machine.Machine, program string, args ...string) (*process, error) {
	p, err := start(m, c.dir, c.fail, program, args...)
	if err == nil {
		c.daemons = append(c.daemons, p)
	}
	return p, err
}

// write writes a file into the cluster's folder and returns its path.
func (c *cluster) write(name, text string) (string, error) {
	path := filepath.Join(c.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// nodesReady says what keeps the nodes from being ready.
func (c *cluster) nodesReady() error {
	ready := 0
	for _, n := range c.nodes.list() {
		if n.is("Ready") {
			ready++
		}
	}
	if ready < len(c.workers) {
		return fmt.Errorf("%d of %d nodes are ready", ready, len(c.workers))
	}
	return nil
}
