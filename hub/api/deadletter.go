package api

import (
	"time"

	"github.com/stavily/stavily/hub/runs"
)

// The paths of dead letters.
const (
	PathDeadLetters = "/v1/dead-letters"     // GET ?workflow&agent&limit: DeadLetters
	PathDeadLetter  = "/v1/dead-letters/{x}" // GET: DeadLetter; POST Replay: runs.Dead; DELETE
)

// Dead is a dead letter as the books have it.
type Dead = runs.Dead

// DeadOrdered is the state of one whose agent has not answered yet.
const DeadOrdered = runs.DeadOrdered

// DeadLetters are runs of which a step did not end well for good, the newest first, and how
// many of them had to give way to newer ones, ever.
type DeadLetters struct {
	Letters []runs.Dead   `json:"letters"`
	Lost    runs.DeadLost `json:"lost"`
}

// DeadLetter is one with its run.
type DeadLetter struct {
	Letter runs.Dead `json:"letter"`
	Run    runs.Run  `json:"run"`
}

// Replay asks for what did not end well of a run to be run again.
type Replay struct {
	Within time.Duration `json:"within"` // ns that the agent has to begin; 0 means a day
}
