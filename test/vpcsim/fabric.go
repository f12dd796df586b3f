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
	mu     sync.Mutex
	delay  time.Duration
	target Fabric
	errs   []error
	tail   chan struct{} // closed when all work queued so far is done
	closed chan struct{} // closed when no more work is to be done; nil until the first delay
}

func (q *fabricQueue) setDelay(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.delay = d
	if q.closed == nil {
		q.closed = make(chan struct{})
	}
}

// close gives up the work that a delay holds back.
func (q *fabricQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.closed)
}

func (q *fabricQueue) note(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.errs = append(q.errs, err)
}

func (q *fabricQueue) set(f Fabric) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.target = f
}

// do carries the steps out, all or none, after what is queued already. With a delay it returns nil at once.
func (q *fabricQueue) do(steps ...step) error {
	q.mu.Lock()
	target, before, delay, done := q.target, q.tail, q.delay, make(chan struct{})
	if target != nil && delay > 0 {
		q.tail = done
	}
	q.mu.Unlock()
	if target == nil {
		return nil
	}
	if delay == 0 {
		if before != nil {
			<-before
		}
		return carryOut(target, steps)
	}
	timer := time.NewTimer(delay)
	go func() { // ends after delay and the work queued before it, or with close; wait waits for it
		defer close(done)
		defer timer.Stop()
		if before != nil {
			<-before
		}
		select {
		case <-q.closed:
			return
		case <-timer.C:
		}
		if err := carryOut(target, steps); err != nil {
			q.note(err)
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
