package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// maxDatagram is the largest UDP payload.
const maxDatagram = 1<<16 - 1

// ServeUDP listens at an address of the calling thread's namespace; port 0 takes a free one. A datagram is answered with
// the caller's address, a newline and the datagram.
func ServeUDP(ctx context.Context, at netip.AddrPort) (*Server, error) {
	var lc net.ListenConfig
	c, err := onceFree(func() (net.PacketConn, error) { return lc.ListenPacket(ctx, network("udp", at.Addr()), at.String()) })
	if err != nil {
		return nil, fmt.Errorf("serve UDP at %s: %w", at, err)
	}
	s := &Server{close: c.Close, addr: addrPort(c.LocalAddr())}
	s.tasks.Go(func() { s.answerDatagrams(c) })
	return s, nil
}

func (s *Server) answerDatagrams(c net.PacketConn) {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return // Close was called
		}
		peer := addrPort(from)
		s.mu.Lock()
		s.peers = append(s.peers, peer)
		s.mu.Unlock()
		answer := append([]byte(peer.String()+"\n"), b[:n]...)
		_, _ = c.WriteTo(answer, from) // the caller asks again where no answer comes
	}
}

// CallUDP sends payload to a server made by ServeUDP until it comes back or ctx ends. An ICMP error ends it at once,
// but for "fragmentation needed".
func CallUDP(ctx context.Context, to netip.AddrPort, from From, payload []byte) (Seen, error) {
	d := net.Dialer{Control: from.control}
	if from.Address.IsValid() {
		d.LocalAddr = &net.UDPAddr{IP: from.Address.AsSlice()}
	}
	c, err := d.DialContext(ctx, network("udp", to.Addr()), to.String())
	if err != nil {
		return Seen{}, fmt.Errorf("call UDP %s: %w", to, err)
	}
	defer func() { _ = c.Close() }() // what matters has been read
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	for sent := 1; ; sent++ {
		peer, err := ask(c, payload)
		switch {
		case err == nil:
			return Seen{Peer: peer, Local: addrPort(c.LocalAddr())}, nil
		case ctx.Err() != nil:
			return Seen{}, fmt.Errorf("call UDP %s: no answer to %d datagrams: %w", to, sent, ctx.Err())
		case errors.Is(err, syscall.EMSGSIZE): // a router told the path's MTU; the kernel cuts the next one to it
		case !isTimeout(err):
			return Seen{}, fmt.Errorf("call UDP %s: %w", to, err)
		}
	}
}

func ask(c net.Conn, payload []byte) (netip.AddrPort, error) {
	if err := c.SetDeadline(time.Now().Add(resend)); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := c.Write(payload); err != nil {
		return netip.AddrPort{}, err
	}
	b := make([]byte, maxDatagram)
	n, err := c.Read(b)
	if err != nil {
		return netip.AddrPort{}, err
	}
	line, rest, ok := bytes.Cut(b[:n], []byte("\n"))
	if !ok || !bytes.Equal(rest, payload) {
		return netip.AddrPort{}, fmt.Errorf("got other bytes back than the %d sent", len(payload))
	}
	return netip.ParseAddrPort(string(line))
}
