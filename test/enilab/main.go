// Command enilab brings a VPC up on this machine, in network namespaces, and lets people and scripts work in it: the
// lab of package lab, held by a process in the background. docs/lab.md is its manual.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

const usage = `enilab: a VPC in network namespaces

  enilab up [-cloud aws|tencent] [-nodes 2] [-enis 3] [-type m5.large] [-ipv6] [-delay 0s] [-bin DIR] [-conflist FILE]
  enilab show                                 what is there: ENIs, addresses, drops
  enilab exec HOST [--] COMMAND...            run a command in a node, in a container of it (node1/c1), in internet or vpc
  enilab env NODE                             print what exec sets there, as shell exports
  enilab netns NODE add|del NAME              make or remove a container's network namespace
  enilab pcap HOST [-i IF] [-c N] [-w FILE]   capture on all interfaces of a host, or on one
  enilab inject -action ACTION -code CODE     make calls of the cloud's API fail (enilab inject -h)
  enilab inject -rate 1 | -attach-delay 3s | -lag 5s | -fill SUBNET ... | -clear
                                              what the cloud is to be like
  enilab meddle remove ADDRESS | detach ENI | delete ENI | terminate NODE
                                              what others do to the account
  enilab list                                 the labs that are up
  enilab down
  enilab demo [-v] [-ipv6]                    containers on every ENI, each walk of a packet proven by captures
  enilab bench [-rounds short] [-write DIR]   what a container costs, beside other plugins; in the repository only

Several labs may be up: each command but list, demo and bench takes -name NAME, which is "default" where none is given.
`

// defaultName is the lab's where none is given.
const defaultName = "default"

func main() {
	err := run(os.Args[1:], os.Stdout)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "enilab:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	commands := map[string]func([]string, io.Writer) error{
		"up": up, "show": show, "exec": execIn, "env": printEnv, "netns": netns, "pcap": pcap, "inject": inject, "meddle": meddle,
		"list": list, "down": down, "demo": runDemo, "bench": runBench, holdCommand: hold,
	}
	if len(args) == 0 || strings.Contains(args[0], "help") || args[0] == "-h" {
		_, err := io.WriteString(stdout, usage)
		return err
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("there is no command %q; enilab help lists them", args[0])
	}
	return command(args[1:], stdout)
}

// flags are a command's, with -name among them.
func flags(command string) (set *flag.FlagSet, name *string) {
	set = flag.NewFlagSet("enilab "+command, flag.ContinueOnError)
	return set, set.String("name", defaultName, "the lab's `name`")
}

// operands parses flags that may come before, between and after the operands.
func operands(set *flag.FlagSet, args []string) ([]string, error) {
	var found []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, flag.ErrHelp // the flag package has told already
		}
		if set.NArg() == 0 {
			return found, nil
		}
		found, args = append(found, set.Arg(0)), set.Args()[1:]
	}
}

// noOperands parses flags where nothing else may be.
func noOperands(set *flag.FlagSet, args []string) error {
	found, err := operands(set, args)
	if err == nil && len(found) > 0 {
		return fmt.Errorf("%s takes no operand, and was given %q", set.Name(), found[0])
	}
	return err
}
