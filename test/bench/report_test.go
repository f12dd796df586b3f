package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made are results with figures that are easy to follow: each chain takes ten times as long as the one before it, and each
// sample is of 0.9, 1 and 1.1 times its median.
func made() *Results {
	r := &Results{
		Plan: Full(), record: record{}, machine: machine{kernel: "6.1", cpu: "a <processor>", cpus: 2, when: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)},
		layouts: layouts(), delStarts: 3, peers: "plugins v1",
	}
	put := func(p point, v float64) { r.record[p] = sample{1.1 * v, 0.9 * v, v} }
	ms := 1.0
	for _, name := range chainNames() {
		for _, what := range []what{add, check, del} {
			put(point{what, name, 0}, ms)
		}
		for _, count := range append(slices.Clone(r.Containers), r.Few) {
			put(point{addAmong, name, count}, ms+ms*float64(count)/10_000)
			put(point{delAmong, name, count}, ms)
		}
		for _, size := range r.Crowds {
			put(point{addsAtOnce, name, size}, float64(size)/ms)
		}
		ms *= 10
	}
	for processes, ms := range map[int]float64{1: 0.2, 3: 0.6} {
		put(point{add, bareName(processes), 0}, ms)
		put(point{del, bareName(processes), 0}, ms)
	}
	put(point{del, linkDeletion, 0}, 0.4)
	put(point{add, linkCreation, 0}, 0.1)
	put(point{pageFault, "", 0}, 0.5)
	for i, program := range started() {
		put(point{start, program, 0}, 0.2+0.05*float64(i))
		put(point{faults, program, 0}, 100*float64(i+1))
	}
	put(point{touched, ours + " ADD", 0}, 700)
	put(point{touched, ours + " DEL", 0}, 500)
	put(point{cold, ours, 0}, 50)
	put(point{afterCold, ours, 0}, 1)
	for _, where := range []string{sameNode, otherNode} {
		for _, quantity := range []what{packets, roundTrip, connects} {
			put(point{quantity, carried(router, where), 0}, 100)
			put(point{quantity, carried(ruled, where), 0}, 95)
			put(point{quantity, carried(tracked, where), 0}, 70)
			for _, name := range r.carriers() {
				for _, count := range r.Containers {
					put(point{quantity, carried(name, where), count}, 100-float64(count)/50)
				}
			}
		}
	}
	r.memory = []footprint{{"eni-ipam", 10_000, 4_000_000}, {"eni-ptp", 20_000, 4_000_000}, {"eni-snat", 10_000, 6_000_000}}
	return r
}

func TestTheBar(t *testing.T) {
	r := made()
	verdicts := map[string]string{}
	for _, row := range r.barTable().rows {
		verdicts[row[0]] = strings.Join(row[1:], " ")
	}
	for line, want := range map[string]string{
		"warm ADD ÷ ptp (ipMasq) + host-local":                                                                 "0.10 ≤ 0.35 met",
		"warm ADD ÷ ptp + host-local":                                                                          "0.01 ≤ 0.90 met",
		"warm ADD with 1000 containers ÷ with 10":                                                              "1.10 ≤ 1.15 met",
		"ADDs per second, 64 at once ÷ ptp (ipMasq) + host-local":                                              "10.0 ≥ 4.00 met",
		"DEL ÷ (deletion of the link + 3 processes that do nothing)":                                           "1.00 ≤ 1.15 met",
		"packets per second with 1000 containers ÷ with 1: per-eni by tcx, pod → pod on the node":              "0.80 ≥ 0.95 missed",
		"round trip with 1000 containers ÷ plain router: per-eni by tcx + eni-snat, pod → pod on another node": "0.80 ≤ 1.10 met",
		"packets per second with 1000 containers ÷ plain router: per-eni by tcx, pod → pod on another node":    "0.80 ≥ 0.90 missed",
		"eni-ipam: peak memory, MB":                                                                            "10.2 ≤ 16.0 met",
		"eni-ptp: peak memory, MB":                                                                             "20.5 ≤ 16.0 missed",
		"eni-snat: size, MB":                                                                                   "6.00 ≤ 5.00 missed",
		"processes that stay between calls":                                                                    "0.00 ≤ 0.00 met",
	} {
		if verdicts[line] != want {
			t.Errorf("%s: %q, want %q", line, verdicts[line], want)
		}
	}
	r.left = errors.New("still running")
	r.layouts[1].refusal = errNoLayout
	for _, name := range []string{sameNode, otherNode} {
		for _, what := range []what{packets, roundTrip} {
			delete(r.record, point{what, carried(asked, name), 1000})
		}
	}
	for _, row := range r.barTable().rows {
		if strings.HasSuffix(row[0], "1: "+asked+", "+sameNode) && row[3] != "not measured" || strings.HasPrefix(row[0], "processes") && row[3] != "missed" {
			t.Errorf("%q", row)
		}
	}
}

// A process's last line has what all its threads did; one that cannot be read is not passed over.
func TestLastOf(t *testing.T) {
	want := map[int]ended{7: {"eni-ptp", 6000, 420}, 8: {"nothing", 2300, 170}}
	if diff := cmp.Diff(want, lastOf("eni-ptp 7 5000 100\nnothing 8 2300 170\neni-ptp 7 6000 420\n"), cmp.AllowUnexported(ended{})); diff != "" {
		t.Error(diff)
	}
	if got := lastOf("eni-ptp 7 6000\n"); got[0].name != "" || got[7].name != "" {
		t.Errorf("half a line gave %v", got)
	}
}

func TestTables(t *testing.T) {
	r := made()
	calls := r.callTable()
	if diff := cmp.Diff([]string{masq, "ADD", "10.0", "9.50–10.5", "10.8", "11.0", "10.0×"}, calls.rows[1]); diff != "" {
		t.Error(diff)
	}
	// Of an ADD of 1 ms and a DEL of as much.
	want := [][]string{
		{"3 processes that do nothing", "0.60", "60 %", "0.60", "60 %"},
		{"the start of eni-ptp beyond that: what is linked", "0.05", "5 %", "0.05", "5 %"},
		{"the link in the kernel, made or deleted", "0.10", "10 %", "0.40", "40 %"},
		{"pages that are touched first", "0.25", "25 %", "0.15", "15 %"},
		{"the rest: configuration, store, rules, marks, the result", "0.00", "0 %", "-0.20", "-20 %"},
		{"all", "1.00", "100 %", "1.00", "100 %"},
	}
	if diff := cmp.Diff(want, r.profileTable().rows); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"eni-ptp", "0.25 (0.24–0.26)", "1.25×", "200"}, r.startTable().rows[1]); diff != "" {
		t.Error(diff)
	}
	for _, made := range r.tables() {
		for _, row := range made.rows {
			if len(row) > len(made.head) {
				t.Errorf("%s: %d cells under %d heads: %q", made.title, len(row), len(made.head), row)
			}
		}
	}
	small := &table{title: "Title", note: "Note", head: []string{"a", "long"}, rows: [][]string{{"b→", "1"}}}
	if diff := cmp.Diff("Title\nNote\n  a   long \n  b→     1 \n", small.text()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("### Title\n\nNote\n\n| a | long |\n|---|--:|\n| b→ | 1 |\n", small.markdown()); diff != "" {
		t.Error(diff)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{
		math.NaN(): absent, math.Inf(1): absent, 0: "0.00", 0.123: "0.12", 9.996: "10.0", 12.34: "12.3", 123.4: "123", 1234: "1234", 12_345: "12.3k", 123_456: "123k",
	} {
		if got := figure(v); got != want {
			t.Errorf("%g is %q, want %q", v, got, want)
		}
	}
}

// The picture is XML; all that it draws is within it; and each series is named and drawn.
func TestPlot(t *testing.T) {
	picture := made().plot()
	decoder := xml.NewDecoder(strings.NewReader(picture))
	var err error
	for err == nil {
		_, err = decoder.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") {
		t.Error("a number is none")
	}
	size := regexp.MustCompile(`viewBox="0 0 (\S+) (\S+)"`).FindStringSubmatch(picture)
	limits := map[byte]float64{'x': number(t, size[1]), 'y': number(t, size[2])}
	for _, m := range regexp.MustCompile(` c?([xy])[12]?="([^"]+)"`).FindAllStringSubmatch(picture, -1) {
		if v := number(t, m[2]); v < 0 || v > limits[m[1][0]] {
			t.Errorf("%s is outside the picture", m[0])
		}
	}
	for _, name := range append(chainNames(), "plain router", asked+" + eni-snat", "per-eni by nftables", "ADDs per second", "packets per second", "a &lt;processor&gt;") {
		if !strings.Contains(picture, name) {
			t.Errorf("%s is not in the picture", name)
		}
	}
	// A dot for each median of a line: of five chains by containers and at once, of six carriers in six panels.
	r := made()
	want := 5*(len(r.Containers)+1+len(r.Crowds)) + 6*6*len(r.Containers)
	if got := strings.Count(picture, "<circle"); got != want {
		t.Errorf("%d medians are drawn, want %d", got, want)
	}
	if got := strings.Count(picture, "<rect"); got != 1+5*3 {
		t.Errorf("%d bars are drawn, want 15", got-1)
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestScale(t *testing.T) {
	linear := scaleOf([]float64{3, 90, math.NaN()}, false)
	if diff := cmp.Diff([]float64{0, 20, 40, 60, 80}, linear.ticks()); diff != "" {
		t.Error(diff)
	}
	if linear.at(0) != 0 || linear.at(90) >= 1 {
		t.Errorf("0 is at %g, 90 at %g", linear.at(0), linear.at(90))
	}
	log := scaleOf([]float64{3, 90}, true)
	if diff := cmp.Diff([]float64{5, 10, 20, 50, 100}, log.ticks(), cmp.Comparer(near)); diff != "" {
		t.Error(diff)
	}
	if a, b := log.at(20)-log.at(10), log.at(40)-log.at(20); !near(a, b) {
		t.Errorf("a doubling is %g, and then %g", a, b)
	}
	if none := scaleOf(nil, true); none.at(1) != 1 || len(none.ticks()) == 0 {
		t.Errorf("without values: %+v", none)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9*math.Max(1, math.Abs(a)) }

// The page has all tables, the bar first, and warns of a busy machine.
func TestPage(t *testing.T) {
	r := made()
	dir := t.TempDir()
	r.others, r.stolen = 0.25, 0.125
	r.layouts[1].refusal = errNoLayout
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, pageFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range r.tables() {
		if title := "# " + made.title + "\n"; strings.Count(string(text), title) != 1 || !strings.Contains(string(text), made.body()) {
			t.Errorf("the page does not have this, under its title and once:\n%s", made.markdown())
		}
	}
	for _, want := range []string{
		"was busy: 25.0 % of its processors' time went to other programs and 12.5 %", "`per-eni by tcx` was not measured: eni-ptp refuses it.",
		"](benchmarks.svg)", "a <processor>, 2 processors", "1 and with 1000 containers are measured", "plugins v1",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(string(text), "<no value>") {
		t.Error("the page has a place that nothing fills")
	}
	if r.others, r.stolen = 0.01, 0; r.warning() != "" {
		t.Errorf("a calm machine: %s", r.warning())
	}
}
