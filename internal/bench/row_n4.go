package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// settled is how long an agent is left alone before its memory is read: compiling a
// plugin is over, and what it needed has gone back to the system.
const settled = 15 * time.Second

// idle is a workflow whose trigger is asked every ten seconds and does not fire.
const idle = `workflow: watch-memory
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 100, every: 10s }
  at: { group: { role: gateway } }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
outputs:
  - plugin: append-file@1
`

// small is idle with small plugins.
const small = `workflow: small
trigger:
  plugin: small-trigger@1
  with: { every: 1h }
  at: { group: { role: small } }
actions:
  - name: judge
    plugin: small-action@1
    with: { max: 80 }
outputs:
  - plugin: small-output@1
    with: { prefix: "delivered " }
`

// agentMemory is N4: a real agent that is connected to a real hub over mutual TLS and
// has one workflow, of three plugins in Rust, 0.1 MB each, or of three in Go, 3.5 MB each.
// It is measured started again, as it is for the rest of its life, and that with Go's after
// its first deployment too, for which it compiled them. Beside it an agent without a workflow,
// and a Go program that says hello.
func agentMemory(b *bench) ([]line, error) {
	w, err := b.startHub()
	if err != nil {
		return nil, err
	}
	if err := w.publish("system-health", "system-command", "append-file"); err != nil {
		return nil, err
	}
	if err := w.publishSmall(); err != nil {
		return nil, err
	}
	agents := map[string]*process{}
	for name, role := range map[string]string{"busy": "gateway", "small": "small", "plain": "none"} {
		if agents[name], err = w.join(name, "role="+role); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.deploy(idle, "busy"), w.deploy(small, "small")); err != nil {
		return nil, err
	}
	if err := b.pause(settled); err != nil {
		return nil, err
	}
	first, err := b.residents(agents["busy"])
	if err != nil {
		return nil, err
	}
	for _, a := range agents {
		a.end()
	}
	rss, err := w.again()
	if err != nil {
		return nil, err
	}
	const what = "agent RSS, idle and connected, "
	return []line{
		{what + "one workflow of three Rust plugins", rss[1], "MiB", "no workflow", rss[2], atMost(14)},
		{what + "one workflow of three Go plugins", rss[0], "MiB", "no workflow", rss[2], atMost(14)},
		{what + "the same after compiling them", first[0], "MiB", "no workflow", rss[2], atMost(14)},
		{what + "no workflow", rss[2], "MiB", "hello program", rss[3], atMost(14)},
	}, nil
}

// again starts the agents from their own disks, and returns what those with a workflow of Go's
// plugins and of Rust's, the one without one and a hello program hold.
func (w *world) again() ([]float64, error) {
	program, err := w.hello()
	if err != nil {
		return nil, err
	}
	hello, err := w.start(program)
	if err != nil {
		return nil, err
	}
	var agents []*process
	for _, name := range []string{"busy", "small", "plain"} {
		p, err := w.start(w.edge, "--state", w.path(name), "--allow", "process.execute:uname")
		if err != nil {
			return nil, err
		}
		agents = append(agents, p)
	}
	// Its first boot was the one that joined.
	if err := errors.Join(w.runs("busy", 2), w.runs("small", 2)); err != nil {
		return nil, err
	}
	if err := w.pause(settled); err != nil {
		return nil, err
	}
	return w.residents(agents[0], agents[1], agents[2], hello)
}

// residents returns the medians, over some seconds, of what processes hold, in MiB.
func (b *bench) residents(of ...*process) ([]float64, error) {
	samples := make([][]float64, len(of))
	for range 5 {
		for i, p := range of {
			bytes, err := p.resident()
			if err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], bytes/(1<<20))
		}
		if err := b.pause(time.Second); err != nil {
			return nil, err
		}
	}
	out := make([]float64, len(of))
	for i := range of {
		out[i] = median(samples[i])
	}
	return out, nil
}

// sharedCache is where builds of plugins are kept between runs, as the tests do.
func (b *bench) sharedCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return b.path("cache")
	}
	return filepath.Join(dir, "stavily")
}
