package main

import (
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
// the label of one agent has changed: then the hub plans for that one, since no other's
// part follows from its labels. Beside it the least that a plan for all must do: to hold
// each agent's labels against each workflow's group.
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
	changed, baseChanged, err := inTurn(planRounds, func() (float64, error) {
		one := in
		one.Agents = in.Agents[5001:5002]
		one.Agents[0].Labels["line"] = "l0"
		return timed(func() { deploy.Plan(one) }), b.ctx.Err()
	}, matching)
	if err != nil {
		return nil, err
	}
	if want := len(in.Agents) * len(in.Deployments) / lines; assignments != want {
		return nil, fmt.Errorf("plan has %d assignments, want %d", assignments, want)
	}
	const what, beside = "Plan for 10,000 agents x 100 workflows, ", "matching labels alone"
	return []line{
		{what + "from nothing", nothing, "ms", beside, base, atMost(2000)},
		{what + "one label changed", changed, "ms", beside, baseChanged, atMost(5)},
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
		Ref: protocol.ReleaseRef{
			Plugin: name, Version: "1.0.0", Digest: protocol.DigestOf([]byte(name)), Size: 1000,
		},
		Manifest: protocol.Manifest{
			Plugin: protocol.PluginInfo{Name: name, Version: "1.0.0", Type: of, Description: "x"},
		},
		Platforms: []string{protocol.PlatformWASM},
	}
}
