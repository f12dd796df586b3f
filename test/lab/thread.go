package lab

import "runtime"

// Thread is an OS thread that stays in a host, for callers that measure: what Do runs there does not pay for the way in, as
// with Host.Do.
type Thread struct{ jobs chan func() }

// Thread returns a thread in the host, to be ended by Close.
func (h *Host) Thread() (*Thread, error) {
	t := &Thread{jobs: make(chan func())}
	entered := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		err := h.Enter()
		entered <- err
		if err != nil {
			return
		}
		for job := range t.jobs {
			job()
		}
	}()
	if err := <-entered; err != nil {
		return nil, err
	}
	return t, nil
}

// Do runs fn on the thread, one at a time. fn must return: it may not end its goroutine.
func (t *Thread) Do(fn func() error) error {
	done := make(chan error, 1)
	t.jobs <- func() { done <- fn() }
	return <-done
}

// Close ends the thread, once what it runs has returned. Do must not be called again.
func (t *Thread) Close() { close(t.jobs) }
