package load

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Server answers Connects, and is where Flood's packets go: they reach a socket that nobody reads, and end there.
type Server struct {
	tcp, udp int
	at       netip.AddrPort
	ended    chan error
}

// Serve opens a server at an address, on a port that the kernel chooses. It is served by a thread of its own until Close.
func Serve(ip netip.Addr) (s *Server, err error) {
	s = &Server{tcp: -1, udp: -1, ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("serve at %s: %w", ip, err), s.closeSockets())
		}
	}()
	if s.tcp, err = bound(unix.SOCK_STREAM, netip.AddrPortFrom(ip, 0)); err != nil {
		return nil, err
	}
	name, err := unix.Getsockname(s.tcp)
	if err != nil {
		return nil, err
	}
	s.at = netip.AddrPortFrom(ip, uint16(name.(*unix.SockaddrInet4).Port))
	if s.udp, err = bound(unix.SOCK_DGRAM, s.at); err != nil {
		return nil, err
	}
	if err := errors.Join(unix.SetsockoptInt(s.udp, unix.SOL_SOCKET, unix.SO_RCVBUF, 1), unix.Listen(s.tcp, 128)); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.accept() }()
	return s, nil
}

// At is where the server is.
func (s *Server) At() netip.AddrPort { return s.at }

// accept answers one connection after the other, until the socket is shut down.
func (s *Server) accept() error {
	for {
		fd, _, err := unix.Accept4(s.tcp, unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED):
			continue
		case errors.Is(err, unix.EINVAL): // shut down
			return nil
		case err != nil:
			return fmt.Errorf("accept at %s: %w", s.at, err)
		}
		var b [1]byte
		// A connection that breaks is its client's error to tell.
		if again(func() error { _, err := unix.Read(fd, b[:]); return err }) == nil {
			_ = again(func() error { _, err := unix.Write(fd, b[:]); return err })
		}
		if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("close a connection of %s: %w", s.at, err)
		}
	}
}

// Close ends the server and returns what went wrong in it.
func (s *Server) Close() error {
	if err := unix.Shutdown(s.tcp, unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("shut down %s: %w", s.at, err)
	}
	return errors.Join(<-s.ended, s.closeSockets())
}

func (s *Server) closeSockets() error {
	var errs []error
	for _, fd := range []int{s.tcp, s.udp} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// bound opens a socket that is bound to an address.
func bound(kind int, at netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %s: %w", at, err), unix.Close(fd))
	}
	return fd, nil
}
