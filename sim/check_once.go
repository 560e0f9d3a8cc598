package sim

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// onceCheck: one effect for one idempotency key. A plugin may be asked again with the
// same key while the step's result is not on the disk; that is what the key is for.
// Once it is, no plugin is ever asked for that step again.
type onceCheck struct{ rule }

func newOnceCheck(w *World) *onceCheck {
	return &onceCheck{rule{
		w: w, name: "once", text: "no step of a run takes effect again once its result is on the disk",
	}}
}

func (c *onceCheck) asked(d *device, call *edge.Call) {
	if call.Request == nil || call.Request.Event == nil {
		return
	}
	id, step := call.Request.Event.Run, call.Instance.Step
	if key := call.Request.Key; !c.ok(isKey(key, id, step)) {
		c.violated(d, fmt.Sprintf("step %q of run %s is asked with key %q, want <run>/<step>", step, id, key))
	}
	run := c.runOf(d, id)
	if !c.ok(run != nil) {
		c.violated(d, fmt.Sprintf("step %q is asked for run %s, which no disk has", step, id))
	}
	if run != nil && !c.ok(!slices.Contains(run.done, step)) {
		c.violated(d, fmt.Sprintf("step %q of run %s is asked again after its result", step, id))
	}
}

// runOf returns a run as the disk of its own agent has it, which may be another one than the
// agent that runs a step of it.
func (c *onceCheck) runOf(d *device, id protocol.RunID) *openRun {
	if r := d.run(id); r != nil {
		return r
	}
	for _, other := range c.w.devices {
		if r := other.run(id); r != nil {
			return r
		}
	}
	return nil
}

// isKey reports whether key is that of a step of a run.
func isKey(key string, run protocol.RunID, step protocol.StepName) bool {
	var id [2 * len(run)]byte
	hex.Encode(id[:], run[:])
	head, rest, _ := strings.Cut(key, "/")
	return head == string(id[:]) && rest == string(step)
}

func (c *onceCheck) effect(d *device, r *wasmhost.Request) {
	run := c.runOf(d, r.Event.Run)
	if run == nil {
		return
	}
	_, step, _ := strings.Cut(r.Key, "/")
	at := slices.IndexFunc(run.effects, func(e effect) bool { return string(e.step) == step && e.on == d.id })
	if at < 0 {
		run.effects = append(run.effects, effect{protocol.StepName(step), d.id, 1})
		return
	}
	run.effects[at].times++
	c.w.tell.duplicated(d)
}

var _ check = (*onceCheck)(nil)
