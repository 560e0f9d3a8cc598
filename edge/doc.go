// Package edge is one agent: what a device runs of its workflows, by itself.
//
// An Agent is a plain object. It starts no goroutine, reads no clock and takes no
// lock: messages, the answers of plugins, the state of the line and the time come in
// as inputs, one after the other, from Run in production and from the simulator in a
// simulation. All that one input changes on the disk is one Store.Apply, and nothing
// leaves the agent that is not on the disk before.
//
//	Boot      reads the disk, arms every trigger again; needs no network
//	Handle    a hint, an acknowledgement, a chunk
//	Answered  a plugin is loaded, was woken, ended a step
//	Online    the line came or went
//	Tick      the time passed that Next asked for
//
// The way of an event: trigger.go (a wake answers with events; each becomes a run) ->
// outbox.go (its record waits for the hub's acknowledgement) -> step.go (the run's
// steps, one after the other, each ending in a result record).
//
// A step that other agents run goes out by hop.go and comes back there; hosting.go is what
// this agent runs for others.
//
// The way of a desired document: desired.go (hint, open, check, swap) -> fetch.go
// (what is not here yet) -> trigger.go (loading and arming) -> report.go.
package edge
