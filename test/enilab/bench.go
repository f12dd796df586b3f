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

	"github.com/enichain/enichain/test/bench"
)

// runBench measures enichain beside its peers, in labs of its own that have no name and are gone at the end.
func runBench(args []string, stdout io.Writer) error {
	set := flag.NewFlagSet("enilab bench", flag.ContinueOnError)
	rounds := set.String("rounds", "full", "full, or short for a look at a change")
	folder := set.String("write", "", "write benchmarks.md and benchmarks.svg into a `folder`")
	if err := noOperands(set, args); err != nil {
		return err
	}
	plans := map[string]func() bench.Plan{"full": bench.Full, "short": bench.Short}
	plan, ok := plans[*rounds]
	if !ok {
		return fmt.Errorf("-rounds is %q: full or short is wanted", *rounds)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := bench.Run(ctx, plan(), stdout)
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; the bench's labs are down")
	case err != nil:
		return err
	}
	if err := results.Print(stdout); err != nil || *folder == "" {
		return err
	}
	return results.Write(*folder)
}
