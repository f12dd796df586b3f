package pool

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func TestPlan(t *testing.T) {
	a, b, c := ENI{"a", 0, 1, 10}, ENI{"b", 1, 4, 10}, ENI{"c", 2, 10, 10}
	tests := []struct {
		name           string
		waiting, batch int
		enis           []ENI
		want           []Step
	}{
		{"a batch for one", 1, 4, []ENI{a, b, c}, []Step{{"b", 4}}},
		{"the rest of a batch opens no other ENI", 1, 8, []ENI{a, b, c}, []Step{{"b", 6}}},
		{"many wait", 12, 8, []ENI{a, b, c}, []Step{{"b", 6}, {"a", 6}}},
		{"more wait than there is room", 64, 8, []ENI{a, b, c}, []Step{{"b", 6}, {"a", 9}}},
		{"all are full", 1, 8, []ENI{c}, nil},
		{"an unknown limit is left to the cloud", 3, 8, []ENI{{"d", 0, 30, 0}}, []Step{{"d", 8}}},
		{"equals go by device index", 1, 2, []ENI{{"y", 2, 1, 10}, {"x", 1, 1, 10}}, []Step{{"x", 2}}},
		{"nobody is counted as one", 0, 1, []ENI{a}, []Step{{"a", 1}}},
	}
	for _, tt := range tests {
		if got := Plan(tt.waiting, tt.batch, tt.enis); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestPlanHolds checks what must be true of every plan: no ENI over its limit or twice, those who wait served where
// there is room at all, and not more than is wanted.
func TestPlanHolds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		room := map[string]int{}
		var enis []ENI
		for i := range rnd.IntN(6) {
			e := ENI{ID: strconv.Itoa(i), DeviceIndex: i, Limit: 1 + rnd.IntN(30)}
			e.Holds = rnd.IntN(e.Limit + 2)
			enis, room[e.ID] = append(enis, e), max(0, e.Limit-e.Holds)
		}
		waiting, batch := rnd.IntN(70), 1+rnd.IntN(20)
		planned, rooms := 0, 0
		for _, r := range room {
			rooms += r
		}
		for _, s := range Plan(waiting, batch, enis) {
			if s.Count < 1 || s.Count > room[s.ENI] {
				t.Fatalf("%d waiting, batch %d, %v: step %v", waiting, batch, enis, s)
			}
			room[s.ENI] = 0
			planned += s.Count
		}
		if planned > max(1, waiting, batch) || planned < min(rooms, max(1, waiting)) {
			t.Fatalf("%d waiting, batch %d, %v: planned %d of %d", waiting, batch, enis, planned, rooms)
		}
	}
}
