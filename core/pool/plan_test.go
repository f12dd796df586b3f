package pool

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// eni is an ENI of ten places with free and assigned addresses.
func eni(id string, index, free, assigned int) ENI {
	return ENI{ID: id, DeviceIndex: index, Slots: 1 + free + assigned, Limit: 10, Free: free, Assigned: assigned, Stays: true}
}

// ours is an ENI that may be deleted once it has been idle for long enough.
func ours(e ENI, idle time.Duration) ENI {
	e.Stays, e.Ours, e.Idle = false, true, idle
	return e
}

func TestGrow(t *testing.T) {
	a, b, full := eni("a", 0, 0, 0), eni("b", 1, 0, 3), eni("c", 2, 0, 9)
	unknown := ENI{ID: "d", Slots: 30, Assigned: 29}
	closed, scattered := b, b
	closed.Closed, scattered.NoPrefixes = true, true
	tests := []struct {
		name string
		p    Policy
		s    State
		want []Step
	}{
		{"a batch for one", Policy{Batch: 4}, State{Waiting: 1, ENIs: []ENI{a, b, full}}, []Step{{ENI: "b", Count: 4}}},
		{"the rest of a batch opens no other ENI", Policy{Batch: 8}, State{Waiting: 1, ENIs: []ENI{a, b, full}}, []Step{{ENI: "b", Count: 6}}},
		{"many wait", Policy{Batch: 8}, State{Waiting: 12, ENIs: []ENI{a, b, full}}, []Step{{ENI: "b", Count: 6}, {ENI: "a", Count: 6}}},
		{"more wait than there is room", Policy{Batch: 8}, State{Waiting: 64, ENIs: []ENI{a, b, full}}, []Step{{ENI: "b", Count: 6}, {ENI: "a", Count: 9}}},
		{"all are full", Policy{Batch: 8}, State{Waiting: 1, ENIs: []ENI{full}}, nil},
		{"an unknown limit is left to the cloud", Policy{Batch: 8}, State{Waiting: 3, ENIs: []ENI{unknown}}, []Step{{ENI: "d", Count: 8}}},
		{"equals go by device index", Policy{Batch: 2}, State{Waiting: 1, ENIs: []ENI{eni("y", 2, 0, 0), eni("x", 1, 0, 0)}}, []Step{{ENI: "x", Count: 2}}},
		{"a closed ENI is left out", Policy{Batch: 2}, State{Waiting: 1, ENIs: []ENI{a, closed}}, []Step{{ENI: "a", Count: 2}}},
		{"what is free serves those who wait", Policy{Batch: 8}, State{Waiting: 2, ENIs: []ENI{eni("a", 0, 2, 1)}}, nil},
		{"nobody waits", Policy{Batch: 8}, State{ENIs: []ENI{a}}, nil},
		{"below min, up to target", Policy{Batch: 8, Min: 2, Target: 5}, State{ENIs: []ENI{eni("a", 0, 1, 1)}}, []Step{{ENI: "a", Count: 4}}},
		{"at min", Policy{Batch: 8, Min: 2, Target: 5}, State{ENIs: []ENI{eni("a", 0, 2, 1)}}, nil},
		{"the operator's limit", Policy{Batch: 8, MaxAddresses: 5}, State{Waiting: 4, ENIs: []ENI{b}}, []Step{{ENI: "b", Count: 2}}},
		{
			"no place: another ENI",
			Policy{Batch: 4},
			State{Waiting: 1, ENIs: []ENI{full}, CanCreate: true, PerENI: 10, ENILimit: 3},
			[]Step{{ENI: "", Count: 4}},
		},
		{
			"many wait: as many ENIs as it takes",
			Policy{Batch: 4},
			State{Waiting: 20, ENIs: []ENI{full}, CanCreate: true, PerENI: 10, ENILimit: 3},
			[]Step{{ENI: "", Count: 9}, {ENI: "", Count: 9}},
		},
		{
			"the instance's limit, others' ENIs counted",
			Policy{Batch: 4},
			State{Waiting: 1, ENIs: []ENI{full}, Others: 2, CanCreate: true, PerENI: 10, ENILimit: 3},
			nil,
		},
		{
			"the operator's limit of ENIs",
			Policy{Batch: 4, MaxENIs: 1},
			State{Waiting: 1, ENIs: []ENI{full}, CanCreate: true, PerENI: 10, ENILimit: 3},
			nil,
		},
		{"prefixes", Policy{Batch: 4, Prefixes: true}, State{Waiting: 17, ENIs: []ENI{a}}, []Step{{"a", 2, true}}},
		{"as many prefixes as there are places", Policy{Batch: 4, Prefixes: true}, State{Waiting: 200, ENIs: []ENI{b}}, []Step{{"b", 6, true}}},
		{
			"no prefix beyond the operator's limit",
			Policy{Batch: 4, Prefixes: true, MaxAddresses: 25},
			State{Waiting: 40, ENIs: []ENI{b}}, // which has 3
			[]Step{{"b", 1, true}, {"b", 5, false}},
		},
		{
			"where there are no prefixes, addresses",
			Policy{Batch: 4, Prefixes: true},
			State{Waiting: 8, ENIs: []ENI{a, scattered}},
			[]Step{{"b", 6, false}, {"a", 1, true}},
		},
		{
			"a new ENI with prefixes",
			Policy{Batch: 4, Prefixes: true},
			State{Waiting: 40, ENIs: []ENI{full}, CanCreate: true, PerENI: 3, ENILimit: 4},
			[]Step{{"", 2, true}, {"", 1, true}},
		},
		{
			"a new ENI where there are no prefixes",
			Policy{Batch: 4, Prefixes: true},
			State{Waiting: 4, ENIs: []ENI{full}, CanCreate: true, NoPrefixes: true, PerENI: 3, ENILimit: 4},
			[]Step{{"", 2, false}, {"", 2, false}},
		},
	}
	for _, tt := range tests {
		if got := Grow(tt.p, tt.s); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestShrink(t *testing.T) {
	p := Policy{Min: 1, Target: 4, Max: 8, ENIIdle: time.Minute}
	cooling := ours(ENI{ID: "b", DeviceIndex: 1, Free: 5, Cooling: 1, Slots: 7}, time.Hour)
	needed := ours(eni("b", 1, 9, 0), time.Hour)
	needed.Needed = true
	// prefixed has prefixes that are free, prefixes with 15 free, and free addresses of none.
	prefixed := func(whole, used, single int) ENI {
		return ENI{
			ID: "a", Slots: 1 + whole + used + single, Limit: 10, Free: 16*whole + 15*used + single, Assigned: used,
			FreePrefixes: whole, Scattered: 15 * used,
		}
	}
	tests := []struct {
		name string
		p    Policy
		s    State
		want Shrinkage
	}{
		{"at max", p, State{ENIs: []ENI{eni("a", 0, 8, 0)}}, Shrinkage{}},
		{"above max, down to target", p, State{ENIs: []ENI{eni("a", 0, 9, 0)}}, Shrinkage{Release: []Step{{ENI: "a", Count: 5}}}},
		{"no max", Policy{Target: 4}, State{ENIs: []ENI{eni("a", 0, 9, 0)}}, Shrinkage{}},
		{
			"the emptiest first", p,
			State{ENIs: []ENI{eni("a", 0, 6, 3), eni("b", 1, 5, 1)}},
			Shrinkage{Release: []Step{{ENI: "b", Count: 5}, {ENI: "a", Count: 2}}},
		},
		{"those who wait come first", p, State{Waiting: 4, ENIs: []ENI{eni("a", 0, 9, 0)}}, Shrinkage{}},
		{
			"an empty ENI of ours goes whole", p,
			State{ENIs: []ENI{eni("a", 0, 5, 3), ours(eni("b", 1, 9, 0), time.Minute)}},
			Shrinkage{Delete: []string{"b"}},
		},
		{
			"not before it has been idle for long enough", p,
			State{ENIs: []ENI{eni("a", 0, 5, 3), ours(eni("b", 1, 1, 0), time.Second)}},
			Shrinkage{},
		},
		{
			"not where the pool would be too small", p,
			State{ENIs: []ENI{eni("a", 0, 3, 6), ours(eni("b", 1, 5, 0), time.Hour)}},
			Shrinkage{},
		},
		{
			"where the others have places for what is wanted", p,
			State{ENIs: []ENI{eni("a", 0, 3, 3), ours(eni("b", 1, 5, 0), time.Hour)}},
			Shrinkage{Delete: []string{"b"}},
		},
		{
			"not where the others have less than min", p,
			State{ENIs: []ENI{eni("a", 0, 0, 3), ours(eni("b", 1, 5, 0), time.Hour)}},
			Shrinkage{},
		},
		{
			"what may be deleted is emptied first",
			Policy{Min: 3, Target: 3, Max: 4},
			State{ENIs: []ENI{eni("a", 0, 1, 0), ours(eni("b", 1, 5, 0), 0)}},
			Shrinkage{Release: []Step{{ENI: "b", Count: 3}}},
		},
		{"not while an address cools down", p, State{ENIs: []ENI{eni("a", 0, 8, 1), cooling}}, Shrinkage{Release: []Step{{ENI: "b", Count: 5}, {ENI: "a", Count: 4}}}},
		{"a prefix goes as a whole", p, State{ENIs: []ENI{prefixed(3, 1, 0)}}, Shrinkage{Release: []Step{{"a", 3, true}}}},
		{"a prefix in use stays", p, State{ENIs: []ENI{prefixed(0, 4, 0)}}, Shrinkage{}},
		{"rather too many than too few", p, State{ENIs: []ENI{prefixed(1, 0, 3)}}, Shrinkage{Release: []Step{{"a", 3, false}}}},
		{
			"first what the operator wants none of",
			Policy{Target: 4, Max: 8, Prefixes: true},
			State{ENIs: []ENI{prefixed(1, 0, 9)}},
			Shrinkage{Release: []Step{{"a", 9, false}}},
		},
		{
			"what may be deleted is emptied first, though it be the fuller", p,
			State{ENIs: []ENI{eni("a", 0, 5, 1), ours(eni("b", 1, 4, 5), 0)}},
			Shrinkage{Release: []Step{{ENI: "b", Count: 4}, {ENI: "a", Count: 1}}},
		},
		{
			"not one that another family needs", p,
			State{ENIs: []ENI{eni("a", 0, 5, 3), needed}},
			Shrinkage{Release: []Step{{ENI: "b", Count: 9}, {ENI: "a", Count: 1}}},
		},
		{"another's ENI is never deleted", p, State{ENIs: []ENI{eni("a", 0, 5, 3), eni("b", 1, 3, 0)}}, Shrinkage{}},
	}
	for _, tt := range tests {
		if got := Shrink(tt.p, tt.s); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// random is a pool and a policy as they could be.
func random(rnd *rand.Rand) (Policy, State) {
	p := Policy{Min: rnd.IntN(4), Batch: 1 + rnd.IntN(12), ENIIdle: time.Minute, Prefixes: rnd.IntN(2) == 0}
	p.Target = p.Min + rnd.IntN(5)
	if rnd.IntN(3) > 0 {
		p.Max = p.Target + rnd.IntN(8) + 1
	}
	if rnd.IntN(4) == 0 {
		p.MaxAddresses = rnd.IntN(80)
	}
	s := State{Waiting: rnd.IntN(40), CanCreate: rnd.IntN(2) == 0, PerENI: 2 + rnd.IntN(29), ENILimit: 1 + rnd.IntN(8), Others: rnd.IntN(2), NoPrefixes: rnd.IntN(4) == 0}
	for i := range 1 + rnd.IntN(5) {
		e := ENI{
			ID: strconv.Itoa(i), DeviceIndex: i, Limit: s.PerENI, Ours: i > 0 && rnd.IntN(2) == 0, Closed: rnd.IntN(8) == 0,
			Idle: time.Duration(rnd.IntN(120)) * time.Second, NoPrefixes: rnd.IntN(4) == 0, Needed: rnd.IntN(4) == 0,
		}
		e.Stays = !e.Ours && rnd.IntN(4) > 0
		places := e.Limit - 1
		if rnd.IntN(2) == 0 {
			for range rnd.IntN(places + 1) {
				e.addPrefix(rnd)
				places--
			}
		}
		for _, n := range []*int{&e.Free, &e.Assigned, &e.Cooling, &e.Releasing} {
			singles := rnd.IntN(places + 1)
			*n += singles
			places -= singles
		}
		e.Slots = e.Limit - places
		s.ENIs = append(s.ENIs, e)
	}
	return p, s
}

// addPrefix gives the ENI a prefix that is free, or in use to any degree.
func (e *ENI) addPrefix(rnd *rand.Rand) {
	free := PrefixSize
	if rnd.IntN(3) > 0 {
		free = rnd.IntN(PrefixSize)
	}
	e.Free += free
	e.Assigned += PrefixSize - free
	if free == PrefixSize {
		e.FreePrefixes++
	} else {
		e.Scattered += free
	}
}

// TestGrowHolds checks what must be true of every plan: no ENI over its limit or twice, no closed one, no ENI more than
// may be, not more than is wanted, and those who wait served as far as there is room.
func TestGrowHolds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50000 {
		p, s := random(rnd)
		left, scattered := map[string]int{}, map[string]bool{"": s.NoPrefixes}
		rooms := 0
		for _, e := range s.ENIs {
			scattered[e.ID] = e.NoPrefixes
			if !e.Closed {
				left[e.ID] = e.Limit - e.Slots
				rooms += left[e.ID]
			}
		}
		more := 0
		if s.CanCreate {
			more = max(0, s.ENILimit-len(s.ENIs)-s.Others)
		}
		rooms += more * (s.PerENI - 1)
		if p.MaxAddresses > 0 {
			rooms = max(0, min(rooms, p.MaxAddresses-s.total()))
		}
		planned, created, half := 0, 0, false
		for _, step := range Grow(p, s) {
			if step.ENI == "" {
				created++
				half = p.MaxAddresses > 0 && step.Prefixes // a new ENI gets its single addresses by the next plan
				if step.Count > s.PerENI-1 {
					t.Fatalf("%+v %+v: new ENI with %d", p, s, step.Count)
				}
			} else if step.Count > left[step.ENI] {
				t.Fatalf("%+v %+v: step %v", p, s, step)
			}
			if step.Count < 1 || step.Prefixes && (!p.Prefixes || scattered[step.ENI]) {
				t.Fatalf("%+v %+v: step %v", p, s, step)
			}
			left[step.ENI] -= step.Count
			if step.Prefixes {
				planned += step.Count * PrefixSize
			} else {
				planned += step.Count
			}
		}
		most := Want(p, s)
		if p.Prefixes && most > 0 {
			most += PrefixSize - 1
		}
		if p.MaxAddresses > 0 {
			most = min(most, max(0, p.MaxAddresses-s.total()))
		}
		if created > more || planned > most || !half && planned < min(rooms, s.Waiting-s.Free()) {
			t.Fatalf("%+v %+v: planned %d and %d ENIs, there is room for %d and %d", p, s, planned, created, rooms, more)
		}
	}
}

// TestShrinkHolds checks that what goes back is free, that enough stays for those who wait and for Target, that nothing
// of others or in use goes, and that a pool that was just shrunk wants neither to shrink again nor to grow.
func TestShrinkHolds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50000 {
		p, s := random(rnd)
		before := s.Free() - s.Waiting
		out := Shrink(p, s)
		after := s
		after.ENIs = nil
		for _, e := range s.ENIs {
			if slices.Contains(out.Delete, e.ID) {
				if !e.Ours || e.Needed || e.Assigned+e.Cooling+e.Releasing > 0 || e.Idle < p.ENIIdle {
					t.Fatalf("%+v: deletes %+v", p, e)
				}
				continue
			}
			for _, step := range out.Release {
				switch {
				case step.ENI != e.ID:
				case step.Prefixes:
					e.Free -= step.Count * PrefixSize
					e.FreePrefixes -= step.Count
				default:
					e.Free -= step.Count
				}
			}
			if e.FreePrefixes < 0 || e.Free < e.Scattered+e.FreePrefixes*PrefixSize {
				t.Fatalf("%+v %+v: releases what is not free: %+v", p, s, out)
			}
			after.ENIs = append(after.ENIs, e)
		}
		free := after.Free() - after.Waiting
		if least := max(p.Target, p.Min); free < before && free < least && (free < p.Min || len(out.Delete) == 0 || free+after.places(ENI{}, nil) < least) {
			t.Fatalf("%+v %+v: %+v leaves %d of %d free", p, s, out, free, before)
		}
		if len(out.Delete)+len(out.Release) > 0 && Want(p, after) > 0 {
			t.Fatalf("%+v %+v: shrunk by %+v, and wants %d", p, s, out, Want(p, after))
		}
		if again := Shrink(p, after); len(again.Delete)+len(again.Release) > 0 {
			t.Fatalf("%+v %+v: shrunk by %+v, and then by %+v", p, s, out, again)
		}
	}
}
