// Package protocol holds the words that travel between a hub and its agents.
//
// An operator points a hub at sources: Git repositories of plugins. A plugin says
// what it is in its manifest and is one of three types: a trigger fires, an action
// works, an output delivers. The hub builds a source into artifacts, one file for
// one platform, named by digest, and seals manifest, commit and digests into a
// release that never changes.
//
// A workflow joins one trigger, its actions and its outputs into steps and says on
// which targets they go. From all workflows and the fleet the hub plans one desired
// document per agent: a revision, the assignments, the releases by digest, the
// grants and the limits. The agent is told of it by a hint, fetches it chunk by
// chunk, opens it with the keys that it pinned when it joined, and answers with its
// reported document.
//
// When a trigger fires, an event is born and with it a run. Every step of the run
// ends in a result. Events and results leave the agent in lanes: records with a
// sequence, acknowledged by the hub's store and not by the broker.
//
// Everything here is a plain value. Messages are CBOR in core deterministic
// encoding with integer keys; SPEC.md is the normative text, stavily.cddl says the
// same as a grammar, and testdata/vectors holds every implementation to it.
//
// This package stands on the ground floor: it imports the standard library, cbor
// and go-cose, and nothing else.
package protocol
