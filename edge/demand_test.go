package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// M-17, M-18: sums are held on the device too, before anything of a revision is fetched that it
// would not run; the one that is held goes on, and the hub is told which sum it was.
func TestAfford(t *testing.T) {
	limits := protocol.Limits{MemoryMB: 64, CPUCores: 0.5, Seconds: 30, Files: 16}
	for _, c := range []struct {
		name   string
		device protocol.Device
		times  *protocol.Overcommit
		want   string // empty: it is taken
	}{
		{"nothing is known", protocol.Device{}, nil, ""},
		{"it fits", protocol.Device{MemoryMB: 48, Cores: 1, StorageMB: 2}, nil, ""},
		{"memory", protocol.Device{MemoryMB: 47, Cores: 1}, nil, "max_memory_mb: 384 MB wanted, it has 47 MB, to be promised 8 times: v 192, w 192"},
		{"memory, by the hub's word", protocol.Device{MemoryMB: 48}, &protocol.Overcommit{Memory: 4}, "to be promised 4 times"},
		{"cores", protocol.Device{Cores: 1}, &protocol.Overcommit{CPU: 2}, "max_cpu_cores: 3 wanted, it has 1, to be promised 2 times: v 1.5, w 1.5"},
		{"storage", protocol.Device{StorageMB: 1}, nil, "storage: 2 MB wanted, it has 1 MB: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			c.device.Platform = w.cfg.Device.Platform
			w.cfg.Device = c.device
			w.boot()
			w.online()
			small := w.hub.desired(1, w.hub.workflow("w"))
			w.hub.deploy(small)
			w.pass(5 * time.Second)
			one, two := w.hub.workflow("v"), w.hub.workflow("w")
			for _, as := range []*protocol.Assignment{&one, &two} {
				as.Trigger.Limits, as.Actions[0].Limits, as.Outputs[0].Limits = limits, limits, limits
			}
			one.Actions[0].Grants = []protocol.Grant{{Capability: protocol.CapKV}}
			d := w.hub.desired(2, one, two)
			d.Settings.Overcommit = c.times
			w.hub.deploy(d)
			w.pass(time.Minute)
			r := w.hub.reported()
			if c.want == "" {
				if r.Revision != 2 || r.Refused != nil {
					t.Fatalf("%+v", r)
				}
				if got := w.agent.Status().Sums; !strings.HasPrefix(got, "memory 384 MB of ") {
					t.Errorf("the device says %q", got)
				}
				return
			}
			if r.Revision != 1 || r.Refused == nil || r.Refused.Error.Code != protocol.CodeLimit ||
				!strings.Contains(r.Refused.Error.Text, c.want) {
				t.Fatalf("%+v, want %q", r.Refused, c.want)
			}
			if s := w.status("w"); s.Phase != protocol.PhaseRunning {
				t.Errorf("what is held: %+v", s)
			}
		})
	}
}
