package sim

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/sim/scenario"
)

// TestMain lets the tests' program be the hub of level live.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == hubWord {
		if err := ServeHub(context.Background(), os.Args[2], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const liveText = `stavily: sim/v1
name: live
seed: 5
level: live
duration: 8s
settle: 2m
sample: 1s
fleet:
  - {group: a, count: 4, site: "lab", labels: {env: production}, link: {latency: 5ms}}
plugins:
  timer: {model: timer}
  pass: {model: pass, takes: 2ms}
  sink: {model: sink}
REST
expect:
  - never: "alerts.lost > 0 || alerts.duplicated > 0"
`

const liveRest = `deploy:
  - at: 0s
    workflow:
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 1s}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
faults:
  - {at: 2s, for: 2s, what: partition, where: "sample(2)"}
  - {at: 3s, for: 1s, what: power-cut, where: "sample(1)"}
  - {at: 5s, what: hub-crash, for: 1s}`

// Real time, real sockets, a hub in a process of its own that is killed, and the same
// invariants.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("takes real time")
	}
	s, err := scenario.Parse("live.yaml", []byte(strings.Replace(liveText, "REST", liveRest, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := &runFlags{}
	r, err := f.simulate(t.Context(), s, Options{HubCommand: []string{own, hubWord}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Broken() || r.Totals.Ended < 4 || r.Totals.BytesUp == 0 {
		t.Errorf("%+v\n%+v\n%+v\n%+v", r.Totals, r.Violations, r.Pending, r.Expects)
	}
}

// A hub that is somebody else's: agents join by a token, and what only its operator could
// do is refused at its place.
func TestLiveAtAnotherHub(t *testing.T) {
	home := filepath.Join(t.TempDir(), "h")
	c := hub.DefaultConfig(home)
	c.Listen = "127.0.0.1:0"
	ctx, end := context.WithCancel(t.Context())
	up, ended := make(chan hub.Bound, 1), make(chan error, 1)
	go func() { ended <- hub.Serve(ctx, c, slog.New(slog.DiscardHandler), func(at hub.Bound) { up <- at }) }()
	defer func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	at := <-up
	var token api.Token
	client := api.OnSocket(api.SocketPath(home))
	if err := client.Do(ctx, "POST", api.PathTokens, api.NewToken{Site: "there", Count: 4}, &token); err != nil {
		t.Fatal(err)
	}
	f := &runFlags{hub: at.Link, token: token.Token}
	s, err := scenario.Parse("live.yaml", []byte(strings.NewReplacer("REST", "", "8s", "2s").Replace(liveText)), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.simulate(ctx, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var agents []api.Agent
	if err := client.Do(ctx, "GET", api.PathAgents, nil, &agents); err != nil || len(agents) != 4 || r.Broken() {
		t.Errorf("%d agents there, %v, %+v", len(agents), err, r.Pending)
	}
	cmd := recordCommand(func(*cobra.Command) (*api.Client, error) { return client, nil })
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--name", "there"})
	if err := cmd.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	if again, err := scenario.Parse("there.yaml", out.Bytes(), nil); err != nil || len(again.Fleet) != 1 || len(again.Agents()) != 4 ||
		again.Agents()[3].Site != "there" {
		t.Errorf("recorded: %v\n%s", err, &out)
	}
	for rest, want := range map[string]string{
		liveRest:                                "live.yaml:15:5: deploy: the hub at",
		"faults: [{at: 1s, what: hub-restart}]": "live.yaml:14:10: hub-restart: the hub at",
	} {
		s, err := scenario.Parse("live.yaml", []byte(strings.Replace(liveText, "REST", rest, 1)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = f.simulate(ctx, s, Options{}); err == nil || !strings.Contains(err.Error(), want) || exitOf(err) != exitBadScenario {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
