// Package pool is the arithmetic of the pool of addresses: how many to ask for and of which ENI, when another ENI is
// wanted, and what goes back to the cloud. It is pure.
package pool

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// PrefixSize is how many addresses a prefix of IPv4 has: AWS's are /28s (EC2 User Guide, "Prefix delegation").
const PrefixSize = 16

// Policy is what the operator wants of the pool. Zero limits are the cloud's.
type Policy struct {
	// Min is how many free addresses are kept, so that an ADD need not wait; where there are fewer, the pool is filled
	// up to Target. What is more than Max goes back to the cloud, down to Target; 0 keeps all.
	Min, Target, Max int
	Batch            int  // how many addresses are asked for at once, at the least, by an ADD that waits
	MaxENIs          int  // the primary counted
	MaxAddresses     int  // secondary addresses of all ENIs
	Prefixes         bool // whether prefixes are asked for, where they can be had
	// ENIIdle is how long an ENI of ours must have had no container before it is deleted.
	ENIIdle time.Duration
}

// ENI is what the arithmetic needs to know of one.
type ENI struct {
	ID          string
	DeviceIndex int
	Slots       int // places for addresses or prefixes that are taken, that of the primary address counted
	Limit       int // places that it has; 0 is unknown
	Closed      bool
	// NoPrefixes says that prefixes cannot be had for it at the moment.
	NoPrefixes bool
	// Free, Assigned, Cooling and Releasing count its secondary addresses by their state, those of prefixes too.
	Free, Assigned, Cooling, Releasing int
	// FreePrefixes are its prefixes all of whose addresses are free, and Scattered the free addresses of its other prefixes,
	// which cannot go back.
	FreePrefixes, Scattered int
	// Stays says that it is there anyway, and serves all that is wanted.
	Stays bool
	// Ours says that we made it, and so may delete it, unless it is needed beyond this pool, as by another family; Idle is how
	// long nothing has happened to its addresses.
	Ours, Needed bool
	Idle         time.Duration
}

// State is the pool of one family of addresses at a moment.
type State struct {
	ENIs     []ENI // those that may be used
	Others   int   // ENIs of the instance that may not be used, which count for the limit
	ENILimit int   // ENIs that the instance may have; 0 is unknown
	// CanCreate says that an ENI may be made: the driver can, and nothing told it not to for the moment.
	CanCreate bool
	// NoPrefixes says that a new ENI cannot have prefixes at the moment.
	NoPrefixes bool
	PerENI     int // places of a new ENI, that of the primary address counted; 0 is unknown
	PrefixSize int // addresses of a prefix; PrefixSize where 0
	Waiting    int // containers that wait for an address
}

func (s State) prefixSize() int { return cmp.Or(s.PrefixSize, PrefixSize) }

// Free is how many addresses a container could have now.
func (s State) Free() int {
	n := 0
	for _, e := range s.ENIs {
		n += e.Free
	}
	return n
}

// total is how many secondary addresses there are.
func (s State) total() int {
	n := 0
	for _, e := range s.ENIs {
		n += e.Free + e.Assigned + e.Cooling + e.Releasing
	}
	return n
}

// Step is one call: add Count addresses, or prefixes, to the ENI, or to a new one where that is empty; or give back so many.
type Step struct {
	ENI      string
	Count    int
	Prefixes bool
}

// Want is how many addresses the pool lacks: those for whom containers wait, a batch at the least; else what brings it
// from below Min to Target.
func Want(p Policy, s State) int {
	lacking := s.Waiting - s.Free()
	want := 0
	switch {
	case Enough(p, s):
	case lacking > 0:
		want = max(lacking, p.Batch)
	default:
		want = max(p.Target, p.Min) + lacking
	}
	if p.MaxAddresses > 0 {
		want = min(want, p.MaxAddresses-s.total())
	}
	return max(0, want)
}

// Enough says whether the pool lacks nothing. Where it does, the operator's limit may still have it want nothing.
func Enough(p Policy, s State) bool { return s.Free()-s.Waiting >= p.Min }

// Grow says how to add what the pool lacks. The fullest ENIs are filled first, so that the fewest are used, and another
// is made only when those have no place. Where those who wait are served, or Min is reached, the rest of a batch opens no
// other ENI. Prefixes are rounded up to, but not beyond the operator's limit, up to which single addresses serve. It
// returns nothing where nothing is lacking, or nowhere is a place.
func Grow(p Policy, s State) []Step {
	g := growth{want: Want(p, s), allowed: math.MaxInt, size: s.prefixSize()}
	must := min(g.want, s.Waiting-s.Free()+p.Min)
	if p.MaxAddresses > 0 {
		g.allowed = p.MaxAddresses - s.total()
	}
	fullest := slices.SortedFunc(slices.Values(s.ENIs), func(a, b ENI) int {
		return cmp.Or(cmp.Compare(b.Assigned, a.Assigned), cmp.Compare(b.Slots, a.Slots), cmp.Compare(a.DeviceIndex, b.DeviceIndex))
	})
	for _, e := range fullest {
		if g.planned >= must {
			return g.steps
		}
		if e.Closed {
			continue
		}
		taken := e.Slots
		if p.Prefixes && !e.NoPrefixes {
			taken += g.addPrefixes(e.ID, e.Limit, taken)
		}
		g.addAddresses(e.ID, e.Limit, taken)
	}
	for made := 0; g.planned < must && s.canCreate(p, made); made++ {
		if p.Prefixes && !s.NoPrefixes && g.addPrefixes("", s.PerENI, 1) > 0 {
			continue // an ENI is made with one or the other
		}
		if g.addAddresses("", s.PerENI, 1) == 0 {
			break
		}
	}
	return g.steps
}

// growth is a plan that is being made. It counts addresses.
type growth struct {
	want, planned, allowed int
	size                   int // of a prefix
	steps                  []Step
}

// addPrefixes plans as many prefixes for an ENI as are wanted and have a place, and returns how many those are.
func (g *growth) addPrefixes(eni string, limit, taken int) int {
	wanted := (g.want - g.planned + g.size - 1) / g.size
	return g.add(Step{ENI: eni, Count: room(limit, taken, min(wanted, g.allowed/g.size)), Prefixes: true}, g.size)
}

// addAddresses is addPrefixes with single addresses.
func (g *growth) addAddresses(eni string, limit, taken int) int {
	return g.add(Step{ENI: eni, Count: room(limit, taken, min(g.want-g.planned, g.allowed))}, 1)
}

// add adds a step, unless it is none, and returns how many places it takes; each holds so many addresses.
func (g *growth) add(s Step, addresses int) (places int) {
	if s.Count <= 0 {
		return 0
	}
	g.steps = append(g.steps, s)
	g.planned += s.Count * addresses
	g.allowed -= s.Count * addresses
	return s.Count
}

// room is how many places of those wanted are left; all where the limit is unknown, because the cloud will say.
func room(limit, taken, want int) int {
	if limit == 0 {
		return want
	}
	return max(0, min(want, limit-taken))
}

// canCreate says whether one more ENI may be made than the number made already.
func (s State) canCreate(p Policy, made int) bool {
	n := len(s.ENIs) + s.Others + made
	return s.CanCreate && (s.ENILimit == 0 || n < s.ENILimit) && (p.MaxENIs == 0 || n < p.MaxENIs)
}

// Shrinkage is what goes back to the cloud.
type Shrinkage struct {
	Delete  []string // ENIs, with all their addresses
	Release []Step   // free addresses of ENIs that stay
}

// Shrink says what the pool has too much of: more than Max free addresses, which go down to Target; ENIs of ours first
// that have been empty for long enough, then addresses and prefixes of the emptiest ENIs, but of those that stay last: what is
// free there draws the next containers away from ours. An empty ENI goes as long as the others have Target free, or Min and
// places for the rest: else two ENIs could each keep what one has room for, for ever. Whoever waits is served before. What is
// cooling is never touched, and a prefix of which one address is not free stays.
func Shrink(p Policy, s State) Shrinkage {
	var out Shrinkage
	free := s.Free() - s.Waiting
	keep := max(p.Target, p.Min)
	emptiest := slices.SortedFunc(slices.Values(s.ENIs), func(a, b ENI) int {
		return cmp.Or(staysLast(a, b), cmp.Compare(a.Assigned, b.Assigned), cmp.Compare(a.Slots, b.Slots), cmp.Compare(b.DeviceIndex, a.DeviceIndex))
	})
	gone := map[string]bool{}
	for _, e := range emptiest {
		left := free - e.Free
		if p.Max > 0 && e.deletable(p) && (left >= keep || left >= p.Min && left+s.places(e, gone) >= keep) {
			out.Delete = append(out.Delete, e.ID)
			gone[e.ID] = true
			free -= e.Free
		}
	}
	if p.Max == 0 || free <= p.Max {
		return out
	}
	for _, e := range emptiest {
		if gone[e.ID] {
			continue
		}
		for _, prefixes := range []bool{!p.Prefixes, p.Prefixes} { // first what the operator wants none of
			unit, has := 1, e.Free-e.Scattered-e.FreePrefixes*s.prefixSize()
			if prefixes {
				unit, has = s.prefixSize(), e.FreePrefixes
			}
			if n := min(has, (free-keep)/unit); n > 0 {
				out.Release = append(out.Release, Step{ENI: e.ID, Count: n, Prefixes: prefixes})
				free -= n * unit
			}
		}
	}
	return out
}

// staysLast orders those that stay behind the others.
func staysLast(a, b ENI) int {
	switch {
	case a.Stays == b.Stays:
		return 0
	case b.Stays:
		return -1
	}
	return 1
}

// places is how many more addresses the ENIs could have, but for one and those that are gone. Where a limit is not known
// there are none to be relied on.
func (s State) places(but ENI, gone map[string]bool) int {
	n := 0
	for _, e := range s.ENIs {
		if e.ID != but.ID && !gone[e.ID] && !e.Closed && e.Limit > 0 {
			n += max(0, e.Limit-e.Slots)
		}
	}
	return n
}

// deletable says whether nothing of the ENI is in use, and has not been for a while.
func (e ENI) deletable(p Policy) bool {
	return e.Ours && !e.Needed && e.Assigned == 0 && e.Cooling == 0 && e.Releasing == 0 && e.Idle >= p.ENIIdle
}
