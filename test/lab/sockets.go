package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// DialContext connects from inside the host, to an address that needs no resolver. It has the form of
// http.Transport.DialContext, since a transport dials on goroutines of its own.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	return conn, nil
}

// Listen opens a TCP socket in the host.
func (h *Host) Listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	err := h.Do(func() (err error) {
		var lc net.ListenConfig
		listener, err = lc.Listen(ctx, "tcp4", at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: listen at %s: %w", h.Name, at, err)
	}
	return listener, nil
}
