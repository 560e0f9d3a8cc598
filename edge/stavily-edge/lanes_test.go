package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// The lanes' bytes, age and policy are the device's to say, as is how long records wait.
func TestLaneFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want func(*edge.Config)
	}{
		{"", func(*edge.Config) {}},
		{"--gather 0s", func(c *edge.Config) { c.Gather = 0 }},
		{"--gather 2s --lane log=1M", func(c *edge.Config) {
			c.Gather, c.LaneBytes[protocol.LaneLog] = 2*time.Second, 1<<20
		}},
		{"--lane alarm=1M:0:block-trigger --lane control=256k --lane metric=1M:0:downsample", func(c *edge.Config) {
			c.LaneBytes[protocol.LaneAlarm], c.LaneDrop[protocol.LaneAlarm] = 1<<20, edge.DropNone
			c.LaneBytes[protocol.LaneControl], c.LaneBytes[protocol.LaneMetric] = 256<<10, 1<<20
			c.LaneAge[protocol.LaneMetric], c.LaneDrop[protocol.LaneMetric] = 0, edge.DropThin
		}},
		{"--lane metric=8M:400d:newest --lane event=512k:0:none --lane audit=1M:36h", func(c *edge.Config) {
			c.LaneBytes[protocol.LaneMetric], c.LaneAge[protocol.LaneMetric] = 8<<20, 400*24*time.Hour
			c.LaneBytes[protocol.LaneEvent], c.LaneAge[protocol.LaneEvent] = 512<<10, 0
			c.LaneBytes[protocol.LaneAudit], c.LaneAge[protocol.LaneAudit] = 1<<20, 36*time.Hour
			c.LaneDrop[protocol.LaneMetric], c.LaneDrop[protocol.LaneEvent] = edge.DropNewest, edge.DropNone
		}},
	} {
		o, err := parseOptions("run", strings.Fields(c.args))
		if err != nil {
			t.Fatal(err)
		}
		got, want := edge.DefaultConfig(), edge.DefaultConfig()
		o.lines(&got)
		c.want(&want)
		if got.Gather != want.Gather || got.LaneBytes != want.LaneBytes || got.LaneAge != want.LaneAge || got.LaneDrop != want.LaneDrop {
			t.Errorf("%q: got %+v, want %+v", c.args, got, want)
		}
	}
	for bad, want := range map[string]string{
		"--lane x=1M": "lanes are control, alarm, result", "--lane log": "want LANE=", "--lane log=": "number of bytes",
		"--lane log=1M:x": "age", "--lane log=1M:40000d": "age", "--lane log=1M:1d:most": "oldest", "--lane log=1M:1d:oldest:x": "want LANE=",
		"--lane log=1k": "LaneBytes of lane log", "--lane log=1M:1s": "LaneAge of lane log", "--lane log=1M:1d:none": "LaneDrop of lane log",
		"--lane control=1M:0:none": "LaneDrop of lane control", "--lane result=1M:0:downsample": "LaneDrop of lane result",
		"--lane alarm=1M:0:downsample": "LaneDrop of lane alarm",
		"--gather 2m":                  "Gather",
	} {
		if _, err := parseOptions("run", strings.Fields(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", bad, err, want)
		}
	}
}
