package edge

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// A release may leave what its plugin puts by in another format than the one before it. What
// was there then is kept in a shot, so that the release before, when it comes back, goes on from
// what it left itself, and not from what it cannot read.

// keyShot is followed by workflow, step and format. The trigger's state stands there, what the
// plugin had in kv under it.
const keyShot = "shot/"

// shotsMax bounds the formats of one step that are kept; the lowest goes first. One takes at
// most KVBytesMax and StateMax.
const shotsMax = 2

// savedShot is the head of a shot.
type savedShot struct {
	State protocol.Raw `cbor:"1,keyasint,omitempty"` // of a trigger
}

func shotsKey(workflow protocol.WorkflowName, step protocol.StepName) string {
	return keyShot + string(workflow) + "/" + string(step) + "/"
}

func shotKey(workflow protocol.WorkflowName, step protocol.StepName, format uint32) string {
	return fmt.Sprintf("%s%010d/", shotsKey(workflow, step), format)
}

// migrate sees to what the plugins of old have put by, as w comes in its place. It reports
// whether one of them goes back to what it had before.
func (a *Agent) migrate(w, old *work) (back bool) {
	for n, s := range w.steps {
		at := slices.IndexFunc(old.steps, func(o protocol.Step) bool { return o.Name == s.Name })
		if at < 0 || s.Place != nil || old.steps[at].Place != nil {
			continue
		}
		was, is := old.loads[at].Manifest, w.loads[n].Manifest
		if was.Plugin.Name != is.Plugin.Name || was.State.Number() == is.State.Number() {
			continue
		}
		if is.State.Reads(was.State) {
			a.shoot(old, at, was.State.Number())
		} else if a.unshoot(w, n, is.State.Number()) {
			back = true
		}
	}
	return back
}

// shoot keeps what the n-th step's plugin has put by, in a format.
func (a *Agent) shoot(w *work, n int, format uint32) {
	head, kv := savedShot{}, KeyKV(w.of.Workflow)+string(w.steps[n].Name)+"/"
	if n == 0 {
		head.State = w.trigger.state
	}
	others := a.shots(w.of.Workflow, w.steps[n].Name)
	others = slices.DeleteFunc(others, func(key string) bool {
		return key == shotKey(w.of.Workflow, w.steps[n].Name, format)
	})
	for len(others) >= shotsMax {
		a.copyAll(others[0], "")
		others = others[1:]
	}
	to := shotKey(w.of.Workflow, w.steps[n].Name, format)
	a.copyAll(to, "")
	a.put(to, head)
	a.copyAll(kv, to+"kv/")
}

// unshoot puts back what the n-th step's plugin left in a format, and reports whether there was
// something.
func (a *Agent) unshoot(w *work, n int, format uint32) bool {
	from := shotKey(w.of.Workflow, w.steps[n].Name, format)
	value, err := a.store.Get(from)
	var head savedShot
	if err != nil || value == nil || protocol.UnmarshalExact(value, &head) != nil {
		a.log.Warn("what the release before had put by is not kept", slog.String("workflow", string(w.of.Workflow)),
			slog.String("step", string(w.steps[n].Name)), slog.Uint64("format", uint64(format)))
		return false
	}
	kv := KeyKV(w.of.Workflow) + string(w.steps[n].Name) + "/"
	a.copyAll(kv, "")
	a.copyAll(from+"kv/", kv)
	a.copyAll(from, "")
	if n == 0 {
		w.trigger.state = slices.Clone(head.State)
		a.saveTrigger(w)
	}
	return true
}

// shots returns the keys of a step's shots, by format.
func (a *Agent) shots(workflow protocol.WorkflowName, step protocol.StepName) (out []string) {
	prefix := shotsKey(workflow, step)
	a.scan(prefix, func(key string, _ []byte) {
		format, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		if at := prefix + format + "/"; !slices.Contains(out, at) {
			out = append(out, at)
		}
	})
	return out
}

// copyAll copies the keys under one prefix to another; to none, it removes them.
func (a *Agent) copyAll(from, to string) {
	a.scan(from, func(key string, value []byte) {
		if to == "" {
			a.remove(key)
			return
		}
		a.change(Change{Key: to + strings.TrimPrefix(key, from), Value: slices.Clone(value)})
	})
}

func (a *Agent) scan(prefix string, each func(key string, value []byte)) {
	err := a.store.Scan(prefix, "", func(key string, value []byte) bool {
		each(key, value)
		return true
	})
	if err != nil {
		a.log.Warn("what plugins put by not readable", slog.String("error", err.Error()))
	}
}
