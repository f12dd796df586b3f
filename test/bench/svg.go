package bench

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// drawing is an SVG in the making.
type drawing struct {
	width, height float64
	body          strings.Builder
}

// svg is the whole picture.
func (d *drawing) svg() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" font-family="Helvetica, Arial, sans-serif">
<rect width="100%%" height="100%%" fill="#fff"/>
%s</svg>
`, d.width, d.height, d.width, d.height, d.body.String())
}

func (d *drawing) line(x1, y1, x2, y2 float64, colour string, width float64, dash string) {
	if dash != "" {
		dash = fmt.Sprintf(` stroke-dasharray="%s"`, dash)
	}
	fmt.Fprintf(&d.body, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"%s/>`+"\n", x1, y1, x2, y2, colour, width, dash)
}

func (d *drawing) rect(x, y, width, height float64, colour string) {
	fmt.Fprintf(&d.body, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, colour)
}

func (d *drawing) dot(x, y float64, colour string) {
	fmt.Fprintf(&d.body, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, colour)
}

// text writes; anchor is "start", "middle" or "end". A turned one reads from the bottom up.
func (d *drawing) text(x, y float64, anchor string, size float64, weight, s string, turned bool) {
	turn := ""
	if turned {
		turn = fmt.Sprintf(` transform="rotate(-90 %.1f %.1f)"`, x, y)
	}
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(s)) // a strings.Builder refuses nothing
	fmt.Fprintf(&d.body, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%g" font-weight="%s" fill="#222"%s>%s</text>`+"\n",
		x, y, anchor, size, weight, turn, escaped.String())
}

// scale is a vertical axis: from where to where, and whether equal steps are equal ratios.
type scale struct {
	low, high float64
	log       bool
}

// scaleOf has room for all values, and begins at 0 where it is not logarithmic.
func scaleOf(values []float64, log bool) scale {
	s := scale{math.Inf(1), math.Inf(-1), log}
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			s.low, s.high = min(s.low, v), max(s.high, v)
		}
	}
	switch {
	case s.high <= 0 || s.low > s.high: // nothing, or nothing but zeros
		s.low, s.high = 0, 1
		s.log = false
	case !log:
		s.low, s.high = 0, s.high*1.08
	default:
		s.low, s.high = max(s.low, s.high/1e6)/1.3, s.high*1.3
	}
	return s
}

// at is where a value is, from 0 at the bottom to 1 at the top.
func (s scale) at(v float64) float64 {
	if s.log {
		return (math.Log(max(v, s.low)) - math.Log(s.low)) / (math.Log(s.high) - math.Log(s.low))
	}
	return (v - s.low) / (s.high - s.low)
}

// ticks are round numbers on the axis: steps of 1, 2 or 5 times a power of ten.
func (s scale) ticks() []float64 {
	var all []float64
	if s.log {
		for e := math.Floor(math.Log10(s.low)); e <= math.Log10(s.high); e++ {
			for _, m := range []float64{1, 2, 5} {
				if v := m * math.Pow(10, e); v >= s.low && v <= s.high {
					all = append(all, v)
				}
			}
		}
		return all
	}
	step := roundUp((s.high - s.low) / 5)
	for i := 0; float64(i)*step <= s.high; i++ {
		all = append(all, float64(i)*step)
	}
	return all
}

// roundUp is the next of 1, 2 and 5 times a power of ten.
func roundUp(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}

// tickLabel writes a number on an axis.
func tickLabel(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%gk", v/1000)
	}
	return fmt.Sprintf("%g", math.Round(v*1e6)/1e6)
}
