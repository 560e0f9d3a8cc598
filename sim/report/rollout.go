package report

import (
	"fmt"
	"slices"
)

// wavesChart draws how each deployment, or each wave of it, spread.
func wavesChart(r *Result) string {
	if len(r.Deployments) == 0 {
		return ""
	}
	p := &plot{
		svg:  newSVG(rowHeight*float64(len(r.Deployments))+axisHeight+8, "how deployments spread"),
		last: max(1, r.LastMS),
	}
	p.bottom = rowHeight*float64(len(r.Deployments)) + 4
	for i := range r.Deployments {
		p.deployed(r, &r.Deployments[i], rowHeight*float64(i)+4)
	}
	p.times()
	return p.String()
}

func (p *plot) deployed(r *Result, d *Deployed, y float64) {
	end := r.LastMS
	if d.AllMS >= 0 {
		end = d.AtMS + d.AllMS
	}
	title := fmt.Sprintf("%s: half %s, 95%% %s, all %s", d.title(), took(d.HalfMS), took(d.MostMS),
		took(d.AllMS))
	if d.EndMS > 0 { // a wave is watched for longer than it takes to spread
		end = max(end, d.EndMS)
		title += ", " + d.became()
	}
	p.rect(box{p.x(d.AtMS), y, max(3, p.x(end)-p.x(d.AtMS)), rowHeight - 6, waveClass(d) + " pale", title})
	for _, reached := range []int64{d.MostMS, d.HalfMS} {
		if reached >= 0 {
			p.rect(box{
				p.x(d.AtMS), y, max(2, p.x(d.AtMS+reached)-p.x(d.AtMS)), rowHeight - 6,
				waveClass(d) + " half", title,
			})
		}
	}
	words := fmt.Sprintf("%s · %s of %s", d.title(), count(uint64(d.Reached)), count(uint64(d.Agents)))
	if d.Outcome != "" {
		words += " · " + d.Outcome
	}
	if x := p.x(end) + 8; x < plotRight-300 {
		p.text(point{x, y + 13}, "axis", words)
	} else {
		p.text(point{p.x(d.AtMS) + 6, y + 12}, "inside", words)
	}
}

func waveClass(d *Deployed) string {
	if d.Outcome == WaveReturned || d.Outcome == WaveWaits {
		return "bad"
	}
	return "c1"
}

// funnelChart draws how far each rollout came: a bar for each wave, as wide as the part of the
// fleet that was given the change by then, and in it that which has it.
func funnelChart(r *Result) string {
	var waves []*Deployed
	for i := range r.Deployments {
		if r.Deployments[i].Wave > 0 {
			waves = append(waves, &r.Deployments[i])
		}
	}
	if len(waves) == 0 {
		return ""
	}
	slices.SortStableFunc(waves, func(a, b *Deployed) int { return rolloutOf(r, a) - rolloutOf(r, b) })
	s := newSVG(rowHeight*float64(len(waves))+4, "how far rollouts came, wave by wave")
	const middle, widest = 440.0, 480.0
	given, reached := 0, 0
	for i, d := range waves {
		if i == 0 || rolloutOf(r, waves[i-1]) != rolloutOf(r, d) {
			given, reached = 0, 0
		}
		given, reached = given+d.Agents, reached+d.Reached
		y := rowHeight*float64(i) + 4
		wide := func(n int) float64 { return max(2, widest*float64(n)/float64(max(1, r.Agents))) }
		title := fmt.Sprintf("%s: given to %d, had by %d of %d agents", d.title(), given, reached, r.Agents)
		s.rect(box{middle - wide(given)/2, y, wide(given), rowHeight - 6, waveClass(d) + " pale", title})
		s.rect(box{middle - wide(reached)/2, y, wide(reached), rowHeight - 6, waveClass(d) + " solid", title})
		s.text(point{rowLeft - 10, y + 13}, "axis end", d.title())
		words := fmt.Sprintf("%s · %s", percent(reached, r.Agents), moment(d.AtMS))
		if d.Outcome != "" {
			words += " · " + d.became()
		}
		s.text(point{middle + widest/2 + 8, y + 13}, "axis", clipped(words, 50))
	}
	return s.String()
}

// rolloutOf tells the rollouts of a result apart: by the first wave at or before d.
func rolloutOf(r *Result, d *Deployed) (first int) {
	for i := range r.Deployments {
		o := &r.Deployments[i]
		if o.Workflow == d.Workflow && o.Wave == 1 && o.AtMS <= d.AtMS {
			first = i
		}
	}
	return first
}

// clipped shortens what is written beside a picture.
func clipped(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
