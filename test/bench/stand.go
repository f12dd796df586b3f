package bench

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	cni "github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// stand is a node with a chain and containers that stay; others come and go.
type stand struct {
	chain
	node    *lab.Node
	runtime *cni.Runtime
	thread  *lab.Thread
	stay    int
	ips     []netip.Addr // of those that stay, in the order in which they came
}

// measured is the ID of the container that comes and goes where there is one at a time.
const measured = "measured"

// newStand installs a chain in a node, and makes a namespace for what will be measured. close ends it.
func newStand(node *lab.Node, bin *cni.Binaries, c chain) (*stand, error) {
	s := &stand{chain: c, node: node}
	var err error
	if s.thread, err = node.Thread(); err != nil {
		return nil, err
	}
	runtime, err := cni.NewRuntime(node, bin, []byte(c.conflist))
	if err == nil {
		s.runtime = runtime.On(s.thread)
		_, err = node.AddNetns(measured)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stand) close() { s.thread.Close() }

// resident is the ID of a container that stays, by its place in the list.
func resident(i int) string { return "c" + strconv.Itoa(i) }

// fill brings so many containers to the node, to stay, and gives its pool spare addresses for others.
func (s *stand) fill(ctx context.Context, stay, spare int) error {
	if s.ours {
		free := strconv.Itoa(stay + spare)
		if _, err := s.node.Output(ctx, s.node.Env(), "/opt/cni/bin/enictl", "warm", free); err != nil {
			return fmt.Errorf("fill the pool: %w", err)
		}
	}
	for i := range stay {
		result, err := s.runtime.Run(ctx, resident(i))
		if err != nil {
			return fmt.Errorf("%s: container %d of %d: %w", s.name, i+1, stay, err)
		}
		s.ips = append(s.ips, cni.IP(result))
	}
	s.stay = stay
	return nil
}

// verb is a verb that is measured.
type verb struct {
	name string
	call func() error
}

// verbs are a container's life.
func (s *stand) verbs(ctx context.Context) []verb {
	return []verb{
		{"ADD", func() error { _, err := s.runtime.Add(ctx, measured); return err }},
		{"CHECK", func() error { return s.runtime.Check(ctx, measured) }},
		{"DEL", func() error { return s.runtime.Del(ctx, measured) }},
	}
}

// life is how long an ADD, a CHECK and a DEL of a container took, in milliseconds.
type life struct{ add, check, del float64 }

// live measures a container's life, which is over when it returns.
func (s *stand) live(ctx context.Context) (l life, err error) {
	took := []*float64{&l.add, &l.check, &l.del}
	for i, v := range s.verbs(ctx) {
		began := time.Now()
		if err := v.call(); err != nil {
			return l, fmt.Errorf("%s with %d containers: %s: %w", s.name, s.stay, v.name, err)
		}
		*took[i] = milliseconds(time.Since(began))
	}
	return l, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
