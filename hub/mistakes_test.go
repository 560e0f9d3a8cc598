package hub

import (
	"errors"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/document"
)

// All that is wrong with a workflow that can be read comes at once: first plugins that are not
// there, then what does not fit those that are, and nobody is sent anything.
func TestAllMistakesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.sealedThree()
	w.gateways(1)
	w.sent.take()
	for _, c := range []struct {
		name string
		edit []string
		want []string
	}{
		{
			"unknown plugins",
			[]string{"tick@1", "tock@1", "note\n", "nota\n"},
			[]string{"w.yaml:3:11: trigger.plugin: ", "w.yaml:10:13: outputs[0].plugin: "},
		},
		{
			"in a wrong place, asked for too much, for nobody",
			[]string{
				"tick@1", "note@1", "process.execute: [uptime]", "process.execute: [rm], dns.resolve: []",
				"plugin: note\n", "plugin: note\n    on: { pool: nowhere }\n",
			},
			[]string{
				"w.yaml:3:11: trigger.plugin: ", "w.yaml:8:31: actions[0].allow.process.execute: ",
				"w.yaml:8:50: actions[0].allow.dns.resolve: ", "w.yaml:11:9: outputs[0].on: ",
			},
		},
		{
			"one of them",
			[]string{"tick@1", "work@1"},
			[]string{"w.yaml:3:11: trigger.plugin: plugin work@1.0.0 is of type action; here goes a plugin of type trigger"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.hub.Deploy(w.now, "w.yaml", []byte(strings.NewReplacer(c.edit...).Replace(workflowText)))
			var all document.Errors
			if err == nil || errors.As(err, &all) != (len(c.want) > 1) {
				t.Fatalf("got %v", err)
			}
			lines := strings.Split(err.Error(), "\n")
			for i, want := range c.want {
				if len(lines) != len(c.want) || !strings.HasPrefix(lines[i], want) {
					t.Fatalf("got\n%v\nwant\n%s", err, strings.Join(c.want, "\n"))
				}
			}
		})
	}
	if n := len(w.hints()); n != 0 {
		t.Errorf("%d agents were told of something", n)
	}
}
