package report

import (
	"fmt"
	"math"
	"strings"
)

// latencyChart draws the quantiles of the time from firing to delivery, of each sample that
// had a delivery. Its scale is logarithmic: an outage is hours where a day is milliseconds.
func latencyChart(r *Result) string {
	most := int64(0)
	for i := range r.Samples {
		most = max(most, r.Samples[i].P99MS)
	}
	if most == 0 {
		return ""
	}
	p := newPlot(r.LastMS, math.Ceil(decades(most)), "firing to delivery over time, logarithmic",
		func(v float64) string {
			return took(int64(math.Pow(10, v)))
		})
	p.bands(r)
	p.quantile(r, "c3", func(s *Sample) int64 { return s.P99MS })
	p.quantile(r, "c2", func(s *Sample) int64 { return s.P95MS })
	p.quantile(r, "c1", func(s *Sample) int64 { return s.P50MS })
	return p.String()
}

// decades is where a time stands on a logarithmic scale; 1 ms and less is its foot.
func decades(ms int64) float64 { return math.Log10(max(1, float64(ms))) }

// quantile draws one quantile; where nothing was delivered there is a gap.
func (p *plot) quantile(r *Result, class string, of func(*Sample) int64) {
	var part []point
	draw := func() {
		if len(part) == 1 { // a point alone would not be seen
			part = append(part, point{part[0].x + 2, part[0].y})
		}
		p.path(part, class+" stroke", 0)
		part = nil
	}
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.Delivered == 0 {
			draw()
			continue
		}
		part = append(part, point{p.x(s.AtMS), p.y(decades(of(s)))})
	}
	draw()
}

// aroundMost bounds the faults that are told of one by one.
const aroundMost = 25

// span is what the samples of a time say.
type span struct {
	samples           int
	ended, failed     uint64
	online, converged float64 // shares of the fleet, the mean
	p95               int64   // the worst
	backlog           uint64  // the most
}

// between gathers the samples after from and up to to.
func (r *Result) between(from, to int64) (out span) {
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.AtMS <= from || s.AtMS > to {
			continue
		}
		out.samples++
		out.ended, out.failed = out.ended+s.Ended, out.failed+s.Failed
		out.online += float64(s.Online)
		out.converged += float64(s.Converged)
		out.p95, out.backlog = max(out.p95, s.P95MS), max(out.backlog, s.Backlog)
	}
	n := float64(max(1, out.samples)) * float64(max(1, r.Agents))
	out.online, out.converged = out.online/n, out.converged/n
	return out
}

// around returns what was before a fault, while it lasted and after it, each for as long as it
// lasted and for no less than some samples.
func (r *Result) around(f *Fault) (spans [3]span) {
	step := r.LastMS / int64(max(1, len(r.Samples)))
	long := max(f.ForMS, 3*step)
	end := f.AtMS + max(f.ForMS, step)
	return [3]span{r.between(f.AtMS-long, f.AtMS), r.between(f.AtMS, end), r.between(end, end+long)}
}

// faultsAround is a table of each fault with what was before, while it lasted and after.
func (p *page) faultsAround(r *Result) {
	if len(r.Faults) == 0 || len(r.Samples) == 0 {
		return
	}
	p.raw("<section class=\"card\"><h2>Before, during and after each fault</h2>" +
		"<div class=\"scroll\"><table><thead><tr>")
	for _, h := range []string{"fault", "at", "online", "converged", "ended", "failed", "p95", "backlog"} {
		p.tag("th", "", h)
	}
	p.raw("</tr></thead><tbody>")
	for i := range r.Faults {
		if i == aroundMost {
			p.raw("<tr>")
			p.tag("td", "", fmt.Sprintf("and %d more", len(r.Faults)-i))
			p.raw("</tr>")
			break
		}
		p.faultAround(r, &r.Faults[i])
	}
	p.raw("</tbody></table></div></section>\n")
}

func (p *page) faultAround(r *Result, f *Fault) {
	spans := r.around(f)
	p.raw("<tr>")
	p.tag("td", "", fmt.Sprintf("#%d %s", f.Index, f.What))
	p.tag("td", "", moment(f.AtMS))
	for _, of := range []func(*span) string{
		func(s *span) string { return share(s.online) },
		func(s *span) string { return share(s.converged) },
		func(s *span) string { return count(s.ended) },
		func(s *span) string { return count(s.failed) },
		func(s *span) string { return took(s.p95) },
		func(s *span) string { return size(s.backlog) },
	} {
		words := make([]string, len(spans))
		for i := range spans {
			if words[i] = "-"; spans[i].samples > 0 {
				words[i] = of(&spans[i])
			}
		}
		p.tag("td", "", strings.Join(words, " → "))
	}
	p.raw("</tr>")
}

func share(v float64) string { return percent(int(math.Round(v*10_000)), 10_000) }
