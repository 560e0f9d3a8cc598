// Package report is what a simulation found, and the forms in which it is told: a table
// for people, JSON for programs, JUnit for CI, and one HTML page with pictures.
//
// Everything in a Result but Wall follows from scenario, seed and build: two runs of the
// same give the same bytes in every form.
package report

import "time"

// Version names the form of the JSON.
const Version = "sim-result/v1"

// Result is one simulation's outcome. Times are in milliseconds of virtual time since
// the start, bytes are bytes, shares are from 0 to 1.
type Result struct {
	Stavily  string    `json:"stavily"` // Version
	Scenario string    `json:"scenario"`
	File     string    `json:"file"`
	Seed     uint64    `json:"seed"`
	Build    string    `json:"build"`
	Level    string    `json:"level"`
	Start    time.Time `json:"start"`
	LastMS   int64     `json:"last_ms"`
	Agents   int       `json:"agents"`
	Events   uint64    `json:"events"` // of the simulation's own queue
	// Options are all that was drawn or chosen, in a fixed order.
	Options     []Option    `json:"options"`
	Totals      Totals      `json:"totals"`
	Samples     []Sample    `json:"samples"`
	Faults      []Fault     `json:"faults"`
	Invariants  []Invariant `json:"invariants"`
	Violations  []Violation `json:"violations"` // in order of time; bounded by who writes them
	Expects     []Expect    `json:"expects"`
	Groups      []Group     `json:"groups"`
	Fleet       []Agent     `json:"fleet"` // by name; may be left out above some thousand
	Deployments []Deployed  `json:"deployments"`
	Slowest     []Run       `json:"slowest"` // at most ten, slowest first
	Pending     []Pending   `json:"pending"` // why not all have converged; empty when they have
	// Notes are what breaks nothing and should be known, such as a workflow that no agent could
	// load.
	Notes []string `json:"notes"`
	// Trace is the digest of everything that happened, in order: equal for equal runs.
	Trace string `json:"trace"`
	// Wall is how long the simulation took in real time. It is not in the JSON.
	Wall time.Duration `json:"-"`
}

// Option is one drawn or chosen option.
type Option struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Totals are counts of the whole run.
type Totals struct {
	Fired      uint64 `json:"fired"`      // events that triggers gave
	Ended      uint64 `json:"ended"`      // runs with all results known to the hub
	Failed     uint64 `json:"failed"`     // of those, with an error
	Delivered  uint64 `json:"delivered"`  // deliveries of outputs
	Duplicated uint64 `json:"duplicated"` // deliveries above one for a key
	Dropped    uint64 `json:"dropped"`    // counted in gap records
	Lost       uint64 `json:"lost"`       // neither ended nor dropped
	Refused    uint64 `json:"refused"`    // messages, seals and artifacts that were refused
	BytesUp    uint64 `json:"bytes_up"`
	BytesDown  uint64 `json:"bytes_down"`
	MaxDelayMS int64  `json:"max_delay_ms"` // firing to delivery
	DelayAgent string `json:"delay_agent,omitempty"`
	PeakOutbox uint64 `json:"peak_outbox"` // bytes, of one agent
	PeakAgent  string `json:"peak_agent,omitempty"`
}

// Sample is the fleet at one moment. Counts are since the sample before.
type Sample struct {
	AtMS      int64  `json:"at_ms"`
	Online    int    `json:"online"`
	Converged int    `json:"converged"` // agents that hold and report what the hub wants
	Fired     uint64 `json:"fired"`
	Ended     uint64 `json:"ended"`
	Failed    uint64 `json:"failed"`
	BytesUp   uint64 `json:"bytes_up"`
	BytesDown uint64 `json:"bytes_down"`
	Backlog   uint64 `json:"backlog"` // bytes waiting in outboxes
	Delivered uint64 `json:"delivered"`
	P50MS     int64  `json:"p50_ms"` // firing to delivery, of Delivered
	P95MS     int64  `json:"p95_ms"`
	P99MS     int64  `json:"p99_ms"`
	// Sites are the states of the fleet map's cells in the order of Result.Groups' Sites,
	// one character each: '.' away, 'o' online, 'x' with errors, 'w' not converged.
	Sites string `json:"sites,omitempty"`
}

// Fault is one fault that happened.
type Fault struct {
	Index  int      `json:"index"` // in the scenario
	What   string   `json:"what"`
	AtMS   int64    `json:"at_ms"`
	ForMS  int64    `json:"for_ms"`
	Agents int      `json:"agents"`           // how many it befell; 0 for the hub
	Names  []string `json:"names,omitempty"`  // the first of them, at most ten
	Detail string   `json:"detail,omitempty"` // such as by -2h
}

// Invariant is a rule that always holds.
type Invariant struct {
	Name    string `json:"name"`
	Text    string `json:"text"`    // what it says, a sentence
	Checked uint64 `json:"checked"` // how many times it was looked at
	Broken  uint64 `json:"broken"`
}

// Violation is one breach of an invariant.
type Violation struct {
	Invariant string `json:"invariant"`
	AtMS      int64  `json:"at_ms"`
	Agent     string `json:"agent,omitempty"`
	Text      string `json:"text"`            // wanted and got
	Cause     string `json:"cause,omitempty"` // what came just before, if that is known
	Repeat    string `json:"repeat"`          // the command that does it again
	Look      string `json:"look,omitempty"`  // the one that shows the agent at that moment
}

// Expect is one expectation of the scenario and what became of it.
type Expect struct {
	Index  int    `json:"index"`
	Line   int    `json:"line"` // in the scenario
	Kind   string `json:"kind"`
	Text   string `json:"text"`
	Held   bool   `json:"held"`
	AtMS   int64  `json:"at_ms"` // when it broke; for eventually when it came true
	Agent  string `json:"agent,omitempty"`
	Detail string `json:"detail,omitempty"` // the values that decided, such as alerts.lost = 3
	Cause  string `json:"cause,omitempty"`  // what came just before, if that is known
	Repeat string `json:"repeat,omitempty"`
	Look   string `json:"look,omitempty"` // the command that shows the agent at that moment
}

// Group is what one group of the fleet did.
type Group struct {
	Name      string `json:"name"`
	Agents    int    `json:"agents"`
	Converged int    `json:"converged"` // at the end
	Fired     uint64 `json:"fired"`
	Ended     uint64 `json:"ended"`
	Failed    uint64 `json:"failed"`
	Dropped   uint64 `json:"dropped"`
	BytesUp   uint64 `json:"bytes_up"`
	BytesDown uint64 `json:"bytes_down"`
	Restarts  uint64 `json:"restarts"`
	P50MS     int64  `json:"p50_ms"` // firing to delivery
	P95MS     int64  `json:"p95_ms"`
	P99MS     int64  `json:"p99_ms"`
	Sites     []Site `json:"sites"` // by name
}

// Site is what one site sent and got.
type Site struct {
	Name      string `json:"name"`
	Agents    int    `json:"agents"`
	BytesUp   uint64 `json:"bytes_up"`
	BytesDown uint64 `json:"bytes_down"`
	Failed    uint64 `json:"failed"`
}

// Agent is one agent at the end.
type Agent struct {
	Name       string `json:"name"`
	Group      string `json:"group"`
	Site       string `json:"site"`
	Platform   string `json:"platform"`
	Online     bool   `json:"online"`
	Converged  bool   `json:"converged"`
	Revision   uint64 `json:"revision"`
	Fired      uint64 `json:"fired"`
	Ended      uint64 `json:"ended"`
	Failed     uint64 `json:"failed"`
	Dropped    uint64 `json:"dropped"`
	BytesUp    uint64 `json:"bytes_up"`
	BytesDown  uint64 `json:"bytes_down"`
	Outbox     uint64 `json:"outbox"`      // bytes waiting
	PeakOutbox uint64 `json:"peak_outbox"` // bytes
	Restarts   uint64 `json:"restarts"`
	Renewals   uint64 `json:"renewals,omitempty"` // of its certificate
	Lost       uint64 `json:"lost"`               // its events with neither a result nor a counted drop
	Delivered  uint64 `json:"delivered"`          // of its outputs' effects
	Duplicated uint64 `json:"duplicated"`         // of those, above one for a key
	Reordered  uint64 `json:"reordered"`          // its runs that came to the hub after a later one
	MeanMS     int64  `json:"mean_ms"`            // travel of its runs: firing to the last result at the hub
	MaxMS      int64  `json:"max_ms"`
}

// Deployed is how one deployment, or one wave of it, spread.
type Deployed struct {
	Workflow string `json:"workflow"`
	Wave     int    `json:"wave"` // from 1; 0 when there are no waves
	AtMS     int64  `json:"at_ms"`
	Agents   int    `json:"agents"` // whose work changed
	Reached  int    `json:"reached"`
	// HalfMS, MostMS and AllMS are when a half, 95 in 100 and all had it, since AtMS; -1:
	// never.
	HalfMS int64 `json:"half_ms"`
	MostMS int64 `json:"most_ms"`
	AllMS  int64 `json:"all_ms"`
	// Outcome is what became of a wave, empty while it is under way: one of the Wave words. EndMS
	// is when, and Reason why the hub took the change back or waits for a person.
	Outcome string `json:"outcome,omitempty"`
	Reason  string `json:"reason,omitempty"`
	EndMS   int64  `json:"end_ms,omitempty"`
}

// What becomes of a wave.
const (
	WavePassed   = "passed"     // the next one followed
	WaveDone     = "done"       // the change holds for all
	WaveReturned = "taken back" // nobody has the change any more
	WaveReplaced = "replaced"   // another change of the workflow came
	WaveWaits    = "waits"      // for a person
)

// Run is one run, told by its steps.
type Run struct {
	Run      string `json:"run"`
	Workflow string `json:"workflow"`
	Agent    string `json:"agent"`
	FiredMS  int64  `json:"fired_ms"`
	TookMS   int64  `json:"took_ms"` // firing to the last result
	Steps    []Step `json:"steps"`
}

// Step is one step of a run.
type Step struct {
	Step  string `json:"step"`
	Agent string `json:"agent"`
	AtMS  int64  `json:"at_ms"` // when it ended
	Code  string `json:"code"`
}

// Pending is an agent that has not converged, and why.
type Pending struct {
	Agent string `json:"agent"`
	Why   string `json:"why"`
}

// Broken reports whether an invariant or an expectation did not hold, or not all
// converged.
func (r *Result) Broken() bool {
	for i := range r.Expects {
		if !r.Expects[i].Held {
			return true
		}
	}
	return len(r.Violations) > 0 || len(r.Pending) > 0
}
