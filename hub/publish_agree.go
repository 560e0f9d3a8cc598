package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// agreeTime bounds all that a release is asked in both engines.
const agreeTime = 2 * time.Minute

// agree asks the metered module the same in the compiler and in the interpreter: a
// compiler has turned programs into other ones before, and an agent may have either. With
// each of some configurations the plugin is started, checked and put requests by the
// compiler, recorded, and shown the same again by the interpreter, which must make the
// same host calls, give the same answers, errors too, and spend the same fuel. Nothing is
// granted, so that nothing of this machine is touched. What agreed once is not asked again.
// Half of the time is for whatever is asked; when it has passed, no further configuration is.
func (p *Publisher) agree(ctx context.Context, c *candidate) (string, error) {
	if c.module == nil {
		return noModule, errSkipped
	}
	q, err := questionsOf(c)
	if err != nil {
		return "", err
	}
	spec, err := c.spec()
	if err != nil {
		return "", err
	}
	key := strings.TrimPrefix(agreeKey(&spec, q).String(), "sha256:")
	known := filepath.Join(p.Config.cacheDir(), "agreed", key)
	if text, err := os.ReadFile(known); err == nil {
		return string(text), nil
	}
	ctx, cancel := context.WithTimeout(ctx, agreeTime)
	defer cancel()
	half, done := context.WithTimeout(ctx, agreeTime/2)
	defer done()
	var all agreed
	tried := 0
	for _, config := range q.configs {
		if tried > 0 && half.Err() != nil {
			break
		}
		spec.Step.Config = config
		out, err := p.agreeOn(ctx, spec, q.asked)
		if err != nil {
			return "", err
		}
		all.fuel += out.fuel
		all.calls += out.calls
		all.refused = cmp.Or(all.refused, out.refused)
		tried++
	}
	text := fmt.Sprintf("%d of its configurations, %d requests, %d units of fuel, the same in both",
		tried, all.calls, all.fuel)
	if all.refused != "" {
		text += "; it does not always start: " + all.refused
	}
	return text, keepAgreed(known, text)
}

// keepAgreed remembers what agreed. The cache belongs to the hub; losing it costs time.
func keepAgreed(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return protocol.Errorf(protocol.CodeStorage, "agreed: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return protocol.Errorf(protocol.CodeStorage, "agreed: %w", err)
	}
	return nil
}

// agreeKey names everything that the verdict follows from.
func agreeKey(s *wasmhost.Spec, q questions) protocol.Digest {
	parts := []any{Version, s.Digest[:], s.Manifest, q.configs, fmt.Sprint(len(q.asked))}
	for i := range q.asked {
		r := &q.asked[i]
		parts = append(parts, r.Kind, r.Key, r.Why, r.State, r.Now.UnixMS)
		if r.Event != nil {
			parts = append(parts, r.Event.Data)
		}
		if r.Message != nil {
			parts = append(parts, r.Message.Topic, r.Message.Data)
		}
		for _, result := range r.Results {
			parts = append(parts, result)
		}
	}
	for _, m := range s.Mounts {
		d := m.Tree.Digest()
		parts = append(parts, m.Path, d[:])
	}
	return protocol.DigestOf(protocol.MustMarshal(parts))
}

// spec is the plugin as an agent loads it, without any grant.
func (c *candidate) spec() (wasmhost.Spec, error) {
	s := wasmhost.Spec{
		Workflow: "publish", Step: protocol.Step{Name: "example"}, Manifest: c.release.Manifest,
		Wasm: c.module, Digest: protocol.DigestOf(c.module),
	}
	if c.engine == nil {
		return s, nil
	}
	var err error
	s.Mounts, err = c.engine.Mounts(c.script)
	s.Args = c.engine.Args
	return s, err
}

// agreed is how a plugin did in both engines: the requests that it was put and the fuel
// that it spent, or why it does not start.
type agreed struct {
	calls   int
	fuel    uint64
	refused string
}

// agreeOn records a plugin in the compiler and replays it in the interpreter. Where an
// instance does not live to the last request, another one goes on behind it.
func (p *Publisher) agreeOn(
	ctx context.Context, spec wasmhost.Spec, asked []wasmhost.Request,
) (out agreed, err error) {
	host, err := wasmhost.New(ctx, wasmhost.Config{Interpreter: true})
	if err != nil {
		return out, err
	}
	defer func() { _ = host.Close(context.WithoutCancel(ctx)) }()
	compiled, err := p.compiled(ctx)
	if err != nil {
		return out, err
	}
	defer func() { _ = compiled.Close(context.WithoutCancel(ctx)) }()
	plugin, err := compiled.Load(ctx, spec)
	if refusesToStart(err) {
		return agreed{refused: err.Error()}, sameRefusal(ctx, host, spec, err)
	}
	if err != nil {
		return out, err
	}
	defer plugin.Close(context.WithoutCancel(ctx))
	for len(asked) > 0 {
		_, recording, err := plugin.Record(ctx, 0, asked...)
		if err != nil {
			return out, err
		}
		if recording == nil || len(recording.Calls) == 0 {
			return out, errors.New("agree: nothing was recorded")
		}
		if err := out.replay(ctx, host, spec, recording); err != nil {
			return out, err
		}
		asked = asked[min(len(asked), len(recording.Calls)):]
	}
	return out, nil
}

// replay shows the interpreter what was recorded.
func (a *agreed) replay(
	ctx context.Context, host *wasmhost.Host, spec wasmhost.Spec, r *wasmhost.Recording,
) error {
	played, err := host.Replay(ctx, spec, r)
	if err != nil {
		return err
	}
	if !played.Held {
		return protocol.Errorf(protocol.CodeUnverified, "compiler and interpreter differ: %s", played.Difference)
	}
	a.fuel += played.Start
	for _, call := range played.Calls {
		a.fuel += call.Answer.Usage.Fuel
	}
	a.calls += len(played.Calls)
	return nil
}

// refusesToStart reports whether a plugin itself did not come to work: it said no to a
// configuration, wants a grant, or does not speak as the contract says.
func refusesToStart(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.CodePlugin, protocol.CodeRetryable, protocol.CodeBadInput, protocol.CodeDenied,
		protocol.CodeContract:
		return true
	default:
		return false
	}
}

// sameRefusal wants the interpreter to refuse a start in the same words.
func sameRefusal(ctx context.Context, host *wasmhost.Host, spec wasmhost.Spec, compiled error) error {
	plugin, err := host.Load(ctx, spec)
	if err == nil {
		plugin.Close(context.WithoutCancel(ctx))
		return protocol.Errorf(protocol.CodeUnverified, "compiler and interpreter differ: only the compiled one "+
			"refuses to start: %w", compiled)
	}
	if err.Error() != compiled.Error() {
		return protocol.Errorf(protocol.CodeUnverified, "compiler and interpreter differ: one refuses to start "+
			"with %q, the other with %q", compiled.Error(), err.Error())
	}
	return nil
}

// compiled is a host that compiles in a child.
func (p *Publisher) compiled(ctx context.Context) (*wasmhost.Host, error) {
	return wasmhost.New(ctx, wasmhost.Config{
		Compile: wasmhost.Compile{Command: p.Config.Compile}, CacheDir: filepath.Join(p.Config.cacheDir(), "code"),
	})
}

// asked is what a plugin of each type is put: a self-check, and one request of its own.
func asked(of protocol.PluginType) []wasmhost.Request {
	now := protocol.Stamp{UnixMS: 1_790_000_000_000, Quality: protocol.QualityClock}
	event := &protocol.Event{
		Run: protocol.RunID{1}, Workflow: "publish", Revision: 1, Time: now,
		Data: protocol.MustMarshal(map[string]any{"value": 81.5, "text": "example"}),
	}
	check := wasmhost.Request{Kind: wasmhost.Check, Now: now}
	switch of {
	case protocol.Action:
		return []wasmhost.Request{check, {Kind: wasmhost.Run, Now: now, Event: event, Key: "publish/example"}}
	case protocol.Output:
		return []wasmhost.Request{check, {Kind: wasmhost.Deliver, Now: now, Event: event, Key: "publish/example"}}
	default:
		return []wasmhost.Request{check, {Kind: wasmhost.Wake, Now: now, Why: wasmhost.WhyStart}}
	}
}
