package aws

import (
	"fmt"
	"net/http"
	"sync"
)

// refusals is a transport that keeps the last failure: the SDK repeats what failed, and speaks of nothing but the time when
// that is over meanwhile.
type refusals struct {
	transport http.RoundTripper

	mu   sync.Mutex
	text string
}

// RoundTrip implements http.RoundTripper.
func (r *refusals) RoundTrip(q *http.Request) (*http.Response, error) {
	answer, err := r.transport.RoundTrip(q)
	switch {
	case err == nil && answer.StatusCode >= http.StatusInternalServerError:
		r.keep(fmt.Sprintf("%s %s: the metadata service answers %d", q.Method, q.URL.Path, answer.StatusCode))
	case err == nil:
		r.keep("")
	case q.Context().Err() == nil:
		r.keep(fmt.Sprintf("%s %s: %v", q.Method, q.URL.Path, err))
	}
	return answer, err
}

func (r *refusals) keep(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = text
}

// last is what went wrong last, unless it went well since.
func (r *refusals) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text
}
