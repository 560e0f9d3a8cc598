// Package sysinfo says what machine an agent runs on: its figures for the host call
// metrics.read, and the Device that it reports. gopsutil stays behind this door.
package sysinfo

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/stavily/stavily/protocol"
)

// NamesMax bounds the names that one host call may ask for.
const NamesMax = 64

// window is the shortest time over which the use of the processor is measured. Below
// it the last figure is given again, so that two plugins do not spoil each other's.
const window = time.Second

// Meter reads the machine's figures. Its methods may be called from any goroutine and
// never wait for a measurement.
type Meter struct {
	path  string
	clock func() time.Time

	mu    sync.Mutex // guards the fields below
	at    time.Time  // of used and all
	used  float64    // seconds
	all   float64    // seconds
	last  float64    // percent
	known bool       // last was measured
}

// NewMeter returns a Meter; path is the file system whose room counts, and clock the
// time, nil for the machine's.
func NewMeter(path string, clock func() time.Time) *Meter {
	if clock == nil {
		clock = time.Now
	}
	m := &Meter{path: path, clock: clock}
	m.used, m.all, _ = cpuSeconds(context.Background())
	m.at = clock()
	return m
}

// query and figures are the host call's two sides.
type query struct {
	Names []string `cbor:"names"`
}

type figures struct {
	Values map[string]float64 `cbor:"values"`
}

// Read does the host call metrics.read. A figure that cannot be measured here, or that
// nobody knows, is absent.
func (m *Meter) Read(ctx context.Context, args protocol.Raw) (any, error) {
	var in query
	if err := protocol.Unmarshal(args, &in); err != nil {
		return nil, err
	}
	if len(in.Names) > NamesMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "metrics.read: %d names, limit %d", len(in.Names), NamesMax)
	}
	out := figures{Values: map[string]float64{}}
	for _, name := range in.Names {
		if v, ok := m.Value(ctx, name); ok {
			out.Values[name] = v
		}
	}
	return out, nil
}

// readers are the figures. Percents are 0 to 100, sizes bytes, temperatures degrees
// Celsius, times seconds.
var readers = map[string]func(ctx context.Context, m *Meter) (float64, error){
	"cpu.percent":      func(ctx context.Context, m *Meter) (float64, error) { return m.cpuPercent(ctx) },
	"memory.percent":   memory(func(v *mem.VirtualMemoryStat) float64 { return v.UsedPercent }),
	"memory.available": memory(func(v *mem.VirtualMemoryStat) float64 { return float64(v.Available) }),
	"disk.percent":     room(func(u *disk.UsageStat) float64 { return u.UsedPercent }),
	"disk.free":        room(func(u *disk.UsageStat) float64 { return float64(u.Free) }),
	"load.1":           average(func(a *load.AvgStat) float64 { return a.Load1 }),
	"load.5":           average(func(a *load.AvgStat) float64 { return a.Load5 }),
	"load.15":          average(func(a *load.AvgStat) float64 { return a.Load15 }),
	"temperature.cpu":  func(ctx context.Context, _ *Meter) (float64, error) { return temperature(ctx) },
	"uptime.seconds": func(ctx context.Context, _ *Meter) (float64, error) {
		s, err := host.UptimeWithContext(ctx)
		return float64(s), err
	},
}

// Value returns one figure, and whether it can be measured here.
func (m *Meter) Value(ctx context.Context, name string) (float64, bool) {
	read := readers[name]
	if read == nil {
		return 0, false
	}
	v, err := read(ctx, m)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	return v, true
}

var errAbsent = protocol.Errorf(protocol.CodeUnavailable, "not measurable here")

// cpuPercent returns the processor's use since it was measured last, without waiting.
func (m *Meter) cpuPercent(ctx context.Context) (float64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	if m.known && now.Sub(m.at) < window {
		return m.last, nil
	}
	used, all, err := cpuSeconds(ctx)
	if err != nil {
		return 0, err
	}
	if all <= m.all { // nothing passed yet, or the counters began again
		m.used, m.all, m.at = used, all, now
		if m.known {
			return m.last, nil
		}
		return 0, errAbsent
	}
	m.last = min(100, max(0, 100*(used-m.used)/(all-m.all)))
	m.used, m.all, m.at, m.known = used, all, now, true
	return m.last, nil
}

// cpuSeconds returns the seconds that all processors worked, and those that passed.
func cpuSeconds(ctx context.Context) (used, all float64, err error) {
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return 0, 0, err
	}
	if len(times) == 0 {
		return 0, 0, errAbsent
	}
	t := times[0]
	idle := t.Idle + t.Iowait
	used = t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal
	return used, used + idle, nil
}

func memory(of func(*mem.VirtualMemoryStat) float64) func(context.Context, *Meter) (float64, error) {
	return func(ctx context.Context, _ *Meter) (float64, error) {
		v, err := mem.VirtualMemoryWithContext(ctx)
		if err != nil {
			return 0, err
		}
		return of(v), nil
	}
}

func room(of func(*disk.UsageStat) float64) func(context.Context, *Meter) (float64, error) {
	return func(ctx context.Context, m *Meter) (float64, error) {
		u, err := disk.UsageWithContext(ctx, m.path)
		if err != nil {
			return 0, err
		}
		return of(u), nil
	}
}

func average(of func(*load.AvgStat) float64) func(context.Context, *Meter) (float64, error) {
	return func(ctx context.Context, _ *Meter) (float64, error) {
		a, err := load.AvgWithContext(ctx)
		if err != nil {
			return 0, err
		}
		return of(a), nil
	}
}

// processors are words in the names that boards give to the sensor at their processor,
// the surest first.
var processors = []string{
	"package_id", "tctl", "cpu", "soc", "coretemp", "k10temp", "core", "thermal", "zone",
}

// temperature returns the processor's: that of the sensor with the surest name, the
// highest if several have it. Some sensors of a board may fail; what the others say
// counts.
func temperature(ctx context.Context) (float64, error) {
	sensors, _ := host.SensorsTemperaturesWithContext(ctx)
	for _, word := range processors {
		highest, found := 0.0, false
		for _, s := range sensors {
			sane := s.Temperature > -60 && s.Temperature < 200 && s.Temperature != 0
			if sane && strings.Contains(strings.ToLower(s.SensorKey), word) {
				highest, found = max(highest, s.Temperature), true
			}
		}
		if found {
			return highest, nil
		}
	}
	return 0, errAbsent
}
