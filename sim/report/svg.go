package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// An svg is one picture under way. Colours come from the page's classes, so that one
// picture serves light and dark.
type svg struct {
	b strings.Builder
}

// newSVG begins a picture of standard width and so many units high. label is for those
// who do not see it.
func newSVG(h float64, label string) *svg {
	s := &svg{}
	fmt.Fprintf(
		&s.b,
		`<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`,
		num(wide),
		num(h),
		html.EscapeString(label),
	)
	return s
}

func (s *svg) String() string { return s.b.String() + "</svg>" }

// A box is a rectangle of a class; title is shown to who points at it.
type box struct {
	x, y, w, h float64
	class      string
	title      string
}

func (s *svg) rect(r box) {
	fmt.Fprintf(
		&s.b,
		`<rect x="%s" y="%s" width="%s" height="%s" class="%s"`,
		num(r.x),
		num(r.y),
		num(max(0, r.w)),
		num(max(0, r.h)),
		r.class,
	)
	if r.title == "" {
		s.b.WriteString("/>")
		return
	}
	fmt.Fprintf(&s.b, `><title>%s</title></rect>`, html.EscapeString(r.title))
}

// line draws a straight line from one point to another.
func (s *svg) line(from, to point, class string) {
	fmt.Fprintf(
		&s.b,
		`<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`,
		num(from.x),
		num(from.y),
		num(to.x),
		num(to.y),
		class,
	)
}

type point struct{ x, y float64 }

// path draws a line through points; with floor it is filled down to that y.
func (s *svg) path(points []point, class string, floor float64) {
	if len(points) == 0 {
		return
	}
	s.b.WriteString(`<path d="`)
	for i, p := range points {
		s.b.WriteByte("ML"[min(i, 1)])
		s.b.WriteString(num(p.x) + " " + num(p.y))
	}
	if floor > 0 {
		fmt.Fprintf(&s.b, "L%s %sL%s %sZ", num(points[len(points)-1].x), num(floor), num(points[0].x), num(floor))
	}
	fmt.Fprintf(&s.b, `" class="%s"/>`, class)
}

// text writes at a point; class says how and on which side.
func (s *svg) text(at point, class, words string) {
	fmt.Fprintf(
		&s.b,
		`<text x="%s" y="%s" class="%s">%s</text>`,
		num(at.x),
		num(at.y),
		class,
		html.EscapeString(words),
	)
}

// num writes a coordinate to a tenth.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// The plot's place within a picture of standard width.
const (
	wide       = 1000.0
	plotLeft   = 70.0
	plotRight  = 985.0
	plotTop    = 12.0
	axisHeight = 24.0
)

// A plot is a picture with time from left to right and numbers upwards.
type plot struct {
	*svg
	last   int64   // the end of the time, in milliseconds
	most   float64 // the top
	bottom float64 // y of nothing
}

// newPlot begins a plot with its grid. label writes a number of the upward axis.
func newPlot(last int64, most float64, name string, label func(float64) string) *plot {
	p := &plot{
		svg:    newSVG(chartHeight+axisHeight, name),
		last:   max(1, last),
		most:   niceTop(most),
		bottom: chartHeight,
	}
	const steps = 4
	for i := range steps + 1 {
		v := p.most * float64(i) / steps
		y := p.y(v)
		p.line(point{plotLeft, y}, point{plotRight, y}, "grid")
		if i%2 == 0 {
			p.text(point{plotLeft - 8, y + 4}, "axis end", label(v))
		}
	}
	p.times()
	return p
}

// times writes the time under the plot, at whole hours or days.
func (p *plot) times() {
	step := timeStep(p.last)
	for at := int64(0); at <= p.last; at += step {
		p.line(point{p.x(at), p.bottom}, point{p.x(at), p.bottom + 4}, "tick")
		p.text(point{p.x(at), p.bottom + 18}, "axis middle", took(at))
	}
}

// timeStep returns the time between two marks, such that there are at most ten.
func timeStep(last int64) int64 {
	const second, minute, hour, day = 1000, 60_000, 3_600_000, 86_400_000
	for _, step := range []int64{
		second, 5 * second, 15 * second, minute, 5 * minute, 15 * minute,
		hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day,
		5 * day, 10 * day, 25 * day, 50 * day, 100 * day,
	} {
		if last/step <= 10 {
			return step
		}
	}
	return last/10 + 1
}

func (p *plot) x(ms int64) float64 {
	return plotLeft + (plotRight-plotLeft)*float64(min(max(ms, 0), p.last))/float64(p.last)
}

func (p *plot) y(v float64) float64 {
	return p.bottom - (p.bottom-plotTop)*min(max(v, 0), p.most)/p.most
}

// niceTop returns the next round number.
func niceTop(v float64) float64 {
	if v <= 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 5, 8, 10} {
		if v <= m*unit*1.0001 {
			return m * unit
		}
	}
	return 10 * unit
}
