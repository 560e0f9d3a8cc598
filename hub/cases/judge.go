package cases

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/wasmhost"
)

// judge holds what came of a case to what it wants.
type judge struct {
	c        *Case
	s        *script
	a        wasmhost.Answer
	problems []string
}

func (j *judge) say(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

func (j *judge) all() {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	j.problems = append(j.problems, j.s.wrong...)
	w := &j.c.Want
	if j.ended() {
		j.value("answer", w.Answer, w.AnswerHas, plain(j.a.Data))
		events := []any{}
		for _, e := range j.a.Events {
			events = append(events, plain(e))
		}
		j.value("events", w.Events, w.EventsHave, events)
		j.value("state", w.State, w.StateHas, plain(j.a.State))
		if w.Next != nil && j.a.Next.AfterMS != time.Duration(*w.Next).Milliseconds() {
			j.say("next: want %s, got %s", span(time.Duration(*w.Next).Milliseconds()), span(j.a.Next.AfterMS))
		}
		if w.Topics != nil && !slices.Equal(*w.Topics, j.a.Next.Topics) {
			j.show("topics", diff(*w.Topics, j.a.Next.Topics))
		}
	}
	j.calls()
	j.kept()
	j.logged()
	j.problems = append(j.problems, j.s.leftOver()...)
}

func span(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

// ended judges how the request ended and reports whether there is an answer to look at.
func (j *judge) ended() bool {
	want, got := j.c.Want.Error, j.a.Error
	switch {
	case want == nil && got == nil:
		return true
	case want == nil:
		j.say("want no error, got %s: %s", got.Code, got.Text)
	case got == nil:
		j.say("want error %s, got an answer: %s", want.Code, quoted(plain(j.a.Data)))
	case want.code != got.Code:
		j.say("want error %s, got %s: %s", want.Code, got.Code, got.Text)
	case !strings.Contains(got.Text, want.Text):
		j.say("error %s: want a text with %q, got %q", want.Code, want.Text, got.Text)
	}
	return false
}

// value wants a value whole, or all that part says of it.
func (j *judge) value(what string, whole, part Value, got any) {
	want := whole
	if part.Set {
		want = part
	}
	if !want.Set {
		return
	}
	if d := differ(plain(want.Raw), got, part.Set); d != nil {
		j.show(what, d)
	}
}

// show notes a difference.
func (j *judge) show(what string, d []string) {
	j.say("%s: - wanted, + got\n  %s", what, strings.Join(d, "\n  "))
}

// calls wants exactly the host calls of want.calls, in order, without log.
func (j *judge) calls() {
	if j.c.Want.Calls == nil {
		return
	}
	want, got, same := []string{}, []string{}, true
	for i, w := range *j.c.Want.Calls {
		want = append(want, w.Call+" "+quoted(plainArgs(w.Args)))
		same = same && i < len(j.s.made) && j.s.made[i].call == w.Call &&
			(!w.Args.Set || has(plain(w.Args.Raw), j.s.made[i].args))
	}
	for i, m := range j.s.made {
		line := m.call + " " + quoted(m.args)
		if i < len(*j.c.Want.Calls) {
			w := (*j.c.Want.Calls)[i]
			if m.call == w.Call && (!w.Args.Set || has(plain(w.Args.Raw), m.args)) {
				line = want[i] // as it was wanted: what else it has was not asked for
			}
		}
		got = append(got, line)
	}
	if !same || len(want) != len(got) {
		j.show("host calls", diff(want, got))
	}
}

func plainArgs(v Value) any {
	if !v.Set {
		return map[string]any{}
	}
	return plain(v.Raw)
}

// kept wants just what want.kv says to be kept afterwards.
func (j *judge) kept() {
	if j.c.Want.KV == nil {
		return
	}
	want, got := map[string]any{}, map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(j.c.Want.KV)) {
		want[key] = plain(j.c.Want.KV[key].Raw)
	}
	for _, key := range slices.Sorted(maps.Keys(j.s.kv)) {
		got[key] = plain(j.s.kv[key])
	}
	if d := differ(want, got, false); d != nil {
		j.show("kv", d)
	}
}

// logged wants lines with these texts in them, in this order, others between them.
func (j *judge) logged() {
	at := 0
	for _, text := range j.c.Want.Log {
		i := slices.IndexFunc(j.s.lines[at:], func(line string) bool { return strings.Contains(line, text) })
		if i < 0 {
			j.say("log: want a line with %q, got %s", text, quoted(j.s.lines))
			return
		}
		at += i + 1
	}
}
