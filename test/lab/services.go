package lab

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// serve makes the cloud's API and metadata service listen in the router. Nodes are told apart by their addresses, which
// the guard vouches for.
func (l *Lab) serve(ctx context.Context) error {
	for _, s := range []struct {
		at      netip.AddrPort
		handler http.Handler
	}{{metadataAddr(), l.VPC.IMDS()}, {ec2Addr(), l.VPC.EC2()}} {
		listener, err := l.Router.listen(ctx, s.at)
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

// listen opens a TCP socket in the host.
func (h *Host) listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	err := h.Do(func() (err error) {
		var lc net.ListenConfig
		listener, err = lc.Listen(ctx, "tcp4", at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", at, err)
	}
	return listener, nil
}
