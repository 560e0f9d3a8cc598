package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// listed bounds how many of a kind the table shows before it says how many more.
const listed = 10

// WriteTable writes the report for reading. The first line has the seed, the build and
// every option.
func WriteTable(w io.Writer, r *Result) error {
	t := &table{w: w}
	t.line("%s", r.headline())
	t.row(
		"time",
		"%s simulated%s, %s, %s",
		took(r.LastMS),
		r.speed(),
		plural(uint64(r.Agents), "agent", "agents"),
		plural(r.Events, "event", "events"),
	)
	t.deployments(r)
	t.totals(&r.Totals, r)
	t.faults(r)
	t.groups(r)
	t.invariants(r)
	t.expects(r)
	t.pending(r)
	for _, n := range r.Notes {
		t.row("note", "%s", n)
	}
	if r.Broken() {
		t.row("BROKEN", "exit 99   trace %s", short(r.Trace))
	} else {
		t.row("held", "exit 0   trace %s", short(r.Trace))
	}
	return t.err
}

// headline is all that is needed to do it again.
func (r *Result) headline() string {
	parts := []string{r.Scenario, fmt.Sprintf("seed %d", r.Seed), "build " + r.Build, r.Level}
	for _, o := range r.Options {
		parts = append(parts, o.Name+"="+o.Value)
	}
	return strings.Join(parts, "  ")
}

// speed says how long it took in real time, where that is known.
func (r *Result) speed() string {
	if r.Wall <= 0 {
		return ""
	}
	times := float64(r.LastMS) / 1000 / r.Wall.Seconds()
	return fmt.Sprintf(" in %s (%sx)", took(r.Wall.Milliseconds()), count(uint64(times)))
}

// A table writes rows of a word and what it says, and keeps the first error.
type table struct {
	w   io.Writer
	err error
}

func (t *table) line(format string, args ...any) {
	_, err := fmt.Fprintln(t.w, plainText(fmt.Sprintf(format, args...)))
	if t.err == nil {
		t.err = err
	}
}

func (t *table) row(word, format string, args ...any) {
	t.line("  %-9s %s", word, fmt.Sprintf(format, args...))
}

func (t *table) deployments(r *Result) {
	for i := range r.Deployments {
		d := &r.Deployments[i]
		t.row("deploy", "%s at %s   half %s   95%% %s   all %s   %s of %s", d.title(),
			moment(d.AtMS), took(d.HalfMS),
			took(d.MostMS), took(d.AllMS), count(uint64(d.Reached)), plural(uint64(d.Agents), "agent", "agents"))
		if d.Outcome != "" {
			t.row("", "  %s", d.became())
		}
	}
}

// title names a deployment, or a wave of it.
func (d *Deployed) title() string {
	if d.Wave == 0 {
		return d.Workflow
	}
	return fmt.Sprintf("%s wave %d", d.Workflow, d.Wave)
}

// became says what became of a wave.
func (d *Deployed) became() string {
	text := fmt.Sprintf("%s at %s", d.Outcome, moment(d.EndMS))
	if d.EndMS > d.AtMS {
		text += ", after " + took(d.EndMS-d.AtMS)
	}
	if d.Reason != "" {
		text += ": " + d.Reason
	}
	return text
}

func (t *table) totals(s *Totals, r *Result) {
	t.row("runs", "%s fired   %s ended   %s failed   %s dropped   %s lost", count(s.Fired), count(s.Ended),
		count(s.Failed), count(s.Dropped), count(s.Lost))
	t.row(
		"outputs",
		"%s delivered   %s duplicated   worst delay %s%s",
		count(s.Delivered),
		count(s.Duplicated),
		took(s.MaxDelayMS),
		by(s.DelayAgent),
	)
	t.row("outbox", "peak %s%s", size(s.PeakOutbox), by(s.PeakAgent))
	days := float64(r.LastMS) / 86_400_000 * float64(max(1, r.Agents))
	perDay := ""
	if days > 0 {
		perDay = fmt.Sprintf("   %s per agent and day", size(uint64(float64(s.BytesUp+s.BytesDown)/days)))
	}
	t.row("bytes", "%s up   %s down%s", size(s.BytesUp), size(s.BytesDown), perDay)
	if s.Refused > 0 {
		t.row("refused", "%s", plural(s.Refused, "message or artifact", "messages and artifacts"))
	}
}

func by(agent string) string {
	if agent == "" {
		return ""
	}
	return " (" + agent + ")"
}

// faults says how many of each kind there were, in the order in which they first came.
func (t *table) faults(r *Result) {
	var kinds []string
	times := map[string]int{}
	for _, f := range r.Faults {
		if times[f.What]++; times[f.What] == 1 {
			kinds = append(kinds, f.What)
		}
	}
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%s %d", k, times[k])
	}
	if len(kinds) > 0 {
		t.row("faults", "%s", strings.Join(kinds, "   "))
	}
}

func (t *table) groups(r *Result) {
	if len(r.Groups) == 0 {
		return
	}
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(
		tw,
		"GROUP\tAGENTS\tCONVERGED\tFIRED\tENDED\tFAILED\tDROPPED\tUP\tDOWN\tRESTARTS\tP50\tP95\tP99",
	)
	for _, g := range r.Groups {
		fmt.Fprintf(
			tw,
			"%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			plainText(g.Name),
			count(uint64(g.Agents)),
			percent(g.Converged, g.Agents),
			count(g.Fired),
			count(g.Ended),
			count(g.Failed),
			count(g.Dropped),
			size(g.BytesUp),
			size(g.BytesDown),
			count(g.Restarts),
			took(g.P50MS),
			took(g.P95MS),
			took(g.P99MS),
		)
	}
	_ = tw.Flush() // into memory
	for line := range strings.Lines(b.String()) {
		t.line("  %s", strings.TrimRight(line, " \n"))
	}
}

func (t *table) invariants(r *Result) {
	for _, i := range r.Invariants {
		word := "ok"
		if i.Broken > 0 {
			word = "FAIL"
		}
		t.row(word, "%s: %s (looked at %s)", i.Name, i.Text, plural(i.Checked, "time", "times"))
		if i.Broken > 0 {
			t.violations(r, i.Name)
		}
	}
}

func (t *table) violations(r *Result, name string) {
	shown, more := 0, 0
	for _, v := range r.Violations {
		if v.Invariant != name {
			continue
		}
		if shown++; shown > listed {
			more++
			continue
		}
		t.row("", "%s%s: %s", moment(v.AtMS), agentWord(v.Agent), v.Text)
		t.detail("cause", v.Cause)
		t.detail("again", v.Repeat)
		t.detail("look", v.Look)
	}
	if more > 0 {
		t.row("", "and %d more", more)
	}
}

func (t *table) detail(word, text string) {
	if text != "" {
		t.row("", "  %s: %s", word, text)
	}
}

func agentWord(agent string) string {
	if agent == "" {
		return ""
	}
	return " agent " + agent
}

func (t *table) expects(r *Result) {
	for _, e := range r.Expects {
		if e.Held {
			t.row("ok", "expect[%d] %s %s", e.Index, e.Kind, e.Text)
			continue
		}
		t.row(
			"FAIL",
			"expect[%d] on line %d: %s %s, at %s%s",
			e.Index,
			e.Line,
			e.Kind,
			e.Text,
			moment(e.AtMS),
			agentWord(e.Agent),
		)
		t.detail("got", e.Detail)
		t.detail("cause", e.Cause)
		t.detail("again", e.Repeat)
		t.detail("look", e.Look)
	}
}

func (t *table) pending(r *Result) {
	for i, p := range r.Pending {
		if i == listed {
			t.row("", "and %d more", len(r.Pending)-listed)
			return
		}
		t.row("pending", "%s: %s", p.Agent, p.Why)
	}
}

// plainText keeps what plugins wrote from moving the cursor of a terminal.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}

func short(digest string) string { return digest[:min(12, len(digest))] }
