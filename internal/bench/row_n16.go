package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

const (
	lines      = 10 // of production; each workflow is for the agents of one
	planRounds = 3
)

// planning is N16: the plan of 100 workflows for 10,000 agents from nothing, and after
// the label of one agent has changed, for which the hub plans for all again. Beside it
// the least that it must do: to hold each agent's labels against each workflow's group.
func planning(b *bench) ([]line, error) {
	in, err := planInput(10_000, 100)
	if err != nil {
		return nil, err
	}
	assignments := 0
	all := func() (float64, error) {
		return timed(func() {
			assignments = 0
			for _, c := range deploy.Plan(in) {
				assignments += len(c.Assignments)
			}
		}), b.ctx.Err()
	}
	matching := func() (float64, error) { return timed(func() { match(in) }), b.ctx.Err() }
	nothing, base, err := inTurn(planRounds, all, matching)
	if err != nil {
		return nil, err
	}
	in.Agents[5001].Labels["line"] = "l0"
	changed, baseChanged, err := inTurn(planRounds, all, matching)
	if err != nil {
		return nil, err
	}
	if want := len(in.Agents) * len(in.Deployments) / lines; assignments != want {
		return nil, fmt.Errorf("plan has %d assignments, want %d", assignments, want)
	}
	const beside = "matching labels alone"
	return []line{
		{"Plan for 10,000 agents x 100 workflows, from nothing", nothing, "ms", beside, base, atMost(2000)},
		{"Plan for 10,000 agents x 100 workflows, one label changed", changed, "ms", beside, baseChanged, atMost(5)},
	}, nil
}

func match(in deploy.Input) (n int) {
	for i := range in.Agents {
		for _, d := range in.Deployments {
			if d.Workflow.Trigger.Target.Group.Match(in.Agents[i].Labels) {
				n++
			}
		}
	}
	return n
}

// sealing is the part of N11 that is measured without a network and without books: one
// new workflow is planned for every agent, beside the ten that each has, and every
// agent's document is encoded and sealed. Beside it the signatures alone.
func sealing(b *bench) ([]line, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key := protocol.SealKey{Role: protocol.RoleDesired, Private: private}
	var out []line
	for _, v := range []struct {
		agents int
		name   string
		most   float64
	}{{1000, "1,000", 500}, {10_000, "10,000", 4000}} {
		in, err := planInput(v.agents, 100)
		if err != nil {
			return out, err
		}
		l := line{
			metric: "workflow planned and sealed for " + v.name + " agents, neither booked nor sent", unit: "ms",
			baseline: "signatures alone", target: atMost(v.most),
		}
		value := func() (took float64, err error) {
			took = timed(func() { err = sealAll(in, key) })
			return took, err
		}
		base := func() (float64, error) {
			return timed(func() {
				for range in.Agents {
					ed25519.Sign(private, make([]byte, 1024))
				}
			}), b.ctx.Err()
		}
		if l.value, l.base, err = inTurn(planRounds, value, base); err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

func sealAll(in deploy.Input, key protocol.SealKey) error {
	for i, c := range deploy.Plan(in) {
		doc := c.Desired(1, uint64(i+1), 1_790_000_000_000)
		if _, err := protocol.Seal(protocol.ContextDesired, key, protocol.MustMarshal(doc)); err != nil {
			return err
		}
	}
	return nil
}

// timed returns how long f takes, in ms, beginning without garbage of others.
func timed(f func()) float64 {
	runtime.GC()
	began := time.Now()
	f()
	return time.Since(began).Seconds() * 1000
}

// planText is a workflow of three steps for the agents of one line.
const planText = `workflow: guard-%d
trigger:
  plugin: system-health@1
  with: { metric: temperature.cpu, above: 80, for: 30s }
  at: { group: { env: production, line: l%d } }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    retry: { times: 3, wait: 2s }
outputs:
  - plugin: append-file@1
`

// planInput is a fleet whose agents stand in lines, and workflows for each line.
func planInput(agents, workflows int) (in deploy.Input, err error) {
	for i := range agents {
		in.Agents = append(in.Agents, deploy.Agent{
			Address: agentAt(i), Platform: "linux-arm64",
			Labels: map[string]string{"env": "production", "line": fmt.Sprintf("l%d", i%lines), "role": "gateway"},
		})
	}
	releases := []deploy.Release{
		planRelease("system-health", protocol.Trigger), planRelease("system-command", protocol.Action),
		planRelease("append-file", protocol.Output),
	}
	for i := range workflows {
		w, err := workflow.Parse("bench.yaml", fmt.Appendf(nil, planText, i, i%lines))
		if err != nil {
			return in, err
		}
		in.Deployments = append(in.Deployments, deploy.Deployment{Workflow: w, Releases: releases})
	}
	in.Approve = protocol.DefaultPolicy()
	return in, nil
}

func planRelease(name protocol.PluginName, of protocol.PluginType) deploy.Release {
	return deploy.Release{
		Ref: protocol.ReleaseRef{Plugin: name, Version: "1.0.0", Digest: protocol.DigestOf([]byte(name)), Size: 1000},
		Manifest: protocol.Manifest{
			Plugin: protocol.PluginInfo{Name: name, Version: "1.0.0", Type: of, Description: "x"},
		},
		Platforms: []string{protocol.PlatformWASM},
	}
}
