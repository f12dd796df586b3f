package lab

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// services are the cloud's API and metadata service.
type services struct {
	stops []func() error // of each
	gate  sync.RWMutex   // held by each call that is being answered
	shut  bool           // none is answered any more
}

// serve makes the cloud's API and metadata service listen in the router. Nodes are told apart by their addresses, which
// the guard vouches for.
func (l *Lab) serve(ctx context.Context) error {
	metadata, api := l.provider.services(l.VPC)
	for _, s := range []struct {
		at      netip.AddrPort
		handler http.Handler
	}{{l.provider.metadata, metadata}, {apiAddr(), api}} {
		listener, err := l.Router.Listen(ctx, s.at)
		if err != nil {
			return err
		}
		l.services.serve(listener, s.handler)
	}
	return nil
}

// serve answers at a listener until close.
func (s *services) serve(at net.Listener, handler http.Handler) {
	calls, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler: s.guarded(handler), BaseContext: func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0), // callers see errors
	}
	s.stops = append(s.stops, func() error { defer cancel(); return server.Close() })
	go func() { _ = server.Serve(at) }() // ends with close
}

// guarded answers until the services are shut.
func (s *services) guarded(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.gate.RLock()
		defer s.gate.RUnlock()
		if s.shut {
			http.Error(w, "the lab is down", http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// close ends the calls' connections and contexts. A process that outlives its caller, as a refill does, may be in one.
func (s *services) close() error {
	var errs []error
	for _, stop := range s.stops {
		errs = append(errs, stop())
	}
	s.stops = nil
	return errors.Join(errs...)
}

// await waits for the calls that are being answered, and lets no more be.
func (s *services) await() {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.shut = true
}
