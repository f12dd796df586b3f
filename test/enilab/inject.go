package main

import (
	"errors"
	"io"
	"net/http"

	"github.com/enichain/enichain/test/vpcsim"
)

// inject makes the cloud fail.
func inject(args []string, _ io.Writer) error {
	set, name := flags("inject")
	var fault vpcsim.Fault
	set.StringVar(&fault.Action, "action", "", "the EC2 `action`, or IMDS, or IMDSToken; any EC2 action where it is empty")
	set.StringVar(&fault.Code, "code", "", "EC2's error `code`, e.g. RequestLimitExceeded")
	set.IntVar(&fault.Status, "status", 0, "HTTP status")
	set.StringVar(&fault.Message, "message", "", "EC2's `message`")
	set.IntVar(&fault.Times, "times", 1, "how many calls; -1 is all until -clear")
	set.BoolVar(&fault.AfterEffect, "after", false, "do the work first; without -code and -status, the answer is lost then")
	set.DurationVar(&fault.Delay, "delay", 0, "hold the call for so long")
	clearAll := set.Bool("clear", false, "end all faults")
	stale := set.String("stale", "", "`on` freezes what the metadata service says, off lets it follow again")
	if err := noOperands(set, args); err != nil {
		return err
	}
	s, err := stateOf(*name)
	if err != nil {
		return err
	}
	switch {
	case *clearAll:
		return s.call(http.MethodDelete, "/faults", nil, nil)
	case *stale == "on" || *stale == "off":
		return s.call(http.MethodPost, "/metadata", *stale == "on", nil)
	case *stale != "":
		return errors.New("-stale is on or off")
	case fault.Code == "" && fault.Status == 0 && fault.Delay == 0 && !fault.AfterEffect:
		return errors.New("inject needs a -code, a -status, a -delay or -after")
	}
	return s.call(http.MethodPost, "/faults", fault, nil)
}
