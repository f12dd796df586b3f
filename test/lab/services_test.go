package lab

import (
	"net"
	"net/http"
	"testing"
)

// What a call works on is taken down once it has ended, and calls that are held end with the services.
func TestNoCallOutlivesTheServices(t *testing.T) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s services
	within, ended := make(chan struct{}), false
	s.serve(at, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(within)
		<-r.Context().Done()
		ended = true
	}))
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.Addr().String(), nil)
		if err != nil {
			t.Error(err)
			return
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			t.Errorf("a call that was cut off was answered: %s", answer.Status)
			_ = answer.Body.Close()
		}
	}()
	<-within
	if err := s.close(); err != nil {
		t.Error(err)
	}
	s.await()
	if !ended {
		t.Error("a call goes on")
	}
	<-cut
}
