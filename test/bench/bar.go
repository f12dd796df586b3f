package bench

import (
	"fmt"
	"math"
	"slices"
)

// bar is one line of what is asked for: a ratio, or a figure, and its bound.
type bar struct {
	line  string
	got   float64 // NaN where it was not measured
	bound float64
	least bool // the bound is the least; else the most
}

// met says whether it was; what was not measured was not.
func (b bar) met() bool {
	if b.least {
		return b.got >= b.bound
	}
	return b.got <= b.bound
}

// The plugins that the bounds of memory and size are for.
func ownPlugins() []string { return []string{"eni-ipam", "eni-ptp", "eni-snat"} }

// asked is the layout that the dataplane's bounds are for.
const asked = "per-eni by tcx"

// bars are all of them.
func (r *Results) bars() []bar {
	last := r.Containers[len(r.Containers)-1]
	crowd := r.Crowds[len(r.Crowds)-1]
	floor := r.median(point{del, linkDeletion, 0}) + r.median(point{del, bareName(r.delStarts), 0})
	bars := []bar{
		{"warm ADD ÷ " + masq, r.ratio(point{add, ours, 0}, point{add, masq, 0}), 0.35, false},
		{"warm ADD ÷ " + plain, r.ratio(point{add, ours, 0}, point{add, plain, 0}), 0.9, false},
		{
			fmt.Sprintf("warm ADD with %d containers ÷ with %d", last, r.Few),
			r.ratio(point{addAmong, ours, last}, point{addAmong, ours, r.Few}), 1.15, false,
		},
		{
			fmt.Sprintf("ADDs per second, %d at once ÷ %s", crowd, masq),
			r.ratio(point{addsAtOnce, ours, crowd}, point{addsAtOnce, masq, crowd}), 4, true,
		},
		{fmt.Sprintf("DEL ÷ (deletion of the link + %s)", bareName(r.delStarts)), r.median(point{del, ours, 0}) / floor, 1.15, false},
	}
	for _, where := range []string{sameNode, otherNode} {
		for _, snat := range []bool{false, true} {
			bars = append(bars, r.packetBars(by(asked, snat), where)...)
		}
	}
	return append(bars, r.weightBars()...)
}

// packetBars are those of one way: flat in the number of containers, and near the plain router.
func (r *Results) packetBars(by, where string) []bar {
	first, last := r.Containers[0], r.Containers[len(r.Containers)-1]
	at := func(what what, count int) point { return point{what, carried(by, where), count} }
	limit := func(what what) point { return point{what, carried(router, where), 0} }
	name := carried(by, where)
	with := fmt.Sprintf("with %d containers ÷ with %d: %s", last, first, name)
	beside := fmt.Sprintf("with %d containers ÷ %s: %s", last, router, name)
	return []bar{
		{"packets per second " + with, r.ratio(at(packets, last), at(packets, first)), 0.95, true},
		{"round trip " + with, r.ratio(at(roundTrip, last), at(roundTrip, first)), 1.05, false},
		{"packets per second " + beside, r.ratio(at(packets, last), limit(packets)), 0.9, true},
		{"round trip " + beside, r.ratio(at(roundTrip, last), limit(roundTrip)), 1.1, false},
	}
}

func (r *Results) weightBars() []bar {
	var bars []bar
	resident := 0.0
	if r.left != nil {
		resident = math.Inf(1)
	}
	for _, name := range ownPlugins() {
		f := footprint{}
		if i := slices.IndexFunc(r.memory, func(f footprint) bool { return f.program == name }); i >= 0 {
			f = r.memory[i]
		}
		peak, size := math.NaN(), math.NaN()
		if f.peak > 0 {
			peak, size = float64(f.peak)*1024/mega, float64(f.size)/mega
		}
		bars = append(bars, bar{name + ": peak memory, MB", peak, 16, false}, bar{name + ": size, MB", size, 5, false})
	}
	return append(bars, bar{"processes that stay between calls", resident, 0, false})
}

func (r *Results) barTable() *table {
	t := &table{
		title: "The bar",
		note:  "What enichain is held to, in ratios of this run's medians. What is missed is told as it is.",
		head:  []string{"", "measured", "asked for", ""},
	}
	for _, b := range r.bars() {
		sign, verdict := "≤ ", "missed"
		if b.least {
			sign = "≥ "
		}
		switch {
		case math.IsNaN(b.got):
			verdict = "not measured"
		case b.met():
			verdict = "met"
		}
		t.row(b.line, figure(b.got), sign+figure(b.bound), verdict)
	}
	return t
}
