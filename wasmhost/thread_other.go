//go:build !linux

package wasmhost

import "time"

// threadTime is nil where only the clock tells how long a guest ran.
var threadTime func() (thread int, used time.Duration)
