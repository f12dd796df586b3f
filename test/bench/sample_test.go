package bench

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	hundred := sample{}
	for i := range 101 {
		hundred = append(hundred, float64(100-i))
	}
	tests := []struct {
		sample sample
		share  float64
		want   float64
	}{
		{sample{7}, 0.99, 7},
		{sample{3, 1, 2}, 0.5, 2},
		{sample{4, 1, 2, 3}, 0.5, 2.5},
		{sample{4, 1, 2, 3}, 0.25, 1.75},
		{sample{1, 2}, 0, 1},
		{sample{1, 2}, 1, 2},
		{hundred, 0.9, 90},
		{hundred, 0.99, 99},
	}
	for _, tt := range tests {
		before := slices.Clone(tt.sample)
		if got := tt.sample.quantile(tt.share); !near(got, tt.want) {
			t.Errorf("%v: quantile %g is %g, want %g", tt.sample, tt.share, got, tt.want)
		}
		if diff := cmp.Diff(before, tt.sample); diff != "" {
			t.Errorf("the sample has changed: %s", diff)
		}
	}
	if got := (sample{}).median(); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %g", got)
	}
}

func TestRatio(t *testing.T) {
	r := record{}
	a, b := point{add, "a", 10}, point{add, "b", 10}
	for _, v := range []float64{1, 30, 2} {
		r.add(a, v)
	}
	r.add(b, 4)
	r.add(point{add, "b", 2}, 4)
	r.add(point{del, "b", 3}, 4)
	if got := r.ratio(a, b); got != 0.5 {
		t.Errorf("2 ÷ 4 is %g", got)
	}
	if got := r.ratio(a, point{}); !math.IsNaN(got) {
		t.Errorf("2 ÷ nothing is %g", got)
	}
	if diff := cmp.Diff([]int{2, 10}, r.ats(add, "b")); diff != "" {
		t.Error(diff)
	}
}

func TestTurn(t *testing.T) {
	var order string
	if err := turn(4, []string{"a", "b", "c"}, func(s string) error { order += s; return nil }); err != nil {
		t.Fatal(err)
	}
	if order != "abcbcacababc" {
		t.Errorf("the turns were %s", order)
	}
}

func TestProcesses(t *testing.T) {
	p, err := parseProcess("41 (a b) c) R 2) S 7 41 41 0 -1 4194560 1 2 3 4 100 20 3 4000 20 0 1 0 5 6 7\n")
	if want := (process{41, 7, 4123}); err != nil || p != want {
		t.Errorf("%+v, %v; want %+v", p, err, want)
	}
	for _, line := range []string{"", "41 (a S 7", "41 (a) S 7 41 41 0", "41 (a) S 7 41 41 0 -1 4194560 1 2 3 4 100 20 3 x 20"} {
		if p, err := parseProcess(line); err == nil {
			t.Errorf("%q was read: %+v", line, p)
		}
	}
	all := []process{{1, 0, 1}, {2, 0, 1}, {3, 2, 1}, {10, 1, 1}, {11, 10, 1}, {12, 11, 1}, {20, 1, 5}, {21, 20, 6}}
	if diff := cmp.Diff([]process{{1, 0, 1}, {10, 1, 1}, {20, 1, 5}, {21, 20, 6}}, others(all, 11), cmp.AllowUnexported(process{})); diff != "" {
		t.Error(diff)
	}
	then, now := ticks{others: 110, stolen: 5, total: 1000}, ticks{others: 160, stolen: 25, total: 1200}
	if took, stolen := now.sharesSince(then); !near(took, 0.25) || !near(stolen, 0.1) {
		t.Errorf("others took %g, and %g was stolen", took, stolen)
	}
	if took, _ := (ticks{others: 100, total: 1100}).sharesSince(then); took != 0 { // a process ended, and nobody waited for it
		t.Errorf("others took %g", took)
	}
	if _, err := readTicks(); err != nil {
		t.Error(err)
	}
}
