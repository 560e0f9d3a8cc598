package wasmhost

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	rlimitData = 2 // RLIMIT_DATA, which package syscall does not name everywhere
	niceness   = 10
	// goBase is what a Go program has mapped before it does anything, in MB: an arena
	// of 64 and the tables over all of them.
	goBase = 160
)

// limitSelf bounds this process. Address space is not what is bounded, because Go
// reserves far more than it uses; RLIMIT_DATA counts what is mapped to be written. When
// the time is up it says so on out and exits; should that not help, the system kills it
// a second later.
func limitSelf(seconds, memoryMB int, out io.Writer) error {
	// Whatever else the machine does comes first.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness)
	seconds = int(float64(seconds)*slowness() + 0.999)
	up := make(chan os.Signal, 1)
	signal.Notify(up, syscall.SIGXCPU)
	go func() {
		<-up
		fmt.Fprintf(out, "needs more than %d s of a processor, the bound", seconds)
		os.Exit(exitSlow) //nolint:forbidigo // nobody would hear of a returned code in time
	}()
	for _, l := range []struct {
		name      string
		resource  int
		soft, top uint64
	}{
		{"CPU", syscall.RLIMIT_CPU, uint64(seconds), uint64(seconds) + 1},
		{"DATA", rlimitData, uint64(memoryMB+goBase) << 20, uint64(memoryMB+goBase) << 20},
		{"CORE", syscall.RLIMIT_CORE, 0, 0},
	} {
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.soft, Max: l.top}); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
	}
	return nil
}

// referenceWork is how long exercise takes on the machine of RATIONALE.md.
const referenceWork = 2500 * time.Microsecond

// slowness returns how many times slower than that this machine is, from 1 to 8.
func slowness() float64 {
	began := processorTime()
	if exercise() == 0 {
		return 1
	}
	return min(8, max(1, float64(processorTime()-began)/float64(referenceWork)))
}

// exercise is about what a compiler does: short arithmetic over memory that fits no cache
// of the first level.
func exercise() (sum uint32) {
	table := make([]uint32, 1<<15)
	x := uint32(2463534242)
	for range 1 << 20 {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		table[x%uint32(len(table))] += x
		sum += table[(x>>7)%uint32(len(table))]
	}
	return sum | 1
}

// processorTime returns what this process has used of processors so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
