package bench

import (
	"context"
	"fmt"
	"time"

	cni "github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// crowd is so many containers of a node that come at once.
type crowd struct {
	*stand
	size     int
	threads  []*lab.Thread
	runtimes []*cni.Runtime
}

func newCrowd(s *stand, size int) (*crowd, error) {
	c := &crowd{stand: s, size: size}
	for i := range size {
		thread, err := s.node.Thread()
		if err != nil {
			c.leave()
			return nil, err
		}
		c.threads = append(c.threads, thread)
		c.runtimes = append(c.runtimes, s.runtime.On(thread))
		if _, err := s.node.AddNetns(c.id(i)); err != nil {
			c.leave()
			return nil, err
		}
	}
	return c, nil
}

// id is of the crowd's own size, so that crowds of a node have nothing to do with each other.
func (c *crowd) id(i int) string { return fmt.Sprintf("crowd%d-%d", c.size, i) }

// leave ends what the crowd holds.
func (c *crowd) leave() {
	for _, t := range c.threads {
		t.Close()
	}
}

// come adds all at once, and returns how long it took until the last was there. None is there any more when it returns.
func (c *crowd) come(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := cni.Each(c.size, c.size, func(i int) error {
		_, err := c.runtimes[i].Add(ctx, c.id(i))
		return err
	})
	took := time.Since(began)
	if err == nil {
		err = cni.Each(c.size, c.size, func(i int) error { return c.runtimes[i].Del(ctx, c.id(i)) })
	}
	if err != nil {
		return took, fmt.Errorf("%s, %d at once: %w", c.name, c.size, err)
	}
	return took, nil
}
