package wasmhost

import (
	"context"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

const (
	// fuelSlice is what a guest may spend before it calls the host: about a
	// millisecond of compiled code.
	fuelSlice = 2_000_000
	// restAfter is the CPU time that a guest may be ahead of its share of cores before
	// it is made to rest, so that short answers are never slowed down.
	restAfter = 20 * time.Millisecond
	// creditMax bounds what a guest gets back for having been woken late.
	creditMax = time.Second
	// What the clock says beyond that for a unit of fuel is not the guest's, compiled or
	// interpreted on a slow machine: a fast one takes a twentieth.
	slowCompiled    = 10 * time.Nanosecond
	slowInterpreted = 500 * time.Nanosecond
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
	cores       float64
	resumed     time.Time     // when the guest began to run
	paused      time.Time     // when it began to wait; before resumed while it runs
	ahead       time.Duration // how far it is ahead of its share
	unit        time.Duration // the most that a unit of fuel takes
	billed      uint64        // fuel that charge has seen
	lap         lap
}

func newTank(m api.Module, cores float64) tank {
	t := tank{cores: cores}
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
		in.end(protocol.Errorf(protocol.CodeMemory, "call stack of more than %d bytes: recursion without end",
			8*meter.StackUnits))
		panic(sys.NewExitError(exitEnded))
	}
	// The debt is billed whole, however large one instruction made it: a guest that
	// owed more than a slice would otherwise go on unpaid.
	if left := int64(t.fuel.Get()); left < 0 {
		t.given += uint64(fuelSlice - left)
		t.fuel.Set(fuelSlice)
	}
	t.rest(in)
}

// lap is what is known of the time since fuel ran out before.
type lap struct {
	thread int           // that the guest was on then
	used   time.Duration // what that had used of a processor then
	ran    time.Duration // by the clock, since
	usual  time.Duration // what a slice of fuel took of a processor, when that was last known
}

// rest holds the guest to its share of cores: what it ran longer it waits (M-18). What it
// is ahead it stays ahead, over many short requests too, until it has waited as long.
func (t *tank) rest(in *instance) {
	now := in.clock()
	t.charge(now)
	if !t.limited() {
		return
	}
	t.correct(in.processor)
	if t.ahead < restAfter {
		return
	}
	in.sleep(t.ahead)
	after := in.clock()
	// Who was woken late gets that back.
	t.ahead = max(t.ahead-after.Sub(now), -creditMax)
	t.resumed, t.paused = after, after
	t.lap = lap{usual: t.lap.usual}
	t.correct(in.processor)
}

// correct takes back what was charged for the time in which the machine had something
// else to do than to run the guest.
func (t *tank) correct(processor func() (thread int, used time.Duration)) {
	if processor == nil {
		return
	}
	thread, used := processor()
	if thread == t.lap.thread {
		t.lap.usual = used - t.lap.used
	}
	// On another thread it was put aside and has run no longer than it does otherwise.
	if t.lap.thread != 0 && t.lap.usual > 0 {
		t.ahead -= t.owed(max(0, t.lap.ran-t.lap.usual))
	}
	t.lap = lap{thread: thread, used: used, usual: t.lap.usual}
}

// charge counts what the guest has run until now.
func (t *tank) charge(now time.Time) {
	ran := now.Sub(t.resumed)
	t.resumed, t.paused = now, now
	if !t.limited() || ran < 0 {
		return
	}
	if t.fuel != nil && t.unit > 0 {
		paid := t.spent()
		ran = min(ran, time.Duration(paid-t.billed)*t.unit)
		t.billed = paid
	}
	t.ahead += t.owed(ran)
	t.lap.ran += ran
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
	}
	t.resumed, t.paused = now, now
	t.lap = lap{usual: t.lap.usual} // another thread may run it next
}
