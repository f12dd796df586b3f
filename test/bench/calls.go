package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	cni "github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// bigNode is an instance whose ENIs hold 464 addresses each, in 29 prefixes.
const (
	bigNode = "c5.4xlarge"
	perENI  = 29 * 16
)

// enis is how many ENIs a node has, with the primary one, for so many addresses.
func enis(addresses int) int { return 2 + (addresses-1)/perENI }

// spare is how many addresses a pool has for those that come and go, also where many come at once while others cool.
const spare = 160

// Nodes that have no chain: the first ones are where what a call cannot be below is measured.
const (
	floorNodes = 3
	probeNode  = 3
	bareNodes  = 4
)

// calls measures the chains: one after the other in turn, on nodes with few containers and with many, and many at once. Each
// chain has a node of its own for each number of containers.
func (b *bench) calls(ctx context.Context) error {
	all := chains()
	counts := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(b.Containers), b.Few))))
	l, err := b.up(ctx, lab.Options{
		Name: "bench", Nodes: bareNodes + len(all)*len(counts), ENIs: enis(counts[len(counts)-1] + spare), InstanceType: bigNode,
	})
	if err != nil {
		return err
	}
	var stands []*stand
	defer func() {
		for _, s := range stands {
			s.close()
		}
	}()
	for _, count := range counts {
		for _, c := range all {
			if !c.ours && count > b.Peers || c.few && count != b.Few {
				continue
			}
			s, err := newStand(l.Nodes[bareNodes+len(stands)], b.bin, c)
			if err != nil {
				return err
			}
			s.stay, stands = count, append(stands, s)
		}
	}
	b.say("bring %d containers to each of %d nodes, by %d chains", counts, len(stands), len(all))
	if err := cni.Each(len(stands), 2, func(i int) error { return stands[i].fill(ctx, stands[i].stay, spare) }); err != nil {
		return err
	}
	if err := b.probeLayouts(ctx, l.Nodes[probeNode]); err != nil {
		return err
	}
	few := slices.DeleteFunc(slices.Clone(stands), func(s *stand) bool { return s.stay != b.Few })
	if err := b.footprints(ctx, l.Nodes[probeNode], few); err != nil {
		return err
	}
	if err := b.compare(ctx, l.Nodes[:floorNodes], few); err != nil {
		return err
	}
	if err := b.among(ctx, stands); err != nil {
		return err
	}
	if err := b.crowds(ctx, few); err != nil {
		return err
	}
	b.left = b.bin.AwaitEnd()
	return nil
}

// turn calls fn for each of the things in each round, another one first each time.
func turn[T any](rounds int, things []T, fn func(T) error) error {
	for round := range rounds {
		for i := range things {
			if err := fn(things[(round+i)%len(things)]); err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
		}
	}
	return nil
}

// compare measures ADD, CHECK and DEL by each chain, and what they cannot be below: processes that do nothing, or only start, and the
// creation and the deletion of a link.
func (b *bench) compare(ctx context.Context, nodes []*lab.Node, few []*stand) (err error) {
	b.say("ADD, CHECK and DEL by each chain in turn, %d rounds", b.Rounds)
	compared := slices.Clone(few)
	for i, processes := range slices.Compact([]int{1, b.delStarts}) {
		s, err := newStand(nodes[i], b.bin, bare(processes))
		if err != nil {
			return err
		}
		defer s.close()
		compared = append(compared, s)
	}
	var turns []func() error
	for _, s := range compared {
		turns = append(turns, func() error { return b.compareOne(ctx, s) })
	}
	w, err := newWire(nodes[2], "bare", net.IPv4(10, 19, 0, 250))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	turns = append(turns, func() error {
		made, removed, err := w.life()
		b.add(point{add, linkCreation, 0}, milliseconds(made))
		b.add(point{del, linkDeletion, 0}, milliseconds(removed))
		return errors.Join(err, b.touch())
	})
	for _, program := range started() {
		turns = append(turns, func() error { return b.start(ctx, compared[len(compared)-1], program) })
	}
	return turn(b.Rounds, turns, func(measure func() error) error { return errors.Join(measure(), ctx.Err()) })
}

func (b *bench) compareOne(ctx context.Context, s *stand) error {
	l, err := s.live(ctx)
	b.add(point{add, s.name, 0}, l.add)
	b.add(point{check, s.name, 0}, l.check)
	b.add(point{del, s.name, 0}, l.del)
	return err
}

// among measures the same on nodes with other containers.
func (b *bench) among(ctx context.Context, stands []*stand) error {
	b.say("the same on nodes with %d containers, %d rounds", b.Containers, b.ScaleRounds)
	return turn(b.ScaleRounds, stands, func(s *stand) error {
		l, err := s.live(ctx)
		if err != nil {
			return err
		}
		b.add(point{addAmong, s.name, s.stay}, l.add)
		b.add(point{delAmong, s.name, s.stay}, l.del)
		return ctx.Err()
	})
}

// crowds measures how many ADDs a second a node does where many come at once, on nodes with few containers.
func (b *bench) crowds(ctx context.Context, few []*stand) error {
	b.say("%d ADDs at once, %d rounds", b.Crowds, b.CrowdRounds)
	for _, size := range b.Crowds {
		var all []*crowd
		for _, s := range few {
			c, err := newCrowd(s, size)
			if err != nil {
				return err
			}
			defer c.leave()
			all = append(all, c)
		}
		if err := turn(b.CrowdRounds, all, func(c *crowd) error {
			took, err := c.come(ctx)
			b.add(point{addsAtOnce, c.name, size}, float64(size)/took.Seconds())
			return errors.Join(err, ctx.Err())
		}); err != nil {
			return err
		}
	}
	return nil
}

// cold measures the first ADD of nodes whose pool is empty: the cloud is asked. The lab's answers at once.
func (b *bench) cold(ctx context.Context) error {
	b.say("the first ADD of %d nodes", b.ColdNodes)
	l, err := b.up(ctx, lab.Options{Name: "cold", Nodes: b.ColdNodes})
	if err != nil {
		return err
	}
	c := chain{name: ours, conflist: list("enichain", `{"type": "eni-ptp", "snat": {}, "ipam": {"type": "eni-ipam", "cloud": "aws"}}`)}
	for _, n := range l.Nodes {
		s, err := newStand(n, b.bin, c)
		if err != nil {
			return err
		}
		defer s.close()
		for _, what := range []what{cold, afterCold} {
			l, err := s.live(ctx)
			if err != nil {
				return err
			}
			b.add(point{what, ours, 0}, l.add)
		}
	}
	return ctx.Err()
}
