package bench

import "fmt"

// The picture's measures, in units of SVG.
const (
	panelWidth  = 350
	panelHeight = 270
	columns     = 3
	legendLine  = 18
)

// plot is the picture of the run: the calls in the first row, the packets below.
func (r *Results) plot() string {
	calls, packets := r.callPanels(), r.packetPanels()
	d := &drawing{width: columns*panelWidth + 20}
	y := drawGroup(d, 10, calls)
	y = drawGroup(d, y+14, packets)
	d.text(20, y+14, "start", 11, "normal", fmt.Sprintf(
		"Medians of one run, whiskers are quartiles. %s, %d processors, Linux %s, %s.", r.machine.cpu, r.machine.cpus, r.machine.kernel,
		r.machine.when.Format("2 January 2006")), false)
	d.height = y + 30
	return d.svg()
}

// drawGroup draws panels of the same series under a legend, and returns where it ends.
func drawGroup(d *drawing, top float64, panels []*panel) float64 {
	x, y := 20.0, top+12
	for _, s := range panels[0].series {
		width := 44 + 6.2*float64(len([]rune(s.name)))
		if x+width > d.width {
			x, y = 20, y+legendLine
		}
		dash := ""
		if s.limit {
			dash = "5 3"
		}
		d.line(x, y-4, x+22, y-4, s.colour, 3, dash)
		d.text(x+28, y, "start", 12, "normal", s.name, false)
		x += width
	}
	for i, p := range panels {
		p.draw(d, frame{
			left: 20 + float64(i%columns)*panelWidth + 48, top: y + 34 + float64(i/columns)*panelHeight,
			width: panelWidth - 76, height: panelHeight - 90,
		})
	}
	rows := (len(panels) + columns - 1) / columns
	return y + float64(rows)*panelHeight
}

func (r *Results) callPanels() []*panel {
	compared := &panel{title: "A container's life", x: fmt.Sprintf("verb, %d containers on the node", r.Few), y: "ms", xs: []string{"ADD", "CHECK", "DEL"}, bars: true}
	among := &panel{title: "ADD by containers on the node", x: "containers on the node", y: "ms (logarithmic)", log: true}
	crowds := &panel{title: "ADDs at once", x: "ADDs at once", y: "ADDs per second"}
	counts := r.ats(addAmong, ours)
	among.xs, crowds.xs = labels(counts), labels(r.Crowds)
	for i, name := range chainNames() {
		compared.series = append(compared.series, r.line(i, name, point{add, name, 0}, point{check, name, 0}, point{del, name, 0}))
		among.series = append(among.series, r.line(i, name, pointsOf(addAmong, name, counts)...))
		crowds.series = append(crowds.series, r.line(i, name, pointsOf(addsAtOnce, name, r.Crowds)...))
	}
	return []*panel{compared, among, crowds}
}

func (r *Results) packetPanels() []*panel {
	var panels []*panel
	for _, where := range []string{sameNode, otherNode} {
		for _, quantity := range []what{packets, roundTrip, connects} {
			p := &panel{title: where, x: "containers on the sender's node", y: string(quantity), xs: labels(r.Containers)}
			limit := series{name: router, ys: []sample{r.record[point{quantity, carried(router, where), 0}]}, limit: true, colour: "#444"}
			p.series = []series{limit}
			for i, name := range r.carriers() {
				p.series = append(p.series, r.line(i, name, pointsOf(quantity, carried(name, where), r.Containers)...))
			}
			panels = append(panels, p)
		}
	}
	return panels
}

// line is a series of what was observed at points.
func (r *Results) line(number int, name string, points ...point) series {
	s := series{name: name, colour: colours()[number%len(colours())]}
	for _, p := range points {
		s.ys = append(s.ys, r.record[p])
	}
	return s
}

func pointsOf(what what, of string, ats []int) []point {
	var points []point
	for _, at := range ats {
		points = append(points, point{what, of, at})
	}
	return points
}

func labels(numbers []int) []string {
	var all []string
	for _, n := range numbers {
		all = append(all, fmt.Sprint(n))
	}
	return all
}
