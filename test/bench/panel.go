package bench

// series is one line, or one colour of bars; a sample for each place on the horizontal axis.
type series struct {
	name   string
	ys     []sample
	limit  bool // a horizontal line: the first sample, wherever
	colour string
}

// panel is one diagram of the picture.
type panel struct {
	title, x, y string
	xs          []string // the places on the horizontal axis
	series      []series
	bars, log   bool
}

// frame is a panel's place in the picture, without its labels.
type frame struct{ left, top, width, height float64 }

// Colours that people tell apart, whatever they see (Okabe and Ito).
func colours() []string {
	return []string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"}
}

func (p *panel) draw(d *drawing, f frame) {
	s := p.scale()
	y := func(v float64) float64 { return f.top + f.height*(1-s.at(v)) }
	d.text(f.left, f.top-10, "start", 13, "bold", p.title, false)
	for _, tick := range s.ticks() {
		d.line(f.left, y(tick), f.left+f.width, y(tick), "#e4e4e4", 1, "")
		d.text(f.left-6, y(tick)+4, "end", 11, "normal", tickLabel(tick), false)
	}
	d.line(f.left, f.top, f.left, f.top+f.height, "#555", 1, "")
	d.line(f.left, f.top+f.height, f.left+f.width, f.top+f.height, "#555", 1, "")
	for i, label := range p.xs {
		d.text(f.middle(i, len(p.xs)), f.top+f.height+16, "middle", 11, "normal", label, false)
	}
	d.text(f.left+f.width/2, f.top+f.height+32, "middle", 11, "normal", p.x, false)
	d.text(f.left-44, f.top+f.height/2, "middle", 11, "normal", p.y, true)
	for i := range p.series {
		if p.bars {
			p.drawBars(d, f, y, i)
		} else {
			p.drawLine(d, f, y, p.series[i])
		}
	}
}

// middle is where a place on the horizontal axis is.
func (f frame) middle(i, of int) float64 { return f.left + f.width*(float64(i)+0.5)/float64(of) }

// scale has room for the quartiles of all.
func (p *panel) scale() scale {
	var all []float64
	for _, s := range p.series {
		for _, y := range s.ys {
			all = append(all, y.quantile(0.25), y.median(), y.quantile(0.75))
		}
	}
	return scaleOf(all, p.log)
}

// drawLine draws the medians and, as whiskers, the quartiles.
func (p *panel) drawLine(d *drawing, f frame, y func(float64) float64, s series) {
	if s.limit {
		if len(s.ys) > 0 && len(s.ys[0]) > 0 {
			at := y(s.ys[0].median())
			d.line(f.left, at, f.left+f.width, at, s.colour, 1.5, "5 3")
		}
		return
	}
	var lastX, lastY float64
	begun := false
	for i, sample := range s.ys {
		if len(sample) == 0 {
			begun = false
			continue
		}
		x, at := f.middle(i, len(p.xs)), y(sample.median())
		if begun {
			d.line(lastX, lastY, x, at, s.colour, 2, "")
		}
		d.line(x, y(sample.quantile(0.25)), x, y(sample.quantile(0.75)), s.colour, 1, "")
		d.dot(x, at, s.colour)
		lastX, lastY, begun = x, at, true
	}
}

// drawBars draws the bars of one of the series, beside those of the others.
func (p *panel) drawBars(d *drawing, f frame, y func(float64) float64, which int) {
	s := p.series[which]
	place := f.width / float64(len(p.xs)) * 0.8
	width := place / float64(len(p.series))
	bottom := f.top + f.height
	for i, sample := range s.ys {
		if len(sample) == 0 {
			continue
		}
		x := f.middle(i, len(p.xs)) - place/2 + width*float64(which)
		top := y(sample.median())
		d.rect(x, top, width*0.9, bottom-top, s.colour)
		d.line(x+width*0.45, y(sample.quantile(0.25)), x+width*0.45, y(sample.quantile(0.75)), "#222", 1, "")
	}
}
