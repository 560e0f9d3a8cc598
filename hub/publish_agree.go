package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// agreeExamplesMax bounds the examples that both engines run.
const agreeExamplesMax = 4

// agreeTime bounds all that a release is asked in both engines.
const agreeTime = 2 * time.Minute

// agree asks the metered module the same in the compiler and in the interpreter: a
// compiler has turned programs into other ones before, and an agent may have either. For
// each example of a configuration the plugin is started, checked and put one request by
// the compiler, recorded, and shown the same again by the interpreter, which must make the
// same host calls, give the same answers and spend the same fuel. Nothing is granted, so
// that nothing of this machine is touched. What agreed once is not asked again.
func (p *Publisher) agree(ctx context.Context, c *candidate) (string, error) {
	if c.module == nil {
		return noModule, errSkipped
	}
	configs, err := agreeConfigs(c)
	if err != nil {
		return "", err
	}
	spec, err := c.spec()
	if err != nil {
		return "", err
	}
	key := strings.TrimPrefix(agreeKey(&spec, configs).String(), "sha256:")
	known := filepath.Join(p.Config.cacheDir(), "agreed", key)
	if text, err := os.ReadFile(known); err == nil {
		return string(text), nil
	}
	ctx, cancel := context.WithTimeout(ctx, agreeTime)
	defer cancel()
	fuel, refused := uint64(0), ""
	for _, config := range configs {
		spec.Step.Config = config
		out, err := p.agreeOn(ctx, spec)
		if err != nil {
			return "", err
		}
		fuel += out.fuel
		refused = cmp.Or(refused, out.refused)
	}
	text := fmt.Sprintf("%d of its configurations, %d units of fuel, the same in both", len(configs), fuel)
	if refused != "" {
		text += "; it does not always start: " + refused
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
func agreeKey(s *wasmhost.Spec, configs []protocol.Raw) protocol.Digest {
	parts := []any{Version, s.Digest[:], s.Manifest, configs}
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

// agreeConfigs returns the configurations to try: the plugin's examples, or none at all.
func agreeConfigs(c *candidate) ([]protocol.Raw, error) {
	dir := c.release.Manifest.Configuration.Examples
	if dir == "" {
		return []protocol.Raw{nil}, nil
	}
	names, err := exampleFiles(c.tree, path.Clean(dir))
	if err != nil {
		return nil, err
	}
	var out []protocol.Raw
	for _, name := range names[:min(len(names), agreeExamplesMax)] {
		config, _, err := readExample(c.tree, name)
		if err != nil {
			return nil, err
		}
		out = append(out, protocol.MustMarshal(config))
	}
	return out, nil
}

// agreed is how a plugin did in both engines: the fuel that it spent, or why it does not
// start.
type agreed struct {
	fuel    uint64
	refused string
}

// agreeOn records a plugin in the compiler and replays it in the interpreter.
func (p *Publisher) agreeOn(ctx context.Context, spec wasmhost.Spec) (out agreed, err error) {
	host, err := wasmhost.New(ctx, wasmhost.Config{Interpreter: true})
	if err != nil {
		return out, err
	}
	defer func() { _ = host.Close(context.WithoutCancel(ctx)) }()
	recording, err := p.recorded(ctx, spec)
	if refusesToStart(err) {
		return agreed{refused: err.Error()}, sameRefusal(ctx, host, spec, err)
	}
	if err != nil {
		return out, err
	}
	played, err := host.Replay(ctx, spec, recording)
	if err != nil {
		return out, err
	}
	if !played.Held {
		return out, protocol.Errorf(protocol.CodeUnverified, "compiler and interpreter differ: %s",
			played.Difference)
	}
	out.fuel = played.Start
	for _, call := range played.Calls {
		out.fuel += call.Answer.Usage.Fuel
	}
	return out, nil
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

// recorded puts the requests to the compiled module, which is compiled in a child.
func (p *Publisher) recorded(ctx context.Context, spec wasmhost.Spec) (*wasmhost.Recording, error) {
	host, err := wasmhost.New(ctx, wasmhost.Config{
		Compile: wasmhost.Compile{Command: p.Config.Compile}, CacheDir: filepath.Join(p.Config.cacheDir(), "code"),
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = host.Close(context.WithoutCancel(ctx)) }()
	plugin, err := host.Load(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer plugin.Close(context.WithoutCancel(ctx))
	_, recording, err := plugin.Record(ctx, 0, asked(spec.Manifest.Plugin.Type)...)
	if recording == nil && err == nil {
		err = errors.New("agree: nothing was recorded")
	}
	return recording, err
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
