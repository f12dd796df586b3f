package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	cni "github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// effort is what a verb of a chain takes, in things that do not drift.
type effort struct {
	chain, verb string
	cni.Effort
}

// footprint is what a program takes of memory, at its peak and in any of the verbs, and of disk.
type footprint struct {
	program string
	peak    int // KiB; 0 where it did not run
	size    int // octets; 0 where it is not one of those that were built
}

// footprints counts what each chain does, and looks at how much memory the programs take, also the one that does nothing, on a
// node without a chain.
func (b *bench) footprints(ctx context.Context, node *lab.Node, stands []*stand) error {
	b.say("count processes and netlink messages, and look at the memory")
	peaks := map[string]int{}
	for _, s := range stands {
		for _, v := range s.verbs(ctx) {
			all, err := s.runtime.Efforts(v.call)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.name, v.name, err)
			}
			total := effort{chain: s.name, verb: v.name}
			for _, e := range all {
				total.Add(e)
			}
			b.efforts = append(b.efforts, total)
			if s.name == ours && v.name == "DEL" {
				b.delStarts = total.Processes
			}
		}
		if err := b.peaks(ctx, s, peaks); err != nil {
			return fmt.Errorf("%s: look at the memory: %w", s.name, err)
		}
	}
	idle, err := newStand(node, b.bin, bare(1))
	if err != nil {
		return err
	}
	defer idle.close()
	if err := b.peaks(ctx, idle, peaks); err != nil {
		return fmt.Errorf("%s: look at the memory: %w", idle.name, err)
	}
	return b.weigh(peaks)
}

// peaks notes the peak memory of each program that runs in the course of a container's life, in KiB, and the pages that they touched
// first in each verb.
func (b *bench) peaks(ctx context.Context, s *stand, peaks map[string]int) error {
	const log = "/run/peak.log"
	s.runtime.Wrap("/opt/cni/bin/peak", log)
	defer s.runtime.Wrap()
	for _, v := range s.verbs(ctx) {
		if err := v.call(); err != nil {
			return err
		}
		var text []byte
		if err := s.node.Do(func() (err error) {
			text, err = os.ReadFile(log)
			return errors.Join(err, os.Remove(log))
		}); err != nil {
			return err
		}
		faults := 0
		for pid, p := range lastOf(string(text)) {
			if p.name == "" {
				return fmt.Errorf("process %d in %q has no name", pid, text)
			}
			peaks[p.name] = max(peaks[p.name], p.peak)
			faults += p.faults
		}
		b.add(point{touched, s.name + " " + v.name, 0}, float64(faults))
	}
	return nil
}

// ended is what a process had when it ended, by command peak.
type ended struct {
	name         string
	peak, faults int
}

// lastOf returns what command peak said last of each process.
func lastOf(text string) map[int]ended {
	last := map[int]ended{}
	for line := range strings.Lines(text) {
		var pid int
		var e ended
		if _, err := fmt.Sscan(line, &e.name, &pid, &e.peak, &e.faults); err != nil {
			e = ended{}
		}
		last[pid] = e
	}
	return last
}

// weigh lists the programs that were built, and the others that they ran.
func (b *bench) weigh(peaks map[string]int) error {
	files, err := os.ReadDir(b.bin.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return err
		}
		name := f.Name()
		comm := name[:min(len(name), 15)]
		if name != "peak" {
			b.memory = append(b.memory, footprint{name, peaks[comm], int(info.Size())})
		}
		delete(peaks, comm)
	}
	for _, name := range slices.Sorted(maps.Keys(peaks)) {
		b.memory = append(b.memory, footprint{name, peaks[name], 0})
	}
	return nil
}
