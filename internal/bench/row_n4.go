package main

import (
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

// agentMemory is N4: a real agent that is connected to a real hub over mutual TLS and
// has one workflow. Its three plugins are Go's, 3.5 MB each, for the hub builds no
// others yet. It is measured after its first deployment, for which it compiled them,
// and started again, as it is for the rest of its life. Beside it an agent without a
// workflow, and a Go program that says hello.
func agentMemory(b *bench) ([]line, error) {
	w, err := b.startHub()
	if err != nil {
		return nil, err
	}
	if err := w.publish("system-health", "system-command", "append-file"); err != nil {
		return nil, err
	}
	busy, err := w.join("busy", "role=gateway")
	if err != nil {
		return nil, err
	}
	plain, err := w.join("plain", "role=none")
	if err != nil {
		return nil, err
	}
	if err := w.deploy(idle, "busy"); err != nil {
		return nil, err
	}
	if err := b.pause(settled); err != nil {
		return nil, err
	}
	first, err := b.residents(busy)
	if err != nil {
		return nil, err
	}
	busy.end()
	plain.end()
	rss, err := w.again()
	if err != nil {
		return nil, err
	}
	const what = "agent RSS, idle and connected, "
	return []line{
		{what + "one workflow of three Go plugins", rss[0], "MiB", "no workflow", rss[1], atMost(14)},
		{what + "the same after compiling them", first[0], "MiB", "no workflow", rss[1], atMost(14)},
		{what + "no workflow", rss[1], "MiB", "hello program", rss[2], atMost(14)},
	}, nil
}

// again starts the agent with the workflow from its own disk, and returns what it, the
// agent without one and a hello program hold.
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
	for _, name := range []string{"busy", "plain"} {
		p, err := w.start(w.edge, "--state", w.path(name), "--allow", "process.execute:uname")
		if err != nil {
			return nil, err
		}
		agents = append(agents, p)
	}
	// Its first boot was the one that joined.
	if err := w.runs("busy", 2); err != nil {
		return nil, err
	}
	if err := w.pause(settled); err != nil {
		return nil, err
	}
	return w.residents(agents[0], agents[1], hello)
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
