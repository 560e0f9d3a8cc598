//go:build race

package wasmhost

// raceDetector says that the tests are watched, which makes Go code ten times slower.
const raceDetector = true
