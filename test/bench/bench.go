// Package bench measures what a container costs with enichain, beside what a user would pick instead: the calls of the CNI, and the
// packets. All is measured in one run, in the lab, one after the other in turn, so that only ratios are read.
// docs/benchmarks.md is what it writes, and says how it measures.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	cni "github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// Plan is how much is measured.
type Plan struct {
	Rounds       int   // of ADD, CHECK and DEL by each chain
	ScaleRounds  int   // of the same on nodes with containers
	CrowdRounds  int   // of ADDs at once
	PacketRounds int   // of each measurement of the dataplane
	Few          int   // containers on the node in the comparison of the chains
	Containers   []int // on the node, in ascending order
	Peers        int   // the most of these on a node of other plugins, which take long to come
	Crowds       []int // ADDs at once
	ColdNodes    int   // whose first ADD is measured
	Pings        int
	Load         time.Duration // of packets and of connections
}

// Full is what the committed figures were made with.
func Full() Plan {
	return Plan{
		Rounds: 100, ScaleRounds: 20, CrowdRounds: 3, PacketRounds: 7, Few: 10, Containers: []int{1, 110, 250, 1000}, Peers: 250,
		Crowds: []int{1, 8, 32, 64}, ColdNodes: 10, Pings: 3000, Load: 300 * time.Millisecond,
	}
}

// Short is a plan with fewer rounds and containers, to see what a change does.
func Short() Plan {
	p := Full()
	p.Rounds, p.ScaleRounds, p.CrowdRounds, p.PacketRounds, p.ColdNodes = 10, 3, 1, 3, 3
	p.Containers, p.Crowds = []int{1, 50}, []int{1, 16}
	return p
}

// Results are what a run found.
type Results struct {
	Plan
	record
	machine        machine
	peers          string
	others, stolen float64 // shares of the processors' time that were not this run's
	layouts        []layout
	delStarts      int         // processes of a DEL of ours
	efforts        []effort    // by chain and verb
	memory         []footprint // by program
	left           error       // what still ran when all calls had ended
	took           time.Duration
}

// bench is a run.
type bench struct {
	*Results
	bin   *cni.Binaries
	out   io.Writer
	began time.Time
	labs  []*lab.Lab
}

// up brings a lab up, which stays until the run's end: for a good while the kernel would be busy removing thousands of namespaces,
// and hold locks that the next measurement needs.
func (b *bench) up(ctx context.Context, o lab.Options) (*lab.Lab, error) {
	l, err := lab.Up(ctx, o)
	if err == nil {
		b.labs = append(b.labs, l)
	}
	return l, err
}

// down ends all labs, once none of the programs runs in them any more.
func (b *bench) down() error {
	errs := []error{b.bin.AwaitEnd()}
	for _, l := range b.labs {
		errs = append(errs, l.Down())
	}
	return errors.Join(errs...)
}

// Run builds what it needs and measures, and tells on out what it does. Nothing is left when it returns, also where ctx ended before.
func Run(ctx context.Context, plan Plan, out io.Writer) (r *Results, err error) {
	bin, err := build()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bin.Remove()) }()
	return run(ctx, plan, bin, out)
}

// build builds what is measured: release builds, all with the same flags.
func build() (*cni.Binaries, error) {
	bin, err := cni.BuildRelease()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(bin.AddOurs("test/bench/nothing", "test/bench/peak"), bin.AddOutside(peerPlugins()...)); err != nil {
		return nil, errors.Join(err, bin.Remove())
	}
	return bin, nil
}

func run(ctx context.Context, plan Plan, bin *cni.Binaries, out io.Writer) (r *Results, err error) {
	b := &bench{Results: &Results{Plan: plan, record: record{}}, bin: bin, out: out, began: time.Now()}
	defer func() { err = errors.Join(err, b.down()) }()
	if b.machine, err = look(); err != nil {
		return nil, err
	}
	if b.peers, err = peersOf(b.bin.Path("ptp")); err != nil {
		return nil, err
	}
	before, err := readTicks()
	if err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context) error{b.calls, b.cold, b.packets} {
		if err := errors.Join(part(ctx), ctx.Err()); err != nil {
			return nil, err
		}
	}
	after, err := readTicks()
	if err != nil {
		return nil, err
	}
	b.others, b.stolen = after.sharesSince(before)
	b.took = time.Since(b.began)
	return b.Results, nil
}

// say tells what is being done.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.out, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}
