package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/stavily/stavily/protocol"
)

// instance is one running guest. Its goroutine is in _start from the beginning to the
// end of its life, which is mostly in a read of stdin: it goes on when the host waits for it.
type instance struct {
	*duplex
	*Fate
	module api.Module
	memory *memory
	tank   tank
	world  *world // what it has besides memory; nil in a command
	clock  func() time.Time
	errs   *lineWriter   // stderr
	done   chan struct{} // closed when it has ended
	exit   error         // how; set before done is closed
	cancel context.CancelFunc
	before uint64 // the fuel that was spent at Begin
}

// blueprint is what instances of one plugin are made from.
type blueprint struct {
	code   *code
	limits protocol.Limits
	host   *Host
	log    *lineWriter
	world  worldly
}

// newInstance starts a guest.
func newInstance(b blueprint) (*instance, error) {
	in := &instance{
		duplex: newDuplex(), clock: b.host.cfg.Clock, errs: b.log,
		memory: newMemory(uint64(b.limits.MemoryMB)<<20, &b.host.held),
		done:   make(chan struct{}),
	}
	in.Fate = NewFate(in.kill)
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), instanceKey{}, in))
	in.cancel = cancel
	in.world = newWorld(in, b)
	var err error
	in.module, err = b.code.runtime.InstantiateModule(
		experimental.WithMemoryAllocator(ctx, in.memory), b.code.module, in.config(b.host))
	if err != nil {
		cancel()
		in.memory.Free()
		return nil, protocol.Errorf(protocol.CodeUnverified, "instantiate: %w", err)
	}
	in.tank = newTank(in.module, b.limits.CPUCores)
	in.tank.unit = slowCompiled
	if b.host.engine.interpreter || !compiles {
		in.tank.unit, in.tank.slice = slowInterpreted, sliceInterpreted
	}
	if in.tank.limited() {
		in.duplex.rests = in.rests
		if b.host.realTime {
			in.tank.processor = threadTime
		}
	}
	in.tank.resume(in.clock())
	in.start(func() { in.run(ctx) })
	return in, nil
}

// config is all that a guest has of the world: three streams, a clock and randomness.
// No arguments, no environment, no files.
func (in *instance) config(h *Host) wazero.ModuleConfig {
	born := in.clock()
	return wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithStdin(guestIn{in.duplex, in.woke}).WithStdout(guestOut{in.duplex}).WithStderr(in.errs).
		WithRandSource(h.cfg.Random).
		WithWalltime(func() (int64, int32) {
			now := in.clock()
			return now.Unix(), int32(now.Nanosecond())
		}, sys.ClockResolution(time.Microsecond)).
		// Not from zero: Go refuses to start on a clock that says so.
		WithNanotime(func() int64 {
			return int64(in.clock().Sub(born) + time.Second)
		}, sys.ClockResolution(time.Microsecond)).
		WithNanosleep(func(ns int64) {
			in.rests()
			in.sleep(time.Duration(ns))
			in.woke()
			if in.ended() {
				panic(sys.NewExitError(exitEnded))
			}
		}).
		WithOsyield(func() {
			if in.ended() {
				panic(sys.NewExitError(exitEnded))
			}
		})
}

// run is the guest's goroutine.
func (in *instance) run(ctx context.Context) {
	defer close(in.done)
	defer in.drop()
	defer in.memory.Free()
	defer func() { _ = in.module.Close(ctx) }()
	defer in.cancel()
	defer func() {
		if r := recover(); r != nil {
			in.exit = fmt.Errorf("panic in the engine: %v", r)
		}
	}()
	_, in.exit = in.module.ExportedFunction("_start").Call(ctx)
}

// woke notes that the guest goes on: what it waited is not time that it ran.
func (in *instance) woke() {
	in.tank.resume(in.clock())
	if in.tank.busy {
		in.tank.mark()
	}
}

// rests notes that the guest begins to wait.
func (in *instance) rests() { in.tank.charge(in.clock()) }

// sleep waits, but not longer than the guest may live.
func (in *instance) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	select {
	case <-ctx.Done():
	case <-in.ending:
	}
}

// kill ends the guest. It returns at once.
func (in *instance) kill() {
	in.drop()
	in.cancel()
}

// Gone reports whether the guest has ended by itself or must. A guest whose streams are
// dropped has left its program, although its goroutine may still be closing the module.
func (in *instance) Gone() bool { return in.dropped() || in.ended() }

// Begin lets the guest's time count again.
func (in *instance) Begin() {
	in.before = in.tank.spent()
	in.tank.resume(in.clock())
}

// Rest does nothing: a guest that is not asked waits in a read.
func (*instance) Rest() {}

// Used returns the fuel since Begin and the linear memory. The fuel of a guest that was
// ended and still runs is not known.
func (in *instance) Used() Usage {
	u := Usage{MemoryB: in.memory.size.Load()}
	if !in.Gone() || in.finished() {
		u.Fuel = in.tank.spent() - in.before
	}
	return u
}

// spent returns the fuel that a guest that waits has spent since it was started; 0 for one
// that pays none.
func spent(of Carrier) uint64 {
	if in, ok := of.(*instance); ok {
		return in.tank.spent()
	}
	return 0
}

// finished reports whether the guest's goroutine has ended.
func (in *instance) finished() bool {
	select {
	case <-in.done:
		return true
	default:
		return false
	}
}

// Await has the guest go on to its end. After d it must end, which its fuel sees to.
func (in *instance) Await(d time.Duration) bool {
	timer := time.AfterFunc(d, func() {
		in.End(protocol.Errorf(protocol.CodeUnavailable, "did not end by itself within %v", d))
	})
	defer timer.Stop()
	in.goOn()
	return true
}

// goOn has the guest go on until it has ended. One that waits for what does not come ends when
// it must.
func (in *instance) goOn() {
	for first := true; !in.finished(); first = false {
		if !first && !in.dropped() {
			in.linger()
		}
		in.next()
	}
}

// Free does nothing: the guest's goroutine has freed all.
func (*instance) Free() {}

// Autopsy says how a guest ended that the host did not end.
func (in *instance) Autopsy() *protocol.Error {
	exit := in.exit
	var code *sys.ExitError
	how := "exit 0"
	switch {
	case errors.As(exit, &code):
		how = fmt.Sprintf("exit %d", code.ExitCode())
	case exit != nil:
		how, _, _ = strings.Cut(exit.Error(), "\n")
	}
	if said := in.errs.first(); said != "" {
		how += ": " + said
	}
	switch {
	case in.memory.denied.Load():
		return protocol.Errorf(protocol.CodeMemory, "ended for want of memory beyond max_memory_mb: %s",
			clip(how, 400))
	case exit != nil && strings.Contains(exit.Error(), "stack overflow"):
		return protocol.Errorf(protocol.CodeMemory, "call stack overflow: recursion without end")
	}
	return contractf("ended without an answer: %s", clip(how, 400))
}
