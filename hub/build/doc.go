// Package build turns a verified source into a module: it reads the manifest, builds by
// the toolchain of the plugin's language, and runs the plugin's own tests.
//
// builders is the table of languages; a new language is a row there and a file beside
// golang.go, and nothing elsewhere. What a build follows from (tree, toolchain, flags,
// dependencies) has one digest, so that a result is kept and found again, and the same
// inputs give the same module.
package build
