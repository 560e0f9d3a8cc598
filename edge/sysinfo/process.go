package sysinfo

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// All returns every figure of protocol.MetricNames that can be measured here: the
// machine's, and this process's own memory and goroutines.
func (m *Meter) All(ctx context.Context) map[string]float64 {
	out := map[string]float64{"agent.goroutines": float64(runtime.NumGoroutine())}
	for _, name := range protocol.MetricNames() {
		if v, ok := m.Value(ctx, name); ok {
			out[name] = v
		}
	}
	if v, ok := resident(); ok {
		out["agent.memory"] = v
	}
	return out
}

// resident returns how many bytes of memory this process has.
func resident() (float64, bool) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	return float64(pages) * float64(os.Getpagesize()), err == nil
}
