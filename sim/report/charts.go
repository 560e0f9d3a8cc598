package report

import (
	"fmt"
	"slices"
	"strings"
)

const chartHeight = 190.0

// bands draws when faults lasted, behind whatever comes next.
func (p *plot) bands(r *Result) {
	for _, f := range r.Faults {
		if f.ForMS > 0 {
			p.rect(
				box{p.x(f.AtMS), plotTop, max(1, p.x(f.AtMS+f.ForMS)-p.x(f.AtMS)), p.bottom - plotTop, "band", ""},
			)
		}
	}
	for _, d := range r.Deployments {
		p.line(point{p.x(d.AtMS), plotTop}, point{p.x(d.AtMS), p.bottom}, "mark")
	}
}

// curve draws one number of every sample.
func (p *plot) curve(r *Result, class string, filled bool, of func(*Sample) float64) {
	points := make([]point, len(r.Samples))
	for i := range r.Samples {
		points[i] = point{p.x(r.Samples[i].AtMS), p.y(of(&r.Samples[i]))}
	}
	if filled {
		p.path(points, class+" area", p.bottom)
	}
	p.path(points, class+" stroke", 0)
}

func convergenceChart(r *Result) string {
	p := newPlot(r.LastMS, 100, "agents online and converged over time", func(v float64) string {
		return num(v) + "%"
	})
	p.bands(r)
	share := func(n int) float64 { return 100 * float64(n) / float64(max(1, r.Agents)) }
	p.curve(r, "c2", false, func(s *Sample) float64 { return share(s.Online) })
	p.curve(r, "c1", true, func(s *Sample) float64 { return share(s.Converged) })
	return p.String()
}

// runsChart draws bars of what ended, what failed of it on top, and a line of what
// fired.
func runsChart(r *Result) string {
	most := uint64(0)
	for _, s := range r.Samples {
		most = max(most, s.Fired, s.Ended)
	}
	p := newPlot(r.LastMS, float64(most), "runs and errors over time", countLabel)
	p.bands(r)
	before := int64(0)
	for _, s := range r.Samples {
		left, right := p.x(before), p.x(s.AtMS)
		before = s.AtMS
		gap := min(1, (right-left)/5)
		title := fmt.Sprintf(
			"%s: %s fired, %s ended, %s failed",
			moment(s.AtMS),
			count(s.Fired),
			count(s.Ended),
			count(s.Failed),
		)
		y := p.y(float64(s.Ended))
		p.rect(box{left, y, right - left - gap, p.bottom - y, "c1 solid", title})
		if s.Failed > 0 {
			height := max(2, p.bottom-p.y(float64(s.Failed)))
			p.rect(box{left, y, right - left - gap, height, "bad solid", title})
		}
	}
	p.curve(r, "c2", false, func(s *Sample) float64 { return float64(s.Fired) })
	return p.String()
}

func countLabel(v float64) string {
	if v < 1 {
		return num(v)
	}
	if v >= 10_000 {
		return three(v/1000) + "k"
	}
	return num(v)
}

func backlogChart(r *Result) string {
	most := uint64(0)
	for _, s := range r.Samples {
		most = max(most, s.Backlog)
	}
	p := newPlot(r.LastMS, float64(most), "bytes waiting in outboxes over time", sizeLabel)
	p.bands(r)
	p.curve(r, "c3", true, func(s *Sample) float64 { return float64(s.Backlog) })
	return p.String()
}

func bytesChart(r *Result) string {
	most := uint64(0)
	for _, s := range r.Samples {
		most = max(most, s.BytesUp, s.BytesDown)
	}
	p := newPlot(r.LastMS, float64(most), "bytes up and down over time", sizeLabel)
	p.bands(r)
	p.curve(r, "c1", true, func(s *Sample) float64 { return float64(s.BytesUp) })
	p.curve(r, "c2", false, func(s *Sample) float64 { return float64(s.BytesDown) })
	return p.String()
}

func sizeLabel(v float64) string { return size(uint64(v)) }

const (
	rowHeight = 22.0
	rowLeft   = 190.0
	sitesMost = 20
)

// sitesChart draws the bytes of the sites that sent and got most.
func sitesChart(r *Result) string {
	var sites []Site
	for _, g := range r.Groups {
		sites = append(sites, g.Sites...)
	}
	slices.SortStableFunc(sites, func(a, b Site) int {
		x, y := a.BytesUp+a.BytesDown, b.BytesUp+b.BytesDown
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	sites = sites[:min(len(sites), sitesMost)]
	if len(sites) == 0 {
		return ""
	}
	most := float64(max(1, sites[0].BytesUp+sites[0].BytesDown))
	s := newSVG(rowHeight*float64(len(sites))+4, "bytes by site")
	const end = plotRight - 90
	for i, site := range sites {
		y := rowHeight*float64(i) + 4
		up := (end - rowLeft) * float64(site.BytesUp) / most
		down := (end - rowLeft) * float64(site.BytesDown) / most
		s.text(point{rowLeft - 10, y + 13}, "axis end", site.Name)
		s.rect(
			box{rowLeft, y, up, rowHeight - 6, "c1 solid", fmt.Sprintf("%s: %s up", site.Name, size(site.BytesUp))},
		)
		s.rect(
			box{
				rowLeft + up,
				y,
				down,
				rowHeight - 6,
				"c2 solid",
				fmt.Sprintf("%s: %s down", site.Name, size(site.BytesDown)),
			},
		)
		s.text(point{rowLeft + up + down + 8, y + 13}, "axis", size(site.BytesUp+site.BytesDown))
	}
	return s.String()
}

// faultsChart draws a row for each kind of fault.
func faultsChart(r *Result) string {
	var kinds []string
	for _, f := range r.Faults {
		if !slices.Contains(kinds, f.What) {
			kinds = append(kinds, f.What)
		}
	}
	if len(kinds) == 0 {
		return ""
	}
	p := &plot{
		svg:  newSVG(rowHeight*float64(len(kinds))+axisHeight+8, "timeline of faults"),
		last: max(1, r.LastMS),
	}
	p.bottom = rowHeight*float64(len(kinds)) + 4
	for i, k := range kinds {
		y := rowHeight*float64(i) + 4
		p.rect(box{plotLeft, y, plotRight - plotLeft, rowHeight - 6, "lane", ""})
		for _, f := range r.Faults {
			if f.What != k {
				continue
			}
			p.rect(
				box{p.x(f.AtMS), y, max(3, p.x(f.AtMS+f.ForMS)-p.x(f.AtMS)), rowHeight - 6, "bad half", faultTitle(&f)},
			)
		}
		p.text(point{plotLeft + 6, y + 12}, "inside", k)
	}
	p.times()
	return p.String()
}

func faultTitle(f *Fault) string {
	text := fmt.Sprintf("%s at %s", f.What, moment(f.AtMS))
	if f.ForMS > 0 {
		text += " for " + took(f.ForMS)
	}
	if f.Agents > 0 {
		text += ", " + plural(uint64(f.Agents), "agent", "agents")
	}
	if len(f.Names) > 0 {
		text += ": " + strings.Join(f.Names, ", ")
	}
	return strings.TrimSpace(text + " " + f.Detail)
}

// slowestChart draws the slowest runs, each step a part of its bar.
func slowestChart(r *Result) string {
	if len(r.Slowest) == 0 {
		return ""
	}
	most := int64(1)
	for _, run := range r.Slowest {
		most = max(most, run.TookMS)
	}
	s := newSVG(rowHeight*float64(len(r.Slowest))+4, "the slowest runs")
	const end = plotRight - 90
	for i, run := range r.Slowest {
		y := rowHeight*float64(i) + 4
		s.text(point{rowLeft - 10, y + 13}, "axis end", run.Agent)
		before := run.FiredMS
		for n, step := range run.Steps {
			from := rowLeft + (end-rowLeft)*float64(before-run.FiredMS)/float64(most)
			to := rowLeft + (end-rowLeft)*float64(step.AtMS-run.FiredMS)/float64(most)
			class := "c" + fmt.Sprint(1+n%3) + " solid"
			if step.Code != "" && step.Code != "ok" {
				class = "bad solid"
			}
			title := fmt.Sprintf(
				"%s %s: %s on %s took %s, %s",
				run.Workflow,
				moment(run.FiredMS),
				step.Step,
				step.Agent,
				took(max(0, step.AtMS-before)),
				step.Code,
			)
			s.rect(box{from, y, max(2, to-from), rowHeight - 6, class, title})
			before = max(before, step.AtMS)
		}
		x := rowLeft + (end-rowLeft)*float64(run.TookMS)/float64(most)
		s.text(point{x + 8, y + 13}, "axis", took(run.TookMS))
	}
	return s.String()
}
