package chain

import (
	"errors"
	"sync"
)

// Each calls fn for the numbers below n, so many at a time, and joins the errors.
func Each(n, atOnce int, fn func(i int) error) error {
	errs := make([]error, n)
	places := make(chan struct{}, atOnce)
	var calls sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		calls.Go(func() {
			errs[i] = fn(i)
			<-places
		})
	}
	calls.Wait()
	return errors.Join(errs...)
}
