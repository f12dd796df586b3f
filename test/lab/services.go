package lab

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/netip"
	"time"
)

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
		server := &http.Server{
			Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0), // callers see errors
		}
		l.servers = append(l.servers, server)
		go func() { _ = server.Serve(listener) }() // ends at Down
	}
	return nil
}
