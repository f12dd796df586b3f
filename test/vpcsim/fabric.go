package vpcsim

import (
	"sync"
	"time"
)

// step is one piece of fabric work, and what takes it back where a later piece fails.
type step struct {
	do   func(Fabric) error
	undo func(Fabric) error
}

// fabricQueue hands work to the fabric: at once, or in order after a delay.
type fabricQueue struct {
	delay time.Duration

	mu     sync.Mutex
	target Fabric
	errs   []error
	tail   chan struct{} // closed when all work queued so far is done
}

func (q *fabricQueue) set(f Fabric) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.target = f
}

// do carries the steps out, all or none. With a delay it returns nil at once.
func (q *fabricQueue) do(steps ...step) error {
	q.mu.Lock()
	target, before, done := q.target, q.tail, make(chan struct{})
	if target != nil && q.delay > 0 {
		q.tail = done
	}
	q.mu.Unlock()
	if target == nil {
		return nil
	}
	if q.delay == 0 {
		return carryOut(target, steps)
	}
	due := time.Now().Add(q.delay)
	go func() { // ends after delay and the work queued before it; wait waits for it
		defer close(done)
		if before != nil {
			<-before
		}
		<-time.After(time.Until(due))
		if err := carryOut(target, steps); err != nil {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.errs = append(q.errs, err)
		}
	}()
	return nil
}

func carryOut(f Fabric, steps []step) error {
	for n, s := range steps {
		err := s.do(f)
		if err == nil {
			continue
		}
		for _, done := range steps[:n] {
			if done.undo != nil {
				_ = done.undo(f) // the first error is the one to tell
			}
		}
		return err
	}
	return nil
}

func (q *fabricQueue) wait() {
	q.mu.Lock()
	tail := q.tail
	q.mu.Unlock()
	if tail != nil {
		<-tail
	}
}

func (q *fabricQueue) failed() []error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]error(nil), q.errs...)
}
