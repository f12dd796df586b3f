package bench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// started are the programs whose bare start is measured: the one that does nothing, ours, and the peers' that are linked alike.
func started() []string { return []string{idle, mainPlugin, "eni-snat", "ptp", "host-local"} }

// idle is the program that does nothing.
const idle = "nothing"

// start measures the start of a program: it says its version, so that all that is linked into it is initialised, and does nothing
// else. Beside the time it notes the page faults.
func (b *bench) start(ctx context.Context, s *stand, program string) error {
	return s.thread.Do(func() error {
		cmd := exec.CommandContext(ctx, filepath.Join("/opt/cni/bin", program))
		cmd.Env = []string{"CNI_COMMAND=VERSION"}
		cmd.Stdin = strings.NewReader(`{"cniVersion": "1.0.0"}`)
		began := time.Now()
		err := cmd.Run()
		took := time.Since(began)
		if err != nil {
			return fmt.Errorf("start %s: %w", program, err)
		}
		b.add(point{start, program, 0}, milliseconds(took))
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			b.add(point{faults, program, 0}, float64(usage.Minflt))
		}
		return nil
	})
}

// touch measures what a page costs that a process touches first: of a thousand, each.
func (b *bench) touch() error {
	const pages = 1000
	size := unix.Getpagesize()
	memory, err := unix.Mmap(-1, 0, pages*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map %d pages: %w", pages, err)
	}
	began := time.Now()
	for at := 0; at < len(memory); at += size {
		memory[at] = 1
	}
	b.add(point{pageFault, "", 0}, float64(time.Since(began))/float64(time.Microsecond)/pages)
	return unix.Munmap(memory)
}

// startTable is what the programs cost before they do anything.
func (r *Results) startTable() *table {
	t := &table{
		title: "Starts",
		note: fmt.Sprintf("Of a program that says its version (`CNI_COMMAND=VERSION`), %d rounds: what is linked into it is initialised, and nothing is done. A page that a "+
			"process touches first costs %s µs on this machine; a tenth of a microsecond to one are usual.", r.Rounds, figure(r.median(point{pageFault, "", 0}))),
		head: []string{"program", "ms (quartiles)", "÷ nothing", "page faults"},
	}
	for _, program := range started() {
		p := point{start, program, 0}
		t.row(program, spread(r.record[p]), times(r.ratio(p, point{start, idle, 0})), figure(r.median(point{faults, program, 0})))
	}
	return t
}

// profileTable says where the time of a warm ADD and DEL goes.
func (r *Results) profileTable() *table {
	t := &table{
		title: "Where the time goes",
		note: fmt.Sprintf("Of a warm ADD and DEL of enichain, with %d containers on the node: ms, and the share. What the first three rows have is the kernel's, or is "+
			"spent before a plugin's first line: no change of what the plugins do takes it away. What is below that a DEL does in part while the kernel deletes the link, so that its rows may add up to more than all. The pages are those beyond the start's (%s in an ADD, %s in a DEL), at what one costs on this machine: memory and code that a process needs for the first time.",
			r.Few, figure(r.pages("ADD")), figure(r.pages("DEL"))),
		head: []string{"part", "ADD", "of it", "DEL", "of it"},
	}
	bare := bareName(r.delStarts)
	linked := r.median(point{start, mainPlugin, 0}) - r.median(point{start, idle, 0})
	perPage := r.median(point{pageFault, "", 0}) / 1000
	totals := [2]float64{r.median(point{add, ours, 0}), r.median(point{del, ours, 0})}
	rest := totals
	row := func(part string, of [2]float64) {
		cells := []string{part}
		for i, ms := range of {
			cells = append(cells, figure(ms), fmt.Sprintf("%.0f %%", 100*ms/totals[i]))
		}
		t.row(cells...)
	}
	for _, part := range []struct {
		name string
		of   [2]float64
	}{
		{bare, [2]float64{r.median(point{add, bare, 0}), r.median(point{del, bare, 0})}},
		{"the start of eni-ptp beyond that: what is linked", [2]float64{linked, linked}},
		{"the link in the kernel, made or deleted", [2]float64{r.median(point{add, linkCreation, 0}), r.median(point{del, linkDeletion, 0})}},
		{"pages that are touched first", [2]float64{r.pages("ADD") * perPage, r.pages("DEL") * perPage}},
	} {
		row(part.name, part.of)
		for i := range rest {
			rest[i] -= part.of[i]
		}
	}
	row("the rest: configuration, store, rules, marks, the result", rest)
	row("all", totals)
	return t
}

// mainPlugin is the program that a warm call of ours consists of.
const mainPlugin = "eni-ptp"

// pages are those that a verb of ours touches first, beyond those of its start.
func (r *Results) pages(verb string) float64 {
	return r.median(point{touched, ours + " " + verb, 0}) - r.median(point{faults, mainPlugin, 0})
}
