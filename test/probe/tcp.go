package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Server is an echo server that tells each caller the address it sees it by.
type Server struct {
	close func() error
	addr  netip.AddrPort
	tasks sync.WaitGroup

	mu    sync.Mutex
	peers []netip.AddrPort
	conns map[net.Conn]struct{}
}

// Seen is what a call found out.
type Seen struct {
	Peer  netip.AddrPort // the caller, as the server saw it
	Local netip.AddrPort // the caller, as it sees itself
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Peers returns the callers so far, as the server saw them: one entry a connection or datagram.
func (s *Server) Peers() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.peers)
}

// Close ends the server and its connections.
func (s *Server) Close() error {
	err := s.close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // ends its goroutine; what was not sent is of no interest
	}
	s.mu.Unlock()
	s.tasks.Wait()
	return err
}

// ServeTCP listens at an address of the calling thread's namespace; port 0 takes a free one. A connection is answered
// with the caller's address and a newline, and then with all that it sends.
func ServeTCP(ctx context.Context, at netip.AddrPort) (*Server, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := onceFree(func() (net.Listener, error) { return lc.Listen(ctx, network("tcp", at.Addr()), at.String()) })
	if err != nil {
		return nil, fmt.Errorf("serve TCP at %s: %w", at, err)
	}
	s := &Server{close: l.Close, addr: addrPort(l.Addr()), conns: map[net.Conn]struct{}{}}
	s.tasks.Go(func() { s.accept(l) })
	return s, nil
}

// onceFree listens again where another listens there, for a second at the most: a process that is being started while a
// server is closed has a copy of its socket up to the exec, of which nothing tells the end.
func onceFree[L any](listen func() (L, error)) (L, error) {
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		l, err := listen()
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			return l, err
		}
	}
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // Close was called
		}
		s.mu.Lock()
		s.peers = append(s.peers, addrPort(c.RemoteAddr()))
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.tasks.Go(func() { s.answer(c) })
	}
}

// answer ends with the connection. The caller notices where an answer did not come; nobody else need.
func (s *Server) answer(c net.Conn) {
	if _, err := fmt.Fprintln(c, addrPort(c.RemoteAddr())); err == nil {
		_, _ = io.Copy(c, c)
	}
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// CallTCP connects to a server made by ServeTCP, sends payload and checks that it comes back.
func CallTCP(ctx context.Context, to netip.AddrPort, from From, payload []byte) (Seen, error) {
	d := net.Dialer{Control: from.control}
	if from.Address.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: from.Address.AsSlice()}
	}
	c, err := d.DialContext(ctx, network("tcp", to.Addr()), to.String())
	if err != nil {
		return Seen{}, fmt.Errorf("call TCP %s: %w", to, err)
	}
	defer func() { _ = c.Close() }() // what matters has been read
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	seen, err := exchange(c, payload)
	if err != nil {
		return Seen{}, fmt.Errorf("call TCP %s: connected, then %w", to, err)
	}
	return seen, nil
}

func exchange(c net.Conn, payload []byte) (Seen, error) {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return Seen{}, fmt.Errorf("read the server's line: %w", err)
	}
	peer, err := netip.ParseAddrPort(strings.TrimSpace(line))
	if err != nil {
		return Seen{}, fmt.Errorf("read the server's line: %w", err)
	}
	written := make(chan error, 1)
	go func() { _, err := c.Write(payload); written <- err }() // ends with the connection at the latest
	back := make([]byte, len(payload))
	if _, err := io.ReadFull(r, back); err != nil {
		return Seen{}, fmt.Errorf("read %d bytes back: %w", len(payload), err)
	}
	if err := <-written; err != nil {
		return Seen{}, fmt.Errorf("send %d bytes: %w", len(payload), err)
	}
	if !bytes.Equal(back, payload) {
		return Seen{}, fmt.Errorf("got other bytes back than the %d sent", len(payload))
	}
	return Seen{Peer: peer, Local: addrPort(c.LocalAddr())}, nil
}

// addrPort converts the addresses that the net package returns for IPv4 sockets.
func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
