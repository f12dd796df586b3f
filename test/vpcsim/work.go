package vpcsim

import "sync"

// work counts goroutines. Unlike a sync.WaitGroup it may be waited for while others begin.
type work struct {
	mu      sync.Mutex
	running int
	waiting []chan struct{} // closed when nothing runs
}

// Go runs f in a goroutine.
func (w *work) Go(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running++
	go func() { // ends with f; Wait waits for it
		defer w.done()
		f()
	}()
}

func (w *work) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running--; w.running > 0 {
		return
	}
	for _, c := range w.waiting {
		close(c)
	}
	w.waiting = nil
}

// Wait returns when nothing runs.
func (w *work) Wait() {
	w.mu.Lock()
	if w.running == 0 {
		w.mu.Unlock()
		return
	}
	c := make(chan struct{})
	w.waiting = append(w.waiting, c)
	w.mu.Unlock()
	<-c
}
