package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/enichain/enichain/test/probe"
)

// pcap captures in a host until it is interrupted or has what it was asked for.
func pcap(args []string, stdout io.Writer) error {
	set, name := flags("pcap")
	link := set.String("i", "", "only this `interface`")
	count := set.Int("c", 0, "end after so many packets")
	file := set.String("w", "", "write a pcap `file`, not lines; - is the standard output")
	found, err := operands(set, args)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return errors.New("pcap needs a host: enilab pcap node1 -i eth1")
	}
	v, err := viewByName(*name)
	if err != nil {
		return err
	}
	host, _, err := v.open(found[0])
	if err != nil {
		return err
	}
	sink, closeSink, err := newSink(*file, stdout)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	watch := &watcher{link: *link, left: *count, sink: sink, enough: enough}
	var capture *probe.Capture
	if err := host.Do(func() (err error) {
		capture, err = probe.StartCapture(watch.see, 0)
		return err
	}); err != nil {
		return err
	}
	if *file != "-" {
		fmt.Fprintf(os.Stderr, "capturing in %s\n", found[0])
	}
	<-ctx.Done()
	_, err = capture.Stop()
	return errors.Join(err, watch.err, closeSink())
}

// newSink returns what writes a packet: a line, or a record of a pcap file.
func newSink(file string, stdout io.Writer) (sink func(probe.Packet) error, done func() error, err error) {
	done = func() error { return nil }
	if file == "" {
		return func(p probe.Packet) error {
			_, err := fmt.Fprintf(stdout, "%s %s\n", p.Time.Format("15:04:05.000000"), p)
			return err
		}, done, nil
	}
	if file != "-" {
		f, err := os.Create(file)
		if err != nil {
			return nil, nil, err
		}
		stdout, done = f, f.Close
	}
	w, err := probe.NewPcapWriter(stdout)
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return w.Write, done, nil
}

// watcher hands the packets that were asked for on, and keeps none. It is the capture's reader that calls it.
type watcher struct {
	link   string
	left   int // 0 is no limit
	sink   func(probe.Packet) error
	enough func()
	ended  bool
	err    error // read after the capture's end
}

func (w *watcher) see(p probe.Packet) bool {
	if w.ended || w.link != "" && p.Interface != w.link {
		return false
	}
	if w.err = w.sink(p); w.err != nil || w.left == 1 {
		w.ended = true
		w.enough()
	}
	w.left--
	return false
}
