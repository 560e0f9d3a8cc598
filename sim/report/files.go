package report

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
)

// WriteJSON writes everything, for programs. Lists that are empty are [].
func WriteJSON(w io.Writer, r *Result) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	out := *r
	out.Stavily = Version
	out.Options, out.Samples, out.Faults = full(r.Options), full(r.Samples), full(r.Faults)
	out.Invariants, out.Violations, out.Expects = full(r.Invariants), full(r.Violations), full(r.Expects)
	out.Fleet, out.Deployments, out.Slowest = full(r.Fleet), full(r.Deployments), full(r.Slowest)
	out.Pending, out.Notes = full(r.Pending), full(r.Notes)
	out.Groups = append([]Group{}, r.Groups...)
	for i := range out.Groups {
		out.Groups[i].Sites = full(out.Groups[i].Sites)
	}
	return enc.Encode(&out)
}

// ReadJSON reads what WriteJSON has written.
func ReadJSON(text []byte) (*Result, error) {
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r.Stavily != Version {
		return nil, fmt.Errorf("result of form %q, want %s", r.Stavily, Version)
	}
	return &r, nil
}

func full[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// The elements of JUnit's XML that CI systems read.
type suites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Suite    suite    `xml:"testsuite"`
}

type suite struct {
	Name       string     `xml:"name,attr"`
	Tests      int        `xml:"tests,attr"`
	Failures   int        `xml:"failures,attr"`
	Errors     int        `xml:"errors,attr"`
	Skipped    int        `xml:"skipped,attr"`
	Properties []property `xml:"properties>property"`
	Cases      []testCase `xml:"testcase"`
}

type property struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type testCase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	File    string   `xml:"file,attr,omitempty"`
	Line    int      `xml:"line,attr,omitempty"`
	Failure *failure `xml:"failure"`
}

type failure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes one test case for each invariant and each expectation, and one for
// convergence, as CI systems read them. It holds no times: they would differ from run to
// run.
func WriteJUnit(w io.Writer, r *Result) error {
	s := suite{Name: r.Scenario, Properties: []property{
		{"seed", fmt.Sprint(r.Seed)}, {"build", r.Build}, {"trace", r.Trace},
	}}
	for _, i := range r.Invariants {
		s.Cases = append(
			s.Cases,
			testCase{Class: r.Scenario + ".invariant", Name: i.Name, Failure: r.brokenBy(i)},
		)
	}
	for _, e := range r.Expects {
		c := testCase{
			Class: r.Scenario + ".expect", Name: fmt.Sprintf("expect[%d] %s %s", e.Index, e.Kind, e.Text),
			File: r.File, Line: e.Line,
		}
		if !e.Held {
			text := fmt.Sprintf("%s%s\n%s\n%s\n%s\n%s\n", moment(e.AtMS), agentWord(e.Agent),
				e.Detail, e.Cause, e.Repeat, e.Look)
			c.Failure = &failure{Message: e.Kind + " " + e.Text, Type: "expectation", Text: text}
		}
		s.Cases = append(s.Cases, c)
	}
	s.Cases = append(s.Cases, r.convergence())
	s.Tests = len(s.Cases)
	for _, c := range s.Cases {
		if c.Failure != nil {
			s.Failures++
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", " ")
	if err := enc.Encode(
		suites{Name: "stavily sim", Tests: s.Tests, Failures: s.Failures, Suite: s},
	); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r *Result) brokenBy(i Invariant) *failure {
	if i.Broken == 0 {
		return nil
	}
	f := &failure{
		Message: fmt.Sprintf("%s: broken %s", i.Text, plural(i.Broken, "time", "times")),
		Type:    "invariant",
	}
	for _, v := range r.Violations {
		if v.Invariant == i.Name {
			f.Text += fmt.Sprintf(
				"%s%s: %s\n%s\n%s\n%s\n",
				moment(v.AtMS),
				agentWord(v.Agent),
				v.Text,
				v.Cause,
				v.Repeat,
				v.Look,
			)
		}
	}
	return f
}

func (r *Result) convergence() testCase {
	c := testCase{Class: r.Scenario + ".fleet", Name: "all converge"}
	if len(r.Pending) == 0 {
		return c
	}
	c.Failure = &failure{
		Message: plural(uint64(len(r.Pending)), "agent has", "agents have") + " not converged",
		Type:    "convergence",
	}
	for _, p := range r.Pending {
		c.Failure.Text += p.Agent + ": " + p.Why + "\n"
	}
	return c
}
