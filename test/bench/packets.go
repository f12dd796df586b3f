package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/test/bench/load"
	cni "github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// layout is a layout of policy routing that eni-ptp may have, with what marks packets.
type layout struct {
	name    string
	routing string
	marking string
	refusal error // why it was not measured; nil where it was
}

// layouts are all. What the kernel cannot do is not measured.
func layouts() []layout {
	return []layout{
		{name: "per-pod", routing: "per-pod"},
		{name: asked, routing: "per-eni", marking: "tcx"},
		{name: "per-eni by nftables", routing: "per-eni", marking: "nftables"},
	}
}

// Where packets go, from a container.
const (
	sameNode  = "pod → pod on the node"
	otherNode = "pod → pod on another node"
)

// router is the limit: the same containers and the same nodes without any rule. ruled is the same with one that no packet meets, which
// is what policy routing costs at the least, and tracked is that with connections tracked besides, as whatever translates any does.
const (
	router  = "plain router"
	ruled   = "plain router, one idle rule"
	tracked = "plain router, one idle rule, conntrack"
)

func plains() []string { return []string{router, ruled, tracked} }

// carried names what carries packets, in the record.
func carried(by, where string) string { return by + ", " + where }

// by is a layout, with eni-snat or without.
func by(layout string, snat bool) string {
	if snat {
		return layout + " + eni-snat"
	}
	return layout
}

// path is a way from a container to another.
type path struct {
	of     string // in the record
	at     int    // containers on the sender's node
	from   *lab.Host
	to     *lab.Host
	server *load.Server
}

// packets measures the dataplane: all paths in turn, on nodes with few containers and with many. Each layout has a lab of its
// own, because a lab's subnets have no room for the containers of all.
func (b *bench) packets(ctx context.Context) (err error) {
	var paths []*path
	defer func() { err = errors.Join(err, closeAll(paths)) }()
	if paths, err = b.routers(ctx); err != nil {
		return err
	}
	for _, layout := range b.layouts {
		if layout.refusal != nil {
			continue
		}
		more, err := b.layoutPaths(ctx, layout)
		paths = append(paths, more...)
		if err != nil {
			return fmt.Errorf("%s: %w", layout.name, err)
		}
	}
	b.say("packets on %d paths in turn, %d rounds", len(paths), b.PacketRounds)
	return turn(b.PacketRounds, paths, func(p *path) error { return errors.Join(b.measure(p), ctx.Err()) })
}

// routers are the paths of the plain routers.
func (b *bench) routers(ctx context.Context) ([]*path, error) {
	l, err := b.up(ctx, lab.Options{Name: "router", Nodes: 2 * len(plains()), ENIs: 1})
	if err != nil {
		return nil, err
	}
	var paths []*path
	for i, name := range plains() {
		nodes := l.Nodes[2*i : 2*i+2]
		more, err := plainPaths(l, name, nodes[0], nodes[1])
		paths = append(paths, more...)
		for _, n := range nodes {
			if name != router {
				err = errors.Join(err, addIdleRule(n))
			}
			if name == tracked {
				err = errors.Join(err, trackConnections(ctx, n))
			}
		}
		if err != nil {
			return paths, fmt.Errorf("%s: %w", name, err)
		}
	}
	return paths, nil
}

// layoutPaths fills nodes by a layout's chains: without eni-snat, and with it.
func (b *bench) layoutPaths(ctx context.Context, layout layout) ([]*path, error) {
	perChain := len(b.Containers) + 1
	l, err := b.up(ctx, lab.Options{
		Name: strings.ReplaceAll(layout.name, " ", "-"), Nodes: 2 * perChain, ENIs: enis(b.Containers[len(b.Containers)-1] + 1), InstanceType: bigNode,
	})
	if err != nil {
		return nil, err
	}
	var paths []*path
	for i, snat := range []bool{false, true} {
		where := nowhere
		if snat {
			where = within
		}
		c := chain{name: by(layout.name, snat), conflist: ourConflist(layout, where), ours: true}
		more, err := b.chainPaths(ctx, c, l.Nodes[i*perChain:][:perChain])
		paths = append(paths, more...)
		if err != nil {
			return paths, err
		}
	}
	return paths, nil
}

// errNoLayout says that there is no such layout here.
var errNoLayout = errors.New("eni-ptp refuses it")

// probeLayouts finds out which layouts can be had here, by an ADD with each.
func (b *bench) probeLayouts(ctx context.Context, node *lab.Node) error {
	for _, l := range layouts() {
		runtime, err := cni.NewRuntime(node, b.bin, []byte(ourConflist(l, nowhere)))
		if err != nil {
			return err
		}
		_, err = runtime.Run(ctx, l.routing)
		l.refusal = refusal(err)
		if err != nil && l.refusal == nil {
			return err
		}
		if l.refusal != nil {
			b.say("%s is left out: %v", l.name, l.refusal)
		}
		if err := runtime.Remove(ctx, l.routing); err != nil {
			return err
		}
		b.layouts = append(b.layouts, l)
	}
	return nil
}

// refusal tells what the kernel lacks from other errors.
func refusal(err error) error {
	var e *types.Error
	if errors.As(err, &e) && strings.Contains(e.Msg, marking.ErrNoTCX.Error()) {
		return fmt.Errorf("%w: %s", errNoLayout, e.Msg)
	}
	return nil
}

// chainPaths fills the nodes with containers of a chain: the first with one, which the others send to.
func (b *bench) chainPaths(ctx context.Context, c chain, nodes []*lab.Node) (paths []*path, err error) {
	var stands []*stand
	defer func() {
		for _, s := range stands {
			s.close()
		}
	}()
	for _, n := range nodes {
		s, err := newStand(n, b.bin, c)
		if err != nil {
			return nil, err
		}
		stands = append(stands, s)
	}
	if err := stands[0].fill(ctx, 1, 0); err != nil {
		return nil, err
	}
	b.say("bring %d containers to nodes of %s", b.Containers, c.name)
	err = cni.Each(len(b.Containers), 2, func(i int) error {
		return stands[i+1].fill(ctx, b.Containers[i]+1, 0) // and one more that packets are sent to
	})
	if err != nil {
		return nil, err
	}
	for i, count := range b.Containers {
		s := stands[i+1]
		from := s.node.Container(resident(count / 2)) // in the middle of the list
		near, far := s.receiver(count/2+1), stands[0].receiver(0)
		for where, to := range map[string]receiver{sameNode: near, otherNode: far} {
			p, err := newPath(carried(c.name, where), count, from, to)
			if err != nil {
				return paths, err
			}
			paths = append(paths, p)
		}
	}
	return paths, nil
}

// receiver is a container that packets are sent to.
type receiver struct {
	host *lab.Host
	ip   netip.Addr
}

// receiver is one that stays, by its place in the list.
func (s *stand) receiver(i int) receiver { return receiver{s.node.Container(resident(i)), s.ips[i]} }

// newPath starts a server at the path's end.
func newPath(of string, at int, from *lab.Host, to receiver) (*path, error) {
	p := &path{of: of, at: at, from: from, to: to.host}
	err := to.host.Do(func() (err error) { p.server, err = load.Serve(to.ip); return err })
	return p, err
}

func closeAll(paths []*path) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, p.server.Close())
	}
	return errors.Join(errs...)
}

// measure measures a path by round trips, by connections per second and by packets per second.
func (b *bench) measure(p *path) error {
	to := p.server.At()
	err := p.from.Do(func() error {
		times, err := probe.RoundTrips(to.Addr(), b.Pings)
		if err != nil {
			return err
		}
		b.add(point{roundTrip, p.of, p.at}, microseconds(times).median())
		made, took, err := load.Connects(to, b.Load)
		b.add(point{connects, p.of, p.at}, float64(made)/took.Seconds())
		return err
	})
	if err == nil {
		err = b.flood(p)
	}
	if err != nil {
		return fmt.Errorf("%s, %d containers: %w", p.of, p.at, err)
	}
	return nil
}

// maxPackets bounds a flood, beside its time.
const maxPackets = 1_000_000

// flood counts the packets that reach the receiver's interface in the time that the sender sends.
func (b *bench) flood(p *path) error {
	before, err := received(p.to)
	if err != nil {
		return err
	}
	var took time.Duration
	if err := p.from.Do(func() (err error) { _, took, err = load.Flood(p.server.At(), maxPackets, b.Load); return err }); err != nil {
		return err
	}
	after, err := received(p.to)
	if err != nil {
		return err
	}
	if after == before {
		return errors.New("no packet arrived")
	}
	b.add(point{packets, p.of, p.at}, float64(after-before)/took.Seconds())
	return nil
}

func received(h *lab.Host) (n uint64, err error) {
	return n, h.Do(func() error { n, err = load.Received(cni.IfName); return err })
}

func microseconds(times []time.Duration) sample {
	var s sample
	for _, t := range times {
		s = append(s, float64(t)/float64(time.Microsecond))
	}
	return s
}
