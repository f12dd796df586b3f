// Command echo is what the pods of the tests run: a TCP server that names its caller, and its client.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/probe"
)

// callTimeout bounds a call; who waits for a Service to work calls again.
const callTimeout = 5 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "serve":
		return serve(args[1:])
	case len(args) == 2 && args[0] == "call":
		return call(args[1])
	}
	return fmt.Errorf("usage: echo serve ADDRESS:PORT… | echo call ADDRESS:PORT")
}

// serve answers until it is told to end. The first process of a container gets no signal that it does not ask for.
func serve(addresses []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	for _, text := range addresses {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			return err
		}
		s, err := probe.ServeTCP(ctx, at)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }() // who still calls is of no interest
	}
	<-ctx.Done()
	return nil
}

// call prints the address that the server sees the caller by.
func call(to string) error {
	address, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	seen, err := probe.CallTCP(ctx, address, probe.From{}, []byte("hello"))
	if err != nil {
		return err
	}
	fmt.Println(seen.Peer.Addr())
	return nil
}
