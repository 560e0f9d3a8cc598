// Package stavilytest is a host for the unit tests of a plugin. It speaks the real
// conversation with the plugin over pipes, answers its host calls from plain maps, and
// has a clock that only the test moves.
//
//	h := stavilytest.Start(t, plugin, map[string]any{"metric": "cpu.percent", "above": 80})
//	h.Metrics["cpu.percent"] = 93
//	events := h.Advance(30 * time.Second)
//
// Whatever breaks the contract of the conversation fails the test.
package stavilytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// Host is one agent with one plugin. A test may read and change its maps between
// requests.
type Host struct {
	Metrics map[string]float64         // what metrics.read answers
	KV      map[string]json.RawMessage // what kv.put has kept
	Files   map[string]string          // the plugin's own directory, by path
	Network Network                    // what the plugin can reach
	Secrets map[string]string          // what secret.use tells
	Logs    []Log                      // what the plugin logged, oldest first
	Calls   []Call                     // the host calls made, logs too, oldest first
	Grants  []stavily.Grant            // told at the next start; they deny nothing by themselves
	NoClock bool                       // the device's clock cannot be believed

	t       testing.TB
	make    func() *stavily.Plugin
	config  any
	answers map[string]Answer
	now     time.Time
	stepped time.Duration // what SetNow set it by, in all
	state   json.RawMessage
	wakeAt  time.Time // zero: not again
	started bool
	id      uint64
	talk    *talk
	conns   []io.ReadWriteCloser // of the request under way
}

// Log is a line that the plugin logged.
type Log struct {
	Level stavily.Level `json:"level"`
	Text  string        `json:"text"`
}

// Call is a host call that the plugin made.
type Call struct {
	Name string
	Args json.RawMessage
}

// Answer answers a host call: with a value for JSON, or with an error, whose code is
// that of a *stavily.Error in it.
type Answer func(args json.RawMessage) (any, error)

// epoch is when a test begins, unless it says otherwise.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Start starts a plugin with a configuration, which goes through encoding/json, and
// fails the test when the plugin refuses it. make makes the plugin, and makes it anew
// for Restart.
func Start(t testing.TB, make func() *stavily.Plugin, config any) *Host {
	t.Helper()
	h, err := TryStart(t, make, config)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return h
}

// TryStart is Start for configurations that the plugin may refuse.
func TryStart(t testing.TB, make func() *stavily.Plugin, config any) (*Host, error) {
	t.Helper()
	h := &Host{
		Metrics: map[string]float64{}, KV: map[string]json.RawMessage{}, Files: map[string]string{},
		t: t, make: make, config: config, answers: map[string]Answer{}, now: epoch,
	}
	t.Cleanup(h.stop)
	return h, h.open()
}

// Answer makes the host answer the calls of a name by f instead of from its maps.
func (h *Host) Answer(name string, f Answer) { h.answers[name] = f }

// Deny makes the host refuse the calls of a name, as it does without the grant.
func (h *Host) Deny(name string) {
	h.Answer(name, func(json.RawMessage) (any, error) {
		return nil, &stavily.Error{Code: stavily.CodeDenied, Text: name + ": not granted"}
	})
}

// Now returns the host's time.
func (h *Host) Now() time.Time { return h.now }

// SetNow sets the host's clock, forward or back, without waking anything. No time passes.
func (h *Host) SetNow(now time.Time) {
	h.stepped += now.Sub(h.now)
	h.now = now
}

// Restart ends the plugin and starts it anew as after a reboot: the memory is lost, the
// saved state, the key-value store and the files are not. The next wake is a start.
func (h *Host) Restart() {
	h.t.Helper()
	h.stop()
	h.started, h.wakeAt = false, time.Time{}
	if err := h.open(); err != nil {
		h.t.Fatalf("restart: %v", err)
	}
}

// open starts the conversation. Its error is the plugin's word on the configuration.
func (h *Host) open() error {
	h.t.Helper()
	h.talk = newTalk(h.make())
	hello := h.hear()
	if hello["hello"] == nil {
		h.t.Fatalf("first message: want hello, got %v", keys(hello))
	}
	h.say(map[string]any{"init": map[string]any{
		"config": h.config, "limits": stavily.Limits{MemoryMB: 64, Seconds: 30},
		"grants": h.Grants, "workflow": "test", "step": "plugin",
	}})
	m := h.hear()
	if m["error"] != nil {
		return h.pluginError(m["error"])
	}
	if m["ready"] == nil {
		h.t.Fatalf("message after init: want ready or error, got %v", keys(m))
	}
	return nil
}

func (h *Host) stop() {
	if h.talk == nil {
		return
	}
	h.talk.in.Close()
	_, _ = io.Copy(io.Discard, h.talk.out) // a plugin that still speaks must come to the end
	if err := <-h.talk.ended; err != nil {
		h.t.Errorf("the conversation ended: %v", err)
	}
	h.talk = nil
}

// talk is a plugin at the other end of two pipes.
type talk struct {
	in    *io.PipeWriter
	out   *bufio.Reader
	ended chan error // one, when Serve returned
}

func newTalk(p *stavily.Plugin) *talk {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	t := &talk{in: inW, out: bufio.NewReader(outR), ended: make(chan error, 1)}
	go func() {
		err := p.Serve(inR, outW)
		inR.Close() // so that whoever still writes is not left waiting
		outW.Close()
		t.ended <- err
	}()
	return t
}

func (h *Host) say(message any) {
	h.t.Helper()
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(message); err != nil {
		h.t.Fatalf("say: %v", err)
	}
	if _, err := h.talk.in.Write(line.Bytes()); err != nil {
		h.t.Fatalf("say: the plugin does not listen any more: %v", err)
	}
}

// hear reads one message of the plugin and holds it to the contract.
func (h *Host) hear() map[string]json.RawMessage {
	h.t.Helper()
	line, err := h.talk.out.ReadBytes('\n')
	if err != nil {
		h.t.Fatalf("the plugin ended: %v", err)
	}
	if len(line) > stavily.LineMax {
		h.t.Fatalf("message: %d bytes, limit %d", len(line), stavily.LineMax)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(line, &m); err != nil {
		h.t.Fatalf("message %q: %v", line, err)
	}
	return m
}

func (h *Host) pluginError(raw json.RawMessage) error {
	h.t.Helper()
	e := new(stavily.Error)
	if err := json.Unmarshal(raw, e); err != nil {
		h.t.Fatalf("error %s: %v", raw, err)
	}
	if e.Code != stavily.CodePlugin && e.Code != stavily.CodeRetryable {
		h.t.Fatalf("error with code %q: want plugin or retryable", e.Code)
	}
	return e
}

// errorOf is what a host call's error looks like to the plugin.
func errorOf(err error) *stavily.Error {
	var e *stavily.Error
	if errors.As(err, &e) {
		return e
	}
	return &stavily.Error{Code: "internal", Text: err.Error()}
}

func keys(m map[string]json.RawMessage) string {
	out := ""
	for _, k := range []string{"hello", "ready", "error", "id", "answer", "call"} {
		if m[k] != nil {
			out += k + " "
		}
	}
	return fmt.Sprintf("%d keys, of them %s", len(m), out)
}
