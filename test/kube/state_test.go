//go:build kube

package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// objects are a collection as the API server tells of it.
type objects struct {
	mu  sync.Mutex
	all map[string]object // by UID
}

// changes wakes who waits for an object to change.
type changes struct {
	mu       sync.Mutex
	happened chan struct{} // closed and replaced with each change
}

// follow keeps a collection as it is in the cluster, until the cluster's end.
func (c *cluster) follow(path string, into *objects) {
	for c.ctx.Err() == nil {
		var now list
		if err := c.api.get(c.ctx, path, &now); err != nil {
			pause(c.ctx)
			continue
		}
		into.set(now.Items)
		c.notify()
		// It ends now and then, and is begun again.
		_ = c.api.watch(c.ctx, path, now.Metadata.ResourceVersion, func(kind string, o object) {
			into.change(kind, o)
			c.notify()
		})
	}
}

func (s *objects) set(all []object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = map[string]object{}
	for _, o := range all {
		s.all[o.Metadata.UID] = o
	}
}

func (s *objects) change(kind string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == "DELETED" {
		delete(s.all, o.Metadata.UID)
		return
	}
	s.all[o.Metadata.UID] = o
}

// list is the collection by name.
func (s *objects) list() []object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []object
	for _, o := range s.all {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b object) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) })
	return all
}

// is says whether a condition of the object holds.
func (o object) is(condition string) bool {
	for _, c := range o.Status.Conditions {
		if c.Type == condition {
			return c.Status == "True" && o.Metadata.DeletionTimestamp == ""
		}
	}
	return false
}

func (s *changes) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.happened)
	s.happened = make(chan struct{})
}

func (s *changes) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.happened
}

// await waits until ok says that nothing is lacking any more; it is asked again with each change of an object.
func (c *cluster) await(what string, ok func() error) error {
	return c.until(patience, what, func(ctx context.Context) error {
		next := c.next() // before it is asked, so that no change is missed
		err := ok()
		if err != nil {
			select {
			case <-next:
			case <-ctx.Done():
			}
		}
		return err
	})
}

// poll is await for what no event tells of: a server that does not listen yet, rules that kube-proxy has not written yet.
func (c *cluster) poll(limit time.Duration, what string, ok func() error) error {
	return c.until(limit, what, func(ctx context.Context) error {
		err := ok()
		if err != nil {
			pause(ctx)
		}
		return err
	})
}

func (c *cluster) until(limit time.Duration, what string, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(c.ctx, limit, fmt.Errorf("%v are over", limit))
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("wait for %s: %w; %w", what, context.Cause(ctx), err)
			c.missed.add(err)
			return err
		}
	}
}

// pause is what lies between two questions.
func pause(ctx context.Context) {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// complaints are errors of several tests at once.
type complaints struct {
	mu  sync.Mutex
	all []error
}

func (c *complaints) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, err)
}

func (c *complaints) list() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}
