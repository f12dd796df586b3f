package bench

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// sample is what was observed of one thing, in any order.
type sample []float64

// quantile is the value below which that share of the sample lies, interpolated between neighbours (Hyndman and Fan's type
// 7, as R and NumPy have it); NaN where nothing was observed.
func (s sample) quantile(share float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	at := share * float64(len(sorted)-1)
	below := int(at)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (at-float64(below))*(sorted[above]-sorted[below])
}

func (s sample) median() float64 { return s.quantile(0.5) }

// point is one thing that is observed.
type point struct {
	what what
	of   string // a chain, a program, or a path and what carries it
	at   int    // containers on the node, or calls at once
}

// what is a quantity, with its unit.
type what string

const (
	add        what = "ADD, ms"
	check      what = "CHECK, ms"
	del        what = "DEL, ms"
	addAmong   what = "ADD among other containers, ms"
	delAmong   what = "DEL among other containers, ms"
	addsAtOnce what = "ADDs at once, per second"
	cold       what = "first ADD of a node, ms"
	afterCold  what = "second ADD of a node, ms"
	packets    what = "packets per second"
	roundTrip  what = "round trip, µs"
	connects   what = "connections per second"
	start      what = "start, ms"
	faults     what = "page faults of a start"
	touched    what = "page faults of a call"
	pageFault  what = "first touch of a page, µs"
)

// record is all that was observed.
type record map[point]sample

func (r record) add(p point, value float64) { r[p] = append(r[p], value) }

func (r record) median(p point) float64 { return r[p].median() }

// ratio is one median over another; NaN where either was not observed.
func (r record) ratio(a, b point) float64 { return r.median(a) / r.median(b) }

// ats are the numbers at which a quantity was observed of something.
func (r record) ats(what what, of string) []int {
	var ats []int
	for p := range maps.Keys(r) {
		if p.what == what && p.of == of {
			ats = append(ats, p.at)
		}
	}
	slices.SortFunc(ats, cmp.Compare)
	return ats
}
