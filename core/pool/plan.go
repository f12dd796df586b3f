// Package pool is the arithmetic of the pool of addresses: how many to ask for, and of which ENI. It is pure.
package pool

import (
	"cmp"
	"slices"
)

// ENI is what the arithmetic needs to know of one.
type ENI struct {
	ID          string
	DeviceIndex int
	Holds       int // addresses, the primary counted
	Limit       int // addresses it may hold, the primary counted; 0 is unknown
}

// Room is how many addresses may still be added; want where the limit is unknown, because the cloud will say.
func (e ENI) Room(want int) int {
	if e.Limit == 0 {
		return want
	}
	return max(0, min(want, e.Limit-e.Holds))
}

// Step is one call: add Count addresses to the ENI.
type Step struct {
	ENI   string
	Count int
}

// Plan says how to add addresses for those who wait: a batch, or as many as wait where that is more. The fullest ENIs
// are filled first, so that the fewest are used; where those who wait are served, the rest of a batch does not open
// another ENI. It returns nothing where no ENI has room.
func Plan(waiting, batch int, enis []ENI) []Step {
	waiting = max(waiting, 1)
	want := max(waiting, batch)
	byFill := slices.SortedFunc(slices.Values(enis), func(a, b ENI) int {
		return cmp.Or(cmp.Compare(b.Holds, a.Holds), cmp.Compare(a.DeviceIndex, b.DeviceIndex))
	})
	var steps []Step
	planned := 0
	for _, e := range byFill {
		if planned >= waiting {
			break
		}
		if n := e.Room(want - planned); n > 0 {
			steps = append(steps, Step{ENI: e.ID, Count: n})
			planned += n
		}
	}
	return steps
}
