package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/enichain/enichain/test/demo"
	"github.com/enichain/enichain/test/vpcsim"
)

// errShown says that the demo has shown on its own that something is wrong.
var errShown = errors.New("not all was as it should be")

// runDemo shows what enichain does, in a lab of its own that has no name and is gone at the end.
func runDemo(args []string, stdout io.Writer) error {
	set := flag.NewFlagSet("enilab demo", flag.ContinueOnError)
	cloud := set.String("cloud", vpcsim.AWS, "the `cloud` to simulate: aws or tencent")
	verbose := set.Bool("v", false, "print the packets that are captured")
	bin := set.String("bin", builtFolder(), "the `folder` of the plugins and cnitool")
	conflist := set.String("conflist", "", "the nodes' network configuration, a `file`; the cloud's where the flag is not given")
	ipv6 := set.Bool("ipv6", false, "walk by IPv6 too")
	if err := noOperands(set, args); err != nil {
		return err
	}
	chooseConflist(set, *cloud, *ipv6, conflist)
	if *bin == "" || *conflist == "" {
		return errors.New("the plugins are not beside this program: run make demo, or give -bin and -conflist")
	}
	configuration, err := os.ReadFile(*conflist)
	if err != nil {
		return fmt.Errorf("read the network configuration: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := demo.Run(ctx, demo.Options{Cloud: *cloud, Bin: *bin, Conflist: configuration, IPv6: *ipv6, Verbose: *verbose}, stdout)
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; the demo's lab is down")
	case err == nil && !ok:
		return errShown
	}
	return err
}
