package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"github.com/stavily/stavily/edge/sysinfo"
)

// gcPercent is how much garbage the agent lets lie, in percent of what it needs. Its
// own work makes little; a device has better uses for the room.
const gcPercent = 40

// tidyAfter is how long it must have been quiet before memory goes back to the system:
// loads come several at once. The start itself is over a while later.
const (
	tidyAfter = 500 * time.Millisecond
	tidyFirst = 10 * time.Second
)

// saveMemory has the collector prefer room to speed, unless someone decided otherwise.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// warmMB is what plugins that wait may hold together: half of the machine, because it has
// other work too. 0, no bound, where nobody knows how much it has.
func warmMB() int { return int(sysinfo.Device(version, nil).MemoryMB) / 2 }

// tidier gives memory back to the system after the start, and when plugins came or went: loading
// one needs several times the memory that it then has.
type tidier struct {
	due chan struct{} // holds one
}

func newTidier() *tidier { return &tidier{due: make(chan struct{}, 1)} }

// freed says that there is garbage. It does not wait.
func (t *tidier) freed() {
	select {
	case t.due <- struct{}{}:
	default:
	}
}

// run tidies until ctx ends.
func (t *tidier) run(ctx context.Context) {
	quiet := time.NewTimer(tidyFirst)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.due:
			quiet.Reset(tidyAfter)
		case <-quiet.C:
			debug.FreeOSMemory()
			restProgram()
		}
	}
}
