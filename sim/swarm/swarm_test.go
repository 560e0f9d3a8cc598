package swarm

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// A small swarm at a hub of its own: all join, connect, say figures, come back after a
// storm, and nothing that they said is lost. Over sockets and over pipes.
func TestSwarm(t *testing.T) {
	for _, piped := range []bool{false, true} {
		cfg := DefaultConfig()
		cfg.Agents, cfg.Every, cfg.For, cfg.Storm = 20, time.Second, 2*time.Second, true
		out, err := WithHub(t.Context(), cfg, piped)
		if err != nil {
			t.Fatalf("piped %v: %v", piped, err)
		}
		if out.Lost != "" || out.Join.Done != 20 || out.Connect.Done != 20 || out.Storm.Done != 20 || out.Pending != 0 {
			t.Errorf("piped %v: %+v", piped, out)
		}
		if out.Acked < 20 || out.SentBytes < 1000 || out.AckP99 <= 0 || out.HeapBytes == 0 {
			t.Errorf("piped %v: nothing was said: %+v", piped, out)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Agents = 0 }, "0 agents, want 1 to 100000"},
		{func(c *Config) { c.Prefix = "Swarm" }, `prefix: agent name "Swarm"`},
		{func(c *Config) { c.Prefix = strings.Repeat("a", 30) }, "30 bytes, want at most 26"},
		{func(c *Config) { c.Hub = "" }, "no hub"},
		{func(c *Config) { c.Every = time.Millisecond }, "figures every 1ms"},
		{func(c *Config) { c.Patience = 0 }, "patience 0s"},
	} {
		cfg := DefaultConfig()
		cfg.Hub = "mqtts://127.0.0.1:1"
		c.change(&cfg)
		if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// A hub that is not there is said at once; what was not reached in time makes exit 99.
func TestLost(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Hub, cfg.Agents, cfg.Patience = "mqtts://127.0.0.1:1", 2, 5*time.Second
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "join swarm-0000") {
		t.Errorf("no hub: %v", err)
	}
	var b bytes.Buffer
	err := tell(&b, &Result{Agents: 3, Connect: Phase{Done: 2}, Lost: "2 of 3 agents connected within 1s"}, "json")
	var lost *lostError
	var read Result
	if !errors.As(err, &lost) || lost.CommandExit() != exitLost || json.Unmarshal(b.Bytes(), &read) != nil || read.Connect.Done != 2 {
		t.Errorf("got %v, %s", err, &b)
	}
}
