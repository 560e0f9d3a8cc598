package sim

import (
	"bytes"
	"strings"
	"testing"
)

// A replay goes on step by step: by things that happen to the agent, by time, to another agent.
func TestReplayGoesOnStepByStep(t *testing.T) {
	within(t)
	cmd := Command(nil, nil)
	var text bytes.Buffer
	cmd.SetArgs([]string{"replay", "small.yaml", "--to", "2m", "--agent", "a-0", "--step"})
	cmd.SetIn(strings.NewReader("5\n+10m\na a-1\n2\nnonsense\ns\nq\n"))
	cmd.SetOut(&text)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := text.String()
	_, steps, _ := strings.Cut(out, "h tells how\n")
	for _, want := range []string{
		"+2m0s a-0> ", `a/a-0 answer 7 "trigger"`, "u/records {", "a-1> ", `"nonsense": h tells`,
		"agent     a-1 of site a",
	} {
		if !strings.Contains(steps, want) {
			t.Errorf("no %q in\n%s", want, steps)
		}
	}
	if before, after, _ := strings.Cut(steps, "a-1> "); strings.Contains(before, "a/a-1 ") || strings.Contains(after, "a/a-0 ") {
		t.Errorf("it tells of the agent that is not watched:\n%s", steps)
	}
}
