package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// runExplain is the command explain. It reads what the agent has on its disk, and may do so
// beside one that runs.
func runExplain(_ context.Context, o *options, out, _ io.Writer) error {
	name := protocol.WorkflowName(o.file)
	if err := name.Check(); o.file != "" && err != nil {
		return usageError("explain: %w", err)
	}
	_, e, err := joined(o)
	if err != nil {
		return err
	}
	status, err := readStatus(o)
	if err != nil {
		return err
	}
	files := disk.Look(o.state)
	x := edge.Explaining{
		Status: *status, Read: files.ReadFile, Has: files.Has, Now: time.Now(), Runs: disk.Held(o.state),
	}
	if x.Keyring, err = openKeyring(e); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	all, err := x.Explain(name)
	if err != nil {
		return fmt.Errorf("explain: revision %d: %w", status.Revision, err)
	}
	if o.output == "json" {
		_, err := out.Write(append(explainedJSON(status.Address.Agent, all), '\n'))
		return err
	}
	return printExplained(out, status, all)
}

func printExplained(out io.Writer, s *edge.Status, all []edge.Explained) error {
	if len(all) == 0 {
		_, err := fmt.Fprintf(out, "nothing is deployed to %s\n", s.Address.Agent)
		return err
	}
	for _, x := range all {
		is := map[bool]string{true: "placed", false: "excluded"}[x.Placed]
		if _, err := fmt.Fprintf(out, "%-8s  %s on %s\n", is, x.Workflow, s.Address.Agent); err != nil {
			return err
		}
		for _, r := range x.Rules {
			is := map[bool]string{true: "ok", false: "no"}[r.OK]
			if _, err := fmt.Fprintf(out, "%-8s  %-11s  %s\n", is, r.Name, r.Text); err != nil {
				return err
			}
		}
	}
	return nil
}

func explainedJSON(agent protocol.AgentName, all []edge.Explained) []byte {
	list := make([]any, 0, len(all))
	for _, x := range all {
		rules := make([]any, 0, len(x.Rules))
		for _, r := range x.Rules {
			rules = append(rules, map[string]any{"name": r.Name, "ok": r.OK, "text": r.Text})
		}
		list = append(list, map[string]any{
			"workflow": x.Workflow, "agent": agent, "placed": x.Placed, "rules": rules,
		})
	}
	return wasmhost.ToJSON(protocol.MustMarshal(map[string]any{"explained": list}))
}
