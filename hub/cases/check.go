package cases

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// checker says what is wrong with one case beyond its shape.
type checker struct {
	f   *File
	c   *Case
	at  string // of the case in the document
	of  protocol.PluginType
	err error
}

// refuse notes an error at a key of the case; the first one counts.
func (k *checker) refuse(key, format string, args ...any) {
	if k.err == nil {
		k.err = k.f.doc.Errorf(join(k.at, key), format, args...)
	}
}

// has reports whether the case has a key.
func (k *checker) has(key string) bool { return k.f.doc.Has(join(k.at, key)) }

func (k *checker) check(seen map[string]int) error {
	var here *document.Error
	errors.As(k.f.doc.Errorf(k.at, "here"), &here)
	k.c.line = here.Line
	if strings.TrimSpace(k.c.Name) == "" {
		k.refuse("name", "missing: a case is called by its name")
	}
	if first, twice := seen[k.c.Name]; twice {
		k.refuse("name", "%q twice, first on line %d", k.c.Name, first)
	}
	seen[k.c.Name] = here.Line
	if !k.c.Config.Set {
		k.c.Config = k.f.Config
	}
	k.asked()
	k.time()
	k.replies()
	k.grants()
	k.wants()
	return k.err
}

// asked refuses what another type of plugin is asked.
func (k *checker) asked() {
	kind := k.c.requestOf(k.of)
	if k.c.Ask != "" && k.c.Ask != string(wasmhost.Check) {
		k.refuse("ask", "%q: want check; what else a plugin is asked follows from its type", k.c.Ask)
	}
	woken := kind == wasmhost.Wake
	worked := kind == wasmhost.Run || kind == wasmhost.Deliver
	for _, key := range []struct {
		name string
		fits bool
		who  string
	}{
		{"event", worked, "an action or an output"},
		{"results", worked, "an action or an output"},
		{"key", worked, "an action or an output"},
		{"why", woken, "a trigger"},
		{"state", woken, "a trigger"},
		{"message", woken, "a trigger"},
		{"want.topics", woken, "a trigger"},
		{"want.events", woken, "a trigger"},
		{"want.events-have", woken, "a trigger"},
		{"want.state", woken, "a trigger"},
		{"want.state-has", woken, "a trigger"},
		{"want.next", woken, "a trigger"},
		{"want.answer", kind == wasmhost.Run, "an action"},
		{"want.answer-has", kind == wasmhost.Run, "an action"},
	} {
		if k.has(key.name) && !key.fits {
			k.refuse(key.name, "only %s has this; the plugin is of type %s and asked to %s", key.who, k.of, kind)
		}
	}
	switch why := wasmhost.Why(k.c.Why); why {
	case "", wasmhost.WhyStart, wasmhost.WhyTimer, wasmhost.WhyMessage:
		if why != "" && (why == wasmhost.WhyMessage) != (k.c.Said != nil) {
			k.refuse("why", "%s: why is message where there is a message, and only there", why)
		}
	default:
		k.refuse("why", "%q: want start, timer or message", k.c.Why)
	}
	if k.c.Said == nil {
		return
	}
	if err := protocol.CheckLocalTopic(k.c.Said.Topic); err != nil {
		k.refuse("message.topic", "%v", err)
	}
}

// noon is the time at which a case is asked that says none.
const noon = "2026-01-02T12:00:00Z"

func (k *checker) time() {
	text := k.c.Now
	if text == "" {
		text = noon
	}
	now, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		k.refuse("now", "%q: want a time such as %s", text, noon)
	}
	k.c.now = now
}

func (k *checker) replies() {
	for i := range k.c.Calls {
		r, at := &k.c.Calls[i], place("calls", i)
		k.named(r.Call, join(at, "call"))
		if r.Answer.Set && r.Error != nil {
			k.refuse(join(at, "error"), "an answer and an error: want one of both")
		}
		if r.Times == 0 {
			r.Times = 1
		}
	}
	if k.c.Want.Calls == nil {
		return
	}
	for i, c := range *k.c.Want.Calls {
		k.named(c.Call, join(place("want.calls", i), "call"))
	}
}

// named wants a host call that there is.
func (k *checker) named(call, at string) {
	switch {
	case call == "":
		k.refuse(at, "missing: want the name of a host call such as kv.get")
	case call == callLog:
		k.refuse(at, "log needs no answer; what is logged is wanted by want.log")
	case !known(call):
		k.refuse(at, "%q: no such host call; there are %s", call, strings.Join(wasmhost.HostCalls(), ", "))
	}
}

func (k *checker) grants() {
	for i, text := range k.c.Grants {
		if _, _, err := protocol.ParsePermission(text); err != nil {
			k.refuse(place("grants", i), "%v", err)
		}
	}
}

// wants refuses a case that could not fail.
func (k *checker) wants() {
	w := &k.c.Want
	for _, pair := range [][2]string{
		{"answer", "answer-has"}, {"events", "events-have"}, {"state", "state-has"},
	} {
		if k.has("want."+pair[0]) && k.has("want."+pair[1]) {
			k.refuse("want."+pair[1], "%s and %s: want one of both", pair[0], pair[1])
		}
	}
	if w.Error != nil && (w.Answer.Set || w.AnswerHas.Set || w.Events.Set || w.EventsHave.Set || w.State.Set ||
		w.StateHas.Set || w.Next != nil || w.Topics != nil) {
		k.refuse("want.error", "an error has no answer besides")
	}
	if kind := k.c.requestOf(k.of); !k.has("want") && (kind == wasmhost.Run || kind == wasmhost.Wake) {
		k.refuse("", "no want: the case could not fail")
	}
}

// place is the path of an element.
func place(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func join(path, key string) string {
	if path == "" || key == "" {
		return path + key
	}
	return path + "." + key
}
