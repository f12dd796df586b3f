// Command enictl is the operator's tool of enichain: it shows what a node's pool of addresses holds, and brings store,
// cloud and kernel together again where they have drifted apart. No container needs it (docs/enictl.md).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/about"
)

// The exit statuses beside 0.
const (
	statusFailed = 1 // it did not work, or there is something to see to
	statusUsage  = 2
)

var (
	// errUsage says that the command line is wrong.
	errUsage = errors.New("usage")
	// errFindings ends a command that has printed what is wrong.
	errFindings = errors.New("there is something to see to")
)

// tool is one run of enictl.
type tool struct {
	ctx      context.Context // ends with a signal
	out      io.Writer
	progress io.Writer // a terminal, or nowhere
	where    place
}

// verb is one of enictl's commands.
type verb struct {
	name, args, about string
	run               func(t *tool, args []string) error
}

func verbs() []verb {
	return []verb{
		{"show", "[-o json]", "the node, its ENIs, its addresses and who has them", (*tool).show},
		{"warm", "N", "grow the pool until N addresses are free", (*tool).warm},
		{"limits", "", "what the instance type takes", (*tool).limits},
		{"maxpods", "[-host N] [-uncapped]", "the number for kubelet's maxPods", (*tool).maxPods},
		{"metrics", "[-o FILE]", "the pool for Prometheus", (*tool).metrics},
		{"doctor", "", "what on this node stands in the way", (*tool).doctor},
		{"lint", "[CONFLIST]", "what is wrong with a conflist, unknown fields too", (*tool).lint},
		{"reconcile", "[-dry-run] [-watch 10s]", "bring store, cloud and kernel together", (*tool).reconcile},
		{"repair", "[-dry-run]", "put the kernel's rules and routes right from the store", (*tool).repair},
		{"drain", "[-undo] ENI", "empty an ENI, and delete it when nothing of it is in use", (*tool).drain},
		{"sweep", "[-age 5m] [-yes]", "find ENIs that were left over in the account, and delete them", (*tool).sweep},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	t := &tool{ctx: ctx, out: os.Stdout, progress: io.Discard, where: placeOf(os.Getenv)}
	if isTerminal(os.Stderr) {
		t.progress = os.Stderr
	}
	err := t.run(os.Args[1:])
	stop()
	os.Exit(report(os.Stderr, err))
}

// report tells a person what went wrong, and returns the exit status.
func report(w io.Writer, err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFindings):
		return statusFailed
	}
	_, _ = fmt.Fprintln(w, "enictl:", err)
	if errors.Is(err, errUsage) {
		return statusUsage
	}
	return statusFailed
}

// run reads the command line and runs its verb.
func (t *tool) run(args []string) error {
	flags := flag.NewFlagSet("enictl", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&t.where.conflist, "conflist", "", "the node's conflist; the first with eni-ipam in NETCONFPATH where empty")
	flags.StringVar(&t.where.network, "network", "", "the name of the network, where there are several")
	version := flags.Bool("version", false, "print the version")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp), err == nil && flags.Arg(0) == "help":
		t.usage(flags)
		return nil
	case err != nil:
		return usageError("%v", err)
	case *version:
		return t.printf("enictl of enichain %s\n", about.Version)
	case flags.NArg() == 0:
		return usageError("a command is missing: enictl help lists them")
	}
	for _, v := range verbs() {
		if v.name == flags.Arg(0) {
			return v.run(t, flags.Args()[1:])
		}
	}
	return usageError("there is no command %q: enictl help lists them", flags.Arg(0))
}

func (t *tool) usage(flags *flag.FlagSet) {
	_ = t.printf("usage: enictl [-conflist FILE | -network NAME] COMMAND\n\ncommands:\n")
	for _, v := range verbs() {
		_ = t.printf("  %-34s %s\n", strings.TrimSpace(v.name+" "+v.args), v.about)
	}
	_ = t.printf("\noptions:\n")
	flags.SetOutput(t.out)
	flags.PrintDefaults()
}

// run is one run of a verb that is about a network.
type run struct {
	ctx  context.Context // ends when the time is over that an ADD has, too
	net  *network
	rest []string // arguments
}

// begin reads a verb's command line and its network's configuration. What it returns second ends the run.
func (t *tool) begin(flags *flag.FlagSet, args []string, least, most int) (*run, func(), error) {
	rest, err := t.parse(flags, args, least, most)
	if err != nil {
		return nil, nil, err
	}
	net, err := findNetwork(t.where)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := t.timeout(net)
	return &run{ctx, net, rest}, cancel, nil
}

// parse reads a verb's options and its arguments, of which it takes from least to most. Options may stand behind
// arguments.
func (t *tool) parse(flags *flag.FlagSet, args []string, least, most int) ([]string, error) {
	flags.SetOutput(io.Discard)
	var rest []string
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			_ = t.printf("options of enictl %s:\n", flags.Name())
			flags.SetOutput(t.out)
			flags.PrintDefaults()
			return nil, err
		}
		if err != nil {
			return nil, usageError("%s: %v", flags.Name(), err)
		}
		if flags.NArg() == 0 {
			break
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
	if len(rest) < least || len(rest) > most {
		return nil, usageError("%s takes %s, not %d", flags.Name(), arguments(least, most), len(rest))
	}
	return rest, nil
}

func arguments(least, most int) string {
	switch {
	case most == 0:
		return "no argument"
	case least == most && most == 1:
		return "one argument"
	}
	return fmt.Sprintf("%d to %d arguments", least, most)
}

func usageError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// printf writes to standard output.
func (t *tool) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(t.out, format, args...)
	return err
}

// doing says on a terminal what is being done.
func (t *tool) doing(format string, args ...any) {
	_, _ = fmt.Fprintf(t.progress, format+" ...\n", args...)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
