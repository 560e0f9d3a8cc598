package report

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// WriteHTML writes one page that needs nothing else: no script but the slider's, no
// network, light and dark.
func WriteHTML(w io.Writer, r *Result) error {
	p := &page{}
	p.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>")
	p.text(r.Scenario + ", seed " + fmt.Sprint(r.Seed))
	p.raw("</title>\n<style>" + style + "</style></head>\n<body><main>\n")
	p.head(r)
	p.verdict(r)
	p.figure("Convergence", "agents", legend("c1", "converged", "c2", "online"), convergenceChart(r))
	p.figure(
		"Runs and errors",
		"per sample",
		legend("c1", "ended", "bad", "failed", "c2", "fired"),
		runsChart(r),
	)
	p.figure("Latency", "firing to delivery", legend("c1", "p50", "c2", "p95", "c3", "p99"), latencyChart(r))
	p.figure("Faults", "", "", faultsChart(r))
	p.faultsAround(r)
	p.figure("Deployments", "half, 95% and all of the agents", "", wavesChart(r))
	p.figure("Waves", "how much of the fleet was given a change, and has it", "", funnelChart(r))
	p.figure("Backlog", "bytes waiting in outboxes", "", backlogChart(r))
	p.figure("Bytes", "per sample", legend("c1", "up", "c2", "down"), bytesChart(r))
	p.figure("The fleet", "a cell for each site", "", heatMap(r))
	p.figure(
		"Bytes by site",
		fmt.Sprintf("the %d with most", sitesMost),
		legend("c1", "up", "c2", "down"),
		sitesChart(r),
	)
	p.figure("The slowest runs", "a part for each step", "", slowestChart(r))
	p.groups(r)
	p.options(r)
	p.raw("</main></body></html>\n")
	_, err := io.WriteString(w, p.b.String())
	return err
}

// A page is HTML under way. What is not raw is escaped.
type page struct{ b strings.Builder }

func (p *page) raw(s string)  { p.b.WriteString(s) }
func (p *page) text(s string) { p.b.WriteString(html.EscapeString(plainText(s))) }

// tag writes an element that holds a text.
func (p *page) tag(name, class, text string) {
	p.raw("<" + name)
	if class != "" {
		p.raw(` class="` + class + `"`)
	}
	p.raw(">")
	p.text(text)
	end, _, _ := strings.Cut(name, " ")
	p.raw("</" + end + ">")
}

func (p *page) head(r *Result) {
	p.raw("<header><div>")
	p.tag("h1", "", r.Scenario)
	p.tag("p", "sub", fmt.Sprintf("seed %d · %s · %s · %s simulated%s", r.Seed, r.Level,
		plural(uint64(r.Agents), "agent", "agents"), took(r.LastMS), r.speed()))
	p.raw("</div>")
	if r.Broken() {
		p.tag("p", "pill broken", "broken")
	} else {
		p.tag("p", "pill held", "held")
	}
	p.raw("</header>\n<section class=\"kpis\">")
	for _, k := range r.keyFigures() {
		p.raw("<div>")
		p.tag("b", "", k[0])
		p.tag("span", "", k[1])
		p.raw("</div>")
	}
	p.raw("</section>\n")
}

func (r *Result) keyFigures() [][2]string {
	t := &r.Totals
	converged := 0
	for _, g := range r.Groups {
		converged += g.Converged
	}
	return [][2]string{
		{percent(converged, r.Agents), "converged"},
		{count(t.Fired), "events fired"},
		{count(t.Delivered), "delivered"},
		{count(t.Failed), "failed"},
		{count(t.Dropped), "dropped, counted"},
		{count(t.Lost), "lost"},
		{took(t.MaxDelayMS), "worst delay"},
		{size(t.BytesUp + t.BytesDown), "over the air"},
	}
}

// verdict is the list of what was checked, what is broken first.
func (p *page) verdict(r *Result) {
	p.raw("<section class=\"card\"><h2>Checks</h2><ul class=\"checks\">")
	for _, v := range r.Violations {
		p.check(
			true,
			v.Invariant,
			fmt.Sprintf("%s%s: %s", moment(v.AtMS), agentWord(v.Agent), v.Text),
			v.Cause,
			v.Repeat,
			v.Look,
		)
	}
	for _, e := range r.Expects {
		if !e.Held {
			p.check(
				true,
				fmt.Sprintf("expect[%d]", e.Index),
				fmt.Sprintf("%s %s, at %s%s", e.Kind, e.Text, moment(e.AtMS),
					agentWord(e.Agent)),
				e.Detail,
				e.Cause,
				e.Repeat,
				e.Look,
			)
		}
	}
	for i, n := range r.Pending {
		if i == listed {
			p.check(true, "pending", fmt.Sprintf("and %d more", len(r.Pending)-listed))
			break
		}
		p.check(true, "pending", n.Agent+": "+n.Why)
	}
	for _, i := range r.Invariants {
		if i.Broken == 0 {
			p.check(false, i.Name, i.Text)
		}
	}
	for _, e := range r.Expects {
		if e.Held {
			p.check(false, fmt.Sprintf("expect[%d]", e.Index), e.Kind+" "+e.Text)
		}
	}
	for _, n := range r.Notes {
		p.raw("<li class=\"note\">")
		p.text(n)
		p.raw("</li>")
	}
	p.raw("</ul></section>\n")
}

func (p *page) check(bad bool, name, text string, more ...string) {
	class := "ok"
	if bad {
		class = "fail"
	}
	p.raw("<li class=\"" + class + "\">")
	p.tag("b", "", name)
	p.raw(" ")
	p.text(text)
	for _, m := range more {
		if m != "" {
			p.tag("code", "", m)
		}
	}
	p.raw("</li>")
}

// figure is a card with a picture; without a picture it is left out.
func (p *page) figure(title, sub, legend, picture string) {
	if picture == "" {
		return
	}
	p.raw("<section class=\"card\"><h2>")
	p.text(title)
	p.tag("small", "", sub)
	p.raw(legend + "</h2>" + picture + "</section>\n")
}

func legend(pairs ...string) string {
	var b strings.Builder
	b.WriteString(`<span class="legend">`)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, `<span class="key"><i class="%s"></i>%s</span>`, pairs[i], pairs[i+1])
	}
	b.WriteString("</span>")
	return b.String()
}

func (p *page) groups(r *Result) {
	p.raw("<section class=\"card\"><h2>Groups</h2><div class=\"scroll\"><table><thead><tr>")
	for _, h := range []string{
		"group", "agents", "converged", "fired", "ended", "failed", "dropped", "up", "down", "restarts",
		"p50", "p95", "p99",
	} {
		p.tag("th", "", h)
	}
	p.raw("</tr></thead><tbody>")
	for _, g := range r.Groups {
		p.raw("<tr>")
		for _, cell := range []string{
			g.Name, count(uint64(g.Agents)), percent(g.Converged, g.Agents), count(g.Fired),
			count(g.Ended), count(g.Failed), count(g.Dropped), size(g.BytesUp), size(g.BytesDown),
			count(g.Restarts), took(g.P50MS), took(g.P95MS), took(g.P99MS),
		} {
			p.tag("td", "", cell)
		}
		p.raw("</tr>")
	}
	p.raw("</tbody></table></div></section>\n")
}

func (p *page) options(r *Result) {
	p.raw("<section class=\"card\"><h2>To do it again</h2><p class=\"mono\">")
	p.text(r.headline())
	p.raw("<br>")
	p.text("trace " + r.Trace)
	p.raw("</p></section>\n")
}
