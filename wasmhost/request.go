package wasmhost

import "github.com/stavily/stavily/protocol"

// ABIVersion is the version of the conversation of ABI.md.
const ABIVersion = 1

// RequestKind is what a plugin is asked.
type RequestKind string

// The kinds: wake for triggers, run for actions, deliver for outputs, check for all.
const (
	Wake    RequestKind = "wake"
	Run     RequestKind = "run"
	Deliver RequestKind = "deliver"
	Check   RequestKind = "check"
)

// Request is one question to a plugin. Which fields are set follows from Kind.
type Request struct {
	Kind RequestKind
	// Now is the host's time; a plugin has no other clock that matters.
	Now protocol.Stamp

	// SteadyMS is, for Wake, the host's steady clock: it goes on over restarts and never jumps.
	SteadyMS int64
	// Wake: why, and the state that the plugin answered last, nil at first.
	Why   Why
	State protocol.Raw
	// Message is what WhyMessage brings; nil for every other reason.
	Message *Message

	// Run and Deliver: the event, the results of the actions so far in order, and the
	// idempotency key, which stays the same when the request is repeated.
	Event   *protocol.Event
	Results []protocol.Result
	Key     string
	// Config is the configuration that the request is worked on with, nil for the step's own.
	Config protocol.Raw

	// TimeoutMS bounds the whole request, host calls included. 0 means the plugin's
	// limit of seconds.
	TimeoutMS int64
}

// Why is why a trigger is woken.
type Why string

// The reasons. The first wake after an arming is a start, whatever the trigger waited
// for before.
const (
	WhyStart Why = "start"
	WhyTimer Why = "timer"
)

// Answer is what a plugin said to a request, with what it cost. Error is set when it
// answered with an error, broke the contract or ran into a limit; then the other
// fields of the answer are empty.
type Answer struct {
	Error *protocol.Error

	// Wake: what fired, the state to keep, and what to be woken by next.
	Events []protocol.Raw
	State  protocol.Raw
	Next   Next

	// Run: the result's data.
	Data protocol.Raw

	Usage Usage
}

// Next is what a trigger wants to be woken by.
type Next struct {
	AfterMS int64 // 0: never again until the next start
	// AtMS is a time that the wall clock is to show, unix milliseconds, in place of AfterMS; 0:
	// none. The host follows the clock when that is set.
	AtMS int64
	// Topics are filters of local topics: a message on one wakes the trigger before its time.
	Topics []string
}

// Usage is what a request cost.
type Usage struct {
	TookUS    int64
	Fuel      uint64 // 0 while the module is not metered
	CPUUS     int64  // CPU time; 0 for a module, which has fuel
	MemoryB   uint64 // linear memory afterwards
	HostCalls uint32
	Denied    uint32
}
