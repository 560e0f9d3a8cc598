// Package cases holds a plugin to cases that are written in no programming language:
// files of YAML that say what the plugin is told, what its host answers, and what it must
// answer. They run in wasmhost, with a clock that stands still and a randomness that is the
// same each time; nothing of the machine is read, written or run. An author runs them at
// the desk, the hub before it publishes; in whatever language the plugin is written, the
// same file serves.
//
// README.md is the reference, schema.json the same for editors.
package cases
