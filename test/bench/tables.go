package bench

import (
	"fmt"
	"slices"
)

// chainNames are the chains' in the tables' order.
func chainNames() []string {
	var names []string
	for _, c := range chains() {
		names = append(names, c.name)
	}
	return names
}

// tables are all that a run found, in figures.
func (r *Results) tables() []*table {
	all := []*table{
		r.callTable(),
		r.amongTable(addAmong, "ADD with so many containers on the node", "ms: the median (and quartiles), and the ratio to enichain's."),
		r.amongTable(delAmong, "DEL with so many containers on the node", "ms, as above."),
		r.crowdTable(), r.coldTable(), r.profileTable(), r.startTable(), r.effortTable(), r.memoryTable(),
	}
	for _, quantity := range []what{packets, roundTrip, connects} {
		for _, where := range []string{sameNode, otherNode} {
			all = append(all, r.packetTable(quantity, where))
		}
	}
	return append(all, r.barTable())
}

func (r *Results) callTable() *table {
	t := &table{
		title: "ADD, CHECK and DEL",
		note: fmt.Sprintf("ms, with %d containers on the node, %d rounds. The last column is the ratio of the medians, to enichain's.",
			r.Few, r.Rounds),
		head: []string{"chain", "verb", "p50", "quartiles", "p90", "p99", "÷ enichain"},
	}
	row := func(name string, verb what, label string) {
		s := r.record[point{verb, name, 0}]
		quartiles := figure(s.quantile(0.25)) + "–" + figure(s.quantile(0.75))
		t.row(name, label, figure(s.median()), quartiles, figure(s.quantile(0.9)), figure(s.quantile(0.99)),
			times(r.ratio(point{verb, name, 0}, point{verb, ours, 0})))
	}
	for _, v := range []struct {
		what  what
		label string
	}{{add, "ADD"}, {check, "CHECK"}, {del, "DEL"}} {
		for _, name := range chainNames() {
			row(name, v.what, v.label)
		}
		for _, processes := range slices.Compact([]int{1, r.delStarts}) {
			row(bareName(processes), v.what, v.label)
		}
	}
	row(linkCreation, add, "ADD")
	row(linkDeletion, del, "DEL")
	return t
}

func (r *Results) amongTable(what what, title, note string) *table {
	last := r.Containers[len(r.Containers)-1]
	t := &table{title: title, note: note, head: []string{"chain"}}
	counts := r.ats(what, ours)
	for _, count := range counts {
		t.head = append(t.head, fmt.Sprint(count))
	}
	t.head = append(t.head, fmt.Sprintf("%d ÷ %d", last, r.Few))
	for _, name := range chainNames() {
		if name == listed {
			continue
		}
		cells := []string{name}
		for _, count := range counts {
			cells = append(cells, r.beside(point{what, name, count}, point{what, ours, count}))
		}
		t.row(append(cells, times(r.ratio(point{what, name, last}, point{what, name, r.Few})))...)
	}
	return t
}

// beside is a median with its quartiles, and with its ratio to another where that is another.
func (r *Results) beside(p, base point) string {
	s := spread(r.record[p])
	if p != base && s != absent {
		s += " " + times(r.ratio(p, base))
	}
	return s
}

func (r *Results) crowdTable() *table {
	t := &table{
		title: "ADDs at once",
		note: fmt.Sprintf("ADDs per second until the last of so many is there, %d containers on the node, %d rounds; and the ratio to enichain's.",
			r.Few, r.CrowdRounds),
		head: []string{"chain"},
	}
	for _, size := range r.Crowds {
		t.head = append(t.head, fmt.Sprint(size))
	}
	for _, name := range chainNames() {
		cells := []string{name}
		for _, size := range r.Crowds {
			cells = append(cells, r.beside(point{addsAtOnce, name, size}, point{addsAtOnce, ours, size}))
		}
		t.row(cells...)
	}
	return t
}

func (r *Results) coldTable() *table {
	t := &table{
		title: "A cold pool",
		note: fmt.Sprintf("ms, %d nodes. The first ADD of a node prepares its ENIs, and asks the cloud: the lab's answers at once, where a real one takes "+
			"a second or two. The peers ask nobody.", r.ColdNodes),
		head: []string{"", "p50 (quartiles)", "÷ second"},
	}
	first, second := point{cold, ours, 0}, point{afterCold, ours, 0}
	t.row("first ADD", spread(r.record[first]), times(r.ratio(first, second)))
	t.row("second ADD", spread(r.record[second]), times(1))
	return t
}

func (r *Results) effortTable() *table {
	t := &table{
		title: "What a call does", note: "Counted with strace, with all that the plugins start; the pages are the processes' minor page faults. A test holds enichain's to all but the pages.",
		head: []string{"chain", "verb", "processes", "sends to netlink", "messages in them", "files opened for writing", "pages touched first"},
	}
	for _, e := range r.efforts {
		t.row(e.chain, e.verb, fmt.Sprint(e.Processes), fmt.Sprint(e.Sends), fmt.Sprint(e.Messages), fmt.Sprint(len(e.Files)),
			figure(r.median(point{touched, e.chain + " " + e.verb, 0})))
	}
	return t
}

const mega = 1_000_000 // octets

func (r *Results) memoryTable() *table {
	t := &table{
		title: "Memory and size",
		note: "The most that a process had resident in any of the calls (VmHWM at its end; pages of its file count), and the size of the " +
			"program, stripped. Programs without a peak do not run in a warm call.",
		head: []string{"program", "peak MB", "size MB"},
	}
	for _, f := range r.memory {
		peak, size := absent, absent
		if f.peak > 0 {
			peak = fmt.Sprintf("%.1f", float64(f.peak)*1024/mega)
		}
		if f.size > 0 {
			size = fmt.Sprintf("%.2f", float64(f.size)/mega)
		}
		t.row(f.program, peak, size)
	}
	return t
}

func (r *Results) packetTable(quantity what, where string) *table {
	t := &table{
		title: fmt.Sprintf("%s, %s", quantity, where),
		note:  fmt.Sprintf("By containers on the sender's node, %d rounds: median (and quartiles), and the ratio to the plain router's.", r.PacketRounds),
		head:  []string{"by"},
	}
	for _, count := range r.Containers {
		t.head = append(t.head, fmt.Sprint(count))
	}
	limit := point{quantity, carried(router, where), 0}
	for _, name := range plains() {
		t.row(name, r.beside(point{quantity, carried(name, where), 0}, limit))
	}
	for _, name := range r.carriers() {
		cells := []string{name}
		for _, count := range r.Containers {
			cells = append(cells, r.beside(point{quantity, carried(name, where), count}, limit))
		}
		t.row(cells...)
	}
	return t
}

// carriers are the layouts that were measured, without eni-snat and with it.
func (r *Results) carriers() []string {
	var names []string
	for _, l := range r.layouts {
		if l.refusal == nil {
			names = append(names, by(l.name, false), by(l.name, true))
		}
	}
	return names
}
