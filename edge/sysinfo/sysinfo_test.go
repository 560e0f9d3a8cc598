package sysinfo

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

func TestRead(t *testing.T) {
	now := time.Now()
	m := NewMeter(t.TempDir(), func() time.Time { return now })
	names := []string{"cpu.percent", "no.such"}
	for name := range readers {
		names = append(names, name)
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); { // the kernel counts in ticks
		now = now.Add(2 * window)
		if _, ok := m.Value(context.Background(), "cpu.percent"); ok {
			break
		}
	}
	out, err := m.Read(context.Background(), protocol.MustMarshal(query{Names: names}))
	if err != nil {
		t.Fatal(err)
	}
	got := out.(figures).Values
	bounds := map[string][2]float64{
		"cpu.percent": {0, 100}, "memory.percent": {0.01, 100}, "memory.available": {1 << 20, 1 << 50},
		"disk.percent": {0, 100}, "disk.free": {0, 1 << 60}, "load.1": {0, 10000}, "load.5": {0, 10000},
		"load.15": {0, 10000}, "uptime.seconds": {1, 1e10},
	}
	if runtime.GOOS == "linux" {
		for name, b := range bounds {
			if v, ok := got[name]; !ok || v < b[0] || v > b[1] {
				t.Errorf("%s is %v (there: %v), want %v", name, v, ok, b)
			}
		}
	}
	if _, ok := got["no.such"]; ok {
		t.Error("a figure that nobody knows has a value")
	}
	if v, ok := got["temperature.cpu"]; ok && (v < -60 || v > 200) {
		t.Errorf("temperature.cpu is %v", v)
	}
}

// U-07: the names are those that travel.
func TestAll(t *testing.T) {
	got := NewMeter(t.TempDir(), nil).All(context.Background())
	for name := range readers {
		if !slices.Contains(protocol.MetricNames(), name) {
			t.Errorf("%s does not travel", name)
		}
	}
	for _, name := range []string{"agent.goroutines", "agent.memory", "memory.percent", "uptime.seconds"} {
		if runtime.GOOS == "linux" && got[name] <= 0 {
			t.Errorf("%s is %v, want above 0", name, got[name])
		}
	}
}

func TestReadRefuses(t *testing.T) {
	m := NewMeter("/", nil)
	if _, err := m.Read(context.Background(), protocol.MustMarshal(query{Names: make([]string, NamesMax+1)})); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Errorf("too many names: %v", err)
	}
	if _, err := m.Read(context.Background(), protocol.Raw{0x01}); protocol.CodeOf(err) != protocol.CodeBadMessage {
		t.Errorf("arguments that are no map: %v", err)
	}
}

// Two readers within a moment are given the same figure, and neither waits.
func TestCPUWindow(t *testing.T) {
	now := time.Now()
	m := NewMeter("/", func() time.Time { return now })
	m.known, m.last, m.at = true, 42, now
	if v, ok := m.Value(context.Background(), "cpu.percent"); !ok || v != 42 {
		t.Fatalf("within the window: %v, %v", v, ok)
	}
}

func TestPlatform(t *testing.T) {
	for _, c := range []struct{ goos, goarch, goarm, want string }{
		{"linux", "arm64", "", "linux-arm64"},
		{"linux", "arm", "7", "linux-armv7"},
		{"linux", "arm", "6,softfloat", "linux-armv6"},
		{"linux", "arm", "", "linux-armv7"},
		{"linux", "mipsle", "", "linux-mipsle"},
		{"linux", "386", "", "linux-386"},
	} {
		if got := platformOf(c.goos, c.goarch, c.goarm); got != c.want {
			t.Errorf("%s/%s %q: %s, want %s", c.goos, c.goarch, c.goarm, got, c.want)
		}
	}
	d := Device("1.0.0", nil)
	if d.Platform == "" || d.Engine == "" || d.Cores == 0 || d.Version != "1.0.0" {
		t.Errorf("device %+v", d)
	}
}
