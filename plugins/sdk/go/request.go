package stavily

import (
	"encoding/json"
	"fmt"
	"time"
)

// Why a trigger is woken. The first wake after a start is WhyStart, whatever the
// trigger waited for before.
const (
	WhyStart   = "start"
	WhyTimer   = "timer"
	WhyMessage = "message" // of a topic that the last answer asked for
)

// Wake is what a trigger is asked.
type Wake struct {
	Why   string          `json:"why"`
	NowMS int64           `json:"now_ms"` // as Context.Now, unix milliseconds
	State json.RawMessage `json:"state"`  // what the last answer's State was; null or empty at first
	// SteadyMS counts milliseconds over restarts and never jumps: what it says of two wakes is
	// how long one was after the other, whatever the clock was set to between. 0: not said.
	SteadyMS int64 `json:"steady_ms"`
	// Clock is whether NowMS can be believed. Without, it is the newest time that is known and
	// what has passed since.
	Clock bool `json:"clock"`
	// Message is what WhyMessage brings; nil for every other reason.
	Message *Message `json:"message,omitempty"`
}

// Message is what a plugin of the same device published.
type Message struct {
	Topic string          `json:"topic"`
	Data  json.RawMessage `json:"data"`
}

// LoadState reads the state that the last answer left into a pointer. Without a state
// the pointer's value stays as it is.
func (w Wake) LoadState(into any) error {
	if len(w.State) == 0 {
		return nil
	}
	if err := json.Unmarshal(w.State, into); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	return nil
}

// Fired is a trigger's answer.
type Fired struct {
	// Events are what happened, none or more; each starts a run of the workflow with
	// this as its data. At most 64, each at most 24 KiB as JSON.
	Events []any
	// State is what the next wake gets, also after a restart. nil forgets the state.
	// At most 16 KiB as JSON.
	State any
	// After is when to be woken next. 0 means not again until the next start. A wait goes on
	// over a restart.
	After time.Duration
	// At, in place of After, is what the wall clock is to show then. The host follows when the
	// clock is set; what was missed by more than a minute is as the workflow's catch-up says.
	At time.Time
	// Topics are filters of local topics ("line/+/alarm", "line/#"): a message on one wakes
	// the trigger before its time. At most 16. Needs mqtt.listen with filters as scopes.
	Topics []string
}

// Run is what an action is asked.
type Run struct {
	Event      Event    `json:"event"`
	Results    []Result `json:"results"`     // of the actions before this one, in order
	Key        string   `json:"key"`         // the same when the same request is repeated
	DeadlineMS int64    `json:"deadline_ms"` // how long this request may take; 0: not said
	NowMS      int64    `json:"now_ms"`
}

// Delivery is what an output is asked: the event, and the results of all actions.
type Delivery Run

// Outcome is what came of one event of a batch: an error, or the data of the step's result.
type Outcome struct {
	Data any
	Err  error
}

// Event is what started a run.
type Event struct {
	Run      string          `json:"run"` // 32 hexadecimal digits
	Workflow string          `json:"workflow"`
	TimeMS   int64           `json:"time_ms"`
	Data     json.RawMessage `json:"data"`
}

// Decode reads the event's data into a pointer.
func (e Event) Decode(into any) error {
	if c := (cursor{b: e.Data}); c.decode(into) {
		return nil
	}
	if err := json.Unmarshal(e.Data, into); err != nil {
		return fmt.Errorf("event data: %w", err)
	}
	return nil
}

// Result is how one step of a run ended.
type Result struct {
	Step   string          `json:"step"`
	Status string          `json:"status"`
	Data   json.RawMessage `json:"data,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Limits are what the host holds the plugin to; 0 means not said.
type Limits struct {
	MemoryMB    uint32  `json:"max_memory_mb"`
	CPUCores    float64 `json:"max_cpu_cores"`
	Seconds     uint32  `json:"max_execution_time_seconds"`
	Files       uint32  `json:"max_file_descriptors"`
	Connections uint32  `json:"max_network_connections"`
}

// Grant is a capability that the plugin has on this agent, with its scopes.
type Grant struct {
	Capability string   `json:"capability"`
	Scopes     []string `json:"scopes"`
}
