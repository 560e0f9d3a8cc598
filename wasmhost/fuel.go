package wasmhost

import (
	"context"
	"math"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

const (
	// A slice is what a guest may spend before it calls the host: about a millisecond of
	// compiled code, some of code that is interpreted.
	sliceCompiled    = 2_000_000
	sliceInterpreted = 200_000
	// restAfter is the time that a guest may be ahead of its share of cores before it is
	// made to rest: as long as a period of a cgroup, so that short answers are never slowed
	// down and being put to sleep and woken, wakeCost of a processor each time, is a small
	// part of a small share.
	restAfter = 100 * time.Millisecond
	wakeCost  = 200 * time.Microsecond
	// creditMax bounds what a guest gets back for having been woken late.
	creditMax = time.Second
	// lapMost is what a guest is charged of the time since it went on, when only the clock
	// told how long that was, or what its fuel took on a slow machine if that is more: what
	// goes beyond is time in which the machine had something else to do.
	lapMost         = 5 * time.Millisecond
	slowCompiled    = 10 * time.Nanosecond
	slowInterpreted = 500 * time.Nanosecond
	// tollEvery is after how many calls of the host a guest is held to its share that has
	// not run out of fuel: they are work too, and cost it little.
	tollEvery = 64
)

type instanceKey struct{}

// addFuel gives a runtime the import by which metered guests ask for more.
func addFuel(ctx context.Context, r wazero.Runtime) error {
	_, err := r.NewHostModuleBuilder(meter.ImportModule).
		NewFunctionBuilder().
		WithGoFunction(api.GoFunc(fuelOut), nil, nil).
		Export(meter.ImportName).
		Instantiate(ctx)
	return err
}

// fuelOut is called by a guest that has spent its fuel. It gives more, or ends the guest.
// Being an ordinary function of Go, it is also where the scheduler and the garbage
// collector get hold of the guest's goroutine.
func fuelOut(ctx context.Context, _ []uint64) {
	in, ok := ctx.Value(instanceKey{}).(*instance)
	if !ok {
		panic(sys.NewExitError(exitEnded))
	}
	in.tank.out(in)
}

// tank is the fuel of one metered guest. It is touched by the guest's goroutine, and by
// the host only while the guest waits.
type tank struct {
	fuel, stack api.MutableGlobal // nil in a guest that is not metered
	given       uint64            // all that was ever given
	slice       uint64            // that it gets at once
	cores       float64
	resumed     time.Time     // when the guest began to run
	paused      time.Time     // when it began to wait; before resumed while it runs
	ahead       time.Duration // how far it is ahead of its share
	unit        time.Duration // the most that a unit of fuel takes
	billed      uint64        // fuel that charge has seen
	calls       uint32        // of the host, for toll

	// processor says what the thread that calls it has used; nil where time is not the machine's.
	processor func() (thread int, used time.Duration)
	busy      bool    // it was near its share lately: each lap is measured
	pace      float64 // ns that a unit of fuel took of a processor, when that was last known
	lap       lap
}

func newTank(m api.Module, cores float64) tank {
	t := tank{cores: cores, slice: sliceCompiled}
	t.fuel, _ = m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	t.stack, _ = m.ExportedGlobal(meter.StackGlobal).(api.MutableGlobal)
	return t
}

// spent returns all fuel that the guest has paid so far.
func (t *tank) spent() uint64 {
	if t.fuel == nil {
		return 0
	}
	return uint64(int64(t.given) - int64(t.fuel.Get()))
}

func (t *tank) out(in *instance) {
	if in.ended() {
		panic(sys.NewExitError(exitEnded))
	}
	if t.stack != nil && int64(t.stack.Get()) < 0 {
		in.End(protocol.Errorf(protocol.CodeMemory, "call stack of more than %d bytes: recursion without end",
			8*meter.StackUnits))
		panic(sys.NewExitError(exitEnded))
	}
	// The debt is billed whole, however large one instruction made it: a guest that
	// owed more than a slice would otherwise go on unpaid.
	if left := int64(t.fuel.Get()); left < 0 {
		t.given += t.slice + uint64(-left)
		t.fuel.Set(t.slice)
	}
	t.rest(in)
}

// toll is out for guests that call the host again and again and pay little for it.
func (t *tank) toll(in *instance) {
	if t.calls++; t.calls%tollEvery == 0 && t.limited() {
		t.rest(in)
	}
}

// rest holds the guest to its share of cores: what it ran longer it waits (M-18). What it
// is ahead it stays ahead, over many short requests too, until it has waited as long.
func (t *tank) rest(in *instance) {
	now := in.clock()
	t.charge(now)
	if !t.limited() {
		return
	}
	if t.ahead < restAfter {
		t.mark()
		return
	}
	t.ahead += t.owed(wakeCost)
	in.sleep(t.ahead)
	after := in.clock()
	// Who was woken late gets that back.
	t.ahead = max(t.ahead-after.Sub(now), -creditMax)
	t.resumed, t.paused = after, after
	t.mark()
}

// lap is what a thread had used of a processor when the guest went on. The thread is 0
// when that was not asked.
type lap struct {
	thread int
	used   time.Duration
}

// mark begins a lap that is measured.
func (t *tank) mark() {
	if t.processor != nil {
		t.lap.thread, t.lap.used = t.processor()
	}
}

// charge counts what the guest has run until now.
func (t *tank) charge(now time.Time) {
	ran := now.Sub(t.resumed)
	t.resumed, t.paused = now, now
	if !t.limited() || ran < 0 {
		return
	}
	paid := t.spent() - t.billed
	t.billed += paid
	t.ahead += t.owed(min(ran, t.measure(paid)))
	t.busy = t.busy || t.ahead > restAfter/4
	t.lap = lap{}
}

// measure returns what the guest may have used of a processor in this lap, in which it paid
// so much: exactly if it was measured and has not come to another thread since.
func (t *tank) measure(paid uint64) time.Duration {
	if t.lap.thread != 0 {
		switch thread, used := t.processor(); {
		case thread == t.lap.thread:
			used -= t.lap.used
			if paid > 0 {
				t.pace = float64(used) / float64(paid)
			}
			return used
		case t.pace > 0:
			return time.Duration(float64(paid) * t.pace)
		}
	}
	if t.fuel == nil {
		return math.MaxInt64
	}
	return max(lapMost, time.Duration(paid)*t.unit)
}

// limited reports whether the guest has less than a core.
func (t *tank) limited() bool { return t.cores > 0 && t.cores < 1 }

// owed returns how long who ran so long has to wait.
func (t *tank) owed(ran time.Duration) time.Duration {
	return time.Duration(float64(ran) * (1/t.cores - 1))
}

// resume notes that the guest begins to run after it has waited since it was charged. Who
// has waited longer than it had to has no credit from that.
func (t *tank) resume(now time.Time) {
	if idle := now.Sub(t.paused); idle > 0 && !t.paused.IsZero() {
		t.ahead = max(t.ahead-idle, min(t.ahead, 0))
		t.busy = t.busy && idle < restAfter
	}
	t.resumed, t.paused = now, now
	t.lap = lap{}
}
