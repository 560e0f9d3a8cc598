package deploy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// M-17, M-18: sums are held to what the device has; who it is and why is said.
func TestAdmit(t *testing.T) {
	one := relay(t, "one", "{}", "plant/1", "pump", "")
	two := relay(t, "two", "{}", "plant/1", "pump", "")
	for _, c := range []struct {
		name     string
		memoryMB uint32
		cores    uint32
		times    Overcommit
		want     string // empty: it fits
	}{
		{"it fits", 48, 1, DefaultOvercommit(), ""}, // 2 workflows of 3 steps of 64 MB and 0.5 cores
		{
			"too little memory", 47, 1, DefaultOvercommit(),
			"one.yaml:5:7: trigger.at: the limits of all that would run do not fit: agent north/n1: max_memory_mb: 384 MB wanted, " +
				"it has 47 MB, to be promised 8 times: one 192, two 192",
		},
		{"too few cores", 1024, 1, Overcommit{Memory: 1, CPU: 2}, "agent north/n1: max_cpu_cores: 3 wanted, it has 1, to be promised 2 times: one 1.5, two 1.5"},
		{"nothing is known", 0, 0, DefaultOvercommit(), ""},
		{"nobody looks", 1, 1, Overcommit{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			agents := []Agent{relayAgents[0], relayAgents[1]}
			agents[0].MemoryMB, agents[0].Cores = c.memoryMB, c.cores
			agents[1].MemoryMB = 1 // it runs none of it
			contents := Plan(Input{Deployments: []Deployment{one, two}, Agents: agents, Approve: relayGrants})
			err := Admit(&one, contents, agents, c.times)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAdmitNamesSomeAndCountsTheRest(t *testing.T) {
	one := relay(t, "one", "{}", "plant/1", "pump", "")
	var agents []Agent
	for i := range 8 {
		agents = append(agents, Agent{
			Address: protocol.Address{Site: "north", Agent: protocol.AgentName(fmt.Sprintf("n%d", i))}, Labels: relayAgents[0].Labels, MemoryMB: 16,
		})
	}
	err := Admit(&one, Plan(Input{Deployments: []Deployment{one}, Agents: agents}), agents, DefaultOvercommit())
	if err == nil || !strings.Contains(err.Error(), "north/n4") || strings.Contains(err.Error(), "north/n5") ||
		!strings.HasSuffix(err.Error(), "; and 3 agents more") {
		t.Errorf("got %v", err)
	}
}
