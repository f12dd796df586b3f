package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is one of the report's. Columns after the first are figures.
type table struct {
	title string
	note  string // what the figures are
	head  []string
	rows  [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// text is the table for a terminal.
func (t *table) text() string {
	lines := t.lines()
	width := make([]int, len(t.head))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", t.title)
	if t.note != "" {
		fmt.Fprintf(&b, "%s\n", t.note)
	}
	for _, line := range lines {
		b.WriteString(" ")
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				cell += pad
			} else {
				cell = pad + cell
			}
			b.WriteString(" " + cell + " ")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// markdown is the table for a document, under its title.
func (t *table) markdown() string { return fmt.Sprintf("### %s\n\n%s", t.title, t.body()) }

// body is the same without the title.
func (t *table) body() string {
	var b strings.Builder
	if t.note != "" {
		fmt.Fprintf(&b, "%s\n\n", t.note)
	}
	for i, line := range t.lines() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---%s|\n", strings.Repeat("|--:", len(t.head)-1))
		}
	}
	return b.String()
}

// lines are the head and the rows, all with as many cells.
func (t *table) lines() [][]string {
	lines := [][]string{t.head}
	for _, r := range t.rows {
		lines = append(lines, append(slices.Clone(r), make([]string, len(t.head)-len(r))...))
	}
	return lines
}

// absent stands for what was not measured.
const absent = "–"

// figure writes a number with three digits that count; absent for NaN.
func figure(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return absent
	case v >= 99_950:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 9_995:
		return fmt.Sprintf("%.1fk", v/1000)
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// spread is a median with its quartiles.
func spread(s sample) string {
	if len(s) == 0 {
		return absent
	}
	return fmt.Sprintf("%s (%s–%s)", figure(s.median()), figure(s.quantile(0.25)), figure(s.quantile(0.75)))
}

// times writes a ratio.
func times(ratio float64) string {
	if s := figure(ratio); s != absent {
		return s + "×"
	}
	return absent
}
