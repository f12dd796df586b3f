package bench

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	names "github.com/enichain/enichain/core/layout"
	cni "github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
)

// bin has what is measured.
var bin *cni.Binaries

func TestMain(m *testing.M) {
	var err error
	if bin, err = build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if err := bin.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// A run measures all that the tables have a place for. How long anything took is not looked at.
func TestRun(t *testing.T) {
	plan := Plan{
		Rounds: 2, ScaleRounds: 1, CrowdRounds: 1, PacketRounds: 2, Few: 1, Containers: []int{1}, Peers: 1, Crowds: []int{2}, ColdNodes: 1, Pings: 20,
		Load: 10 * time.Millisecond,
	}
	var told strings.Builder
	r, err := run(t.Context(), plan, bin, &told)
	if err != nil {
		t.Fatalf("%v, after:\n%s", err, told.String())
	}
	for _, table := range r.tables() {
		for _, row := range table.rows {
			if i := slices.Index(row, absent); i >= 0 && len(r.carriers()) == 2*len(r.layouts) && !strings.HasPrefix(table.title, "Memory") {
				t.Errorf("%s, %s: %q was not measured", table.title, row[0], table.head[i])
			}
		}
	}
	for p, s := range r.record {
		rounds := map[what]int{addAmong: plan.ScaleRounds, delAmong: plan.ScaleRounds, addsAtOnce: plan.CrowdRounds, cold: 1, afterCold: 1, touched: 1}
		if len(s) != cmp.Or(rounds[p.what], 2) || slices.Min(s) <= 0 {
			t.Errorf("%+v was measured as %v", p, s)
		}
	}
	if r.left != nil {
		t.Error(r.left)
	}
	for _, name := range append(ownPlugins(), "ptp", "bridge", "host-local", "portmap", "nothing", "iptables") {
		if i := slices.IndexFunc(r.memory, func(f footprint) bool { return f.program == name && f.peak > 1000 }); i < 0 {
			t.Errorf("nothing is known of %s's memory: %v", name, r.memory)
		}
	}
}

// counts are what a program does in a call: how often it is started, sends to netlink, the messages in them, files opened for
// writing, and paths from the root to settings of a namespace.
type counts struct{ processes, sends, messages, files, ways int }

// warm is a form of our chain, and what its warm calls do, by verb and program. It may be lowered.
type warm struct {
	layout layout
	snat   translation
	most   map[string]map[string]counts
}

func warms() []warm {
	of := func(l layout, add, check, del counts) warm {
		return warm{l, within, map[string]map[string]counts{
			"ADD":   {"eni-ptp": add},
			"CHECK": {"eni-ptp": check, "eni-ipam": {1, 0, 0, 0, 0}, "eni-snat": {1, 17, 17, 0, 0}},
			"DEL":   {"eni-ptp": del},
		}}
	}
	each := layouts()
	all := []warm{
		of(each[0], counts{1, 18, 28, 4, 1}, counts{1, 26, 26, 0, 1}, counts{1, 9, 13, 2, 0}),
		of(each[1], counts{1, 20, 29, 4, 1}, counts{1, 27, 27, 0, 1}, counts{1, 8, 11, 2, 0}),
		of(each[2], counts{1, 24, 36, 5, 1}, counts{1, 29, 29, 0, 1}, counts{1, 8, 11, 2, 0}),
		of(each[0], counts{1, 16, 25, 4, 1}, counts{1, 26, 26, 0, 1}, counts{1, 9, 13, 2, 0}),
	}
	all[2].most["ADD"]["eni-snat"] = counts{1, 18, 19, 1, 0} // which sees that the map has a new address
	all[3].snat = behind
	all[3].most["ADD"]["eni-snat"], all[3].most["DEL"]["eni-snat"] = counts{1, 4, 5, 0, 0}, counts{1, 0, 0, 0, 0}
	return all
}

// A warm call does no more than it did: processes, netlink messages and files do not drift, as its time would.
func TestWarmCallsDoNoMore(t *testing.T) {
	for _, w := range warms() {
		name := w.layout.name
		if w.snat == behind {
			name += ", eni-snat in the list"
		}
		t.Run(name, func(t *testing.T) { warmCallsDoNoMore(t, w) })
	}
}

func warmCallsDoNoMore(t *testing.T, w warm) {
	t.Helper()
	l := labtest.Up(t, lab.Options{Nodes: 1, ENIs: 2})
	s, err := newStand(l.Nodes[0], bin, chain{name: ours, conflist: ourConflist(w.layout, w.snat), ours: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if err := s.fill(t.Context(), 2, 1); err != nil {
		t.Fatal(err)
	}
	veth := names.Identify("pod", measured, cni.IfName).Veth
	for _, v := range s.verbs(t.Context()) {
		efforts, err := s.runtime.Efforts(v.call)
		if err != nil {
			t.Fatal(err)
		}
		for program := range w.most[v.name] {
			if efforts[program].Processes == 0 {
				t.Errorf("%s: %s is not started", v.name, program)
			}
		}
		for _, program := range slices.Sorted(maps.Keys(efforts)) {
			e, most := efforts[program], w.most[v.name][program]
			got := counts{e.Processes, e.Sends, e.Messages, len(e.Files), e.Ways}
			files := strings.ReplaceAll(strings.Join(e.Files, " "), veth, "VETH")
			if got.processes > most.processes || got.sends > most.sends || got.messages > most.messages || got.files > most.files ||
				got.ways > most.ways {
				t.Errorf("%s: %s does %+v, and did %+v; it writes %s", v.name, program, got, most, files)
			} else if got != most {
				t.Logf("%s: %s does only %+v: lower %+v", v.name, program, got, most)
			}
		}
	}
}
