package wasmhost

import (
	"io"
	"iter"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/sys"

	"github.com/stavily/stavily/protocol"
)

// pipeMax bounds the bytes that wait in one direction of a duplex. A writer waits
// while it is full, so a guest that floods its output is held until it is read or ended.
const pipeMax = 64 << 10

// exitEnded is the exit code of a guest that the host ended. It is never seen outside.
const exitEnded = 0xfffffff0

// errIdle is what the host reads while the guest waits for input and has said nothing:
// in a strict conversation nothing can come any more.
var errIdle = protocol.Errorf(protocol.CodeContract, "reads on without having answered")

// duplex is the stdin and the stdout of one guest, in memory. The host's end is the
// duplex itself; the guest's ends are guestIn and guestOut. Host and guest take turns, as the
// conversation has it: the guest goes on when the host waits for it, on the host's own thread,
// and the host when the guest waits. Nobody is woken for that, so a question costs no more than
// two switches of goroutines. Between the host's calls the guest stands still.
type duplex struct {
	bell chan struct{} // holds one: a doze is over
	over chan struct{} // closed when gone is set

	next  func() (struct{}, bool) // has the guest go on until it waits, or ends
	yield func(struct{}) bool     // has the host go on; called in the guest's goroutine

	mu      sync.Mutex // guards the fields below
	in, out buffer
	waiting bool // the guest is in a read of an empty stdin
	dozing  bool // the guest waits for stdin or for its time to be over
	late    bool // that time is over
	doze    int  // counts the waits for a time
	eof     bool // stdin ends after what is in it
	gone    bool // the guest has ended, or must: its calls do not return

	rests func() // called in the guest's goroutine when it begins to wait; may be nil; set before it runs
}

func newDuplex() *duplex {
	return &duplex{bell: make(chan struct{}, 1), over: make(chan struct{})}
}

// start makes body the guest. It begins when the host waits for it first.
func (d *duplex) start(body func()) {
	d.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		d.yield = yield
		body()
	})
}

// park has the host go on, until it waits for the guest. d.mu is held.
func (d *duplex) park() {
	d.mu.Unlock()
	d.yield(struct{}{})
	d.mu.Lock()
}

// pass has the guest go on until it waits for the host, or ends. One that dozes does so to the
// end. d.mu is held.
func (d *duplex) pass() {
	asleep := d.dozing && d.in.len() == 0 && !d.eof && !d.late
	d.mu.Unlock()
	if asleep {
		d.linger()
	}
	d.next()
	d.mu.Lock()
}

// linger waits until a doze is over, or the guest must end.
func (d *duplex) linger() {
	select {
	case <-d.bell:
	case <-d.over:
	}
}

// pause tells who counts how long the guest runs that it does not. d.mu is held.
func (d *duplex) pause() {
	if d.rests != nil {
		d.rests()
	}
}

// buffer is a queue of bytes that keeps its memory.
type buffer struct {
	b  []byte
	at int
}

func (q *buffer) len() int { return len(q.b) - q.at }

func (q *buffer) put(p []byte) {
	if q.at == len(q.b) || len(q.b)+len(p) > cap(q.b) {
		q.b = q.b[:copy(q.b, q.b[q.at:])]
		q.at = 0
	}
	q.b = append(q.b, p...)
}

func (q *buffer) take(p []byte) int {
	n := copy(p, q.b[q.at:])
	q.at += n
	return n
}

// Write gives p to the guest's stdin. It has the guest read where it does not fit, and ends
// with io.ErrClosedPipe when the guest has gone.
func (d *duplex) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := 0; n < len(p); {
		for d.in.len() >= pipeMax && !d.gone {
			if d.out.len() >= pipeMax { // each waits for the other: only its end helps
				d.mu.Unlock()
				<-d.over
				d.mu.Lock()
				continue
			}
			d.pass()
		}
		if d.gone {
			return n, io.ErrClosedPipe
		}
		part := p[n:min(len(p), n+pipeMax)]
		d.in.put(part)
		n += len(part)
		d.waiting = false
	}
	return len(p), nil
}

// Read gives what the guest wrote: io.EOF when it has gone, errIdle when it waits for
// input and has said nothing.
func (d *duplex) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.out.len() > 0:
			return d.out.take(p), nil
		case d.gone:
			return 0, io.EOF
		case d.waiting:
			return 0, errIdle
		}
		d.pass()
	}
}

// Settle has the guest go on until it reads again, or waits for that, or has gone, and reports
// whether it said nothing more meanwhile.
func (d *duplex) Settle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.waiting && !d.dozing && !d.gone && d.out.len() == 0 {
		d.pass()
	}
	return d.out.len() == 0
}

// Finish ends the guest's stdin.
func (d *duplex) Finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.eof = true
}

// Said reports whether the guest has said what was not read.
func (d *duplex) Said() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.len() > 0
}

// overslept reports whether the time of a doze is over, and the guest has not gone on.
func (d *duplex) overslept() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dozing && d.late && !d.gone
}

// rouse has a guest go on that overslept, until it waits for the host.
func (d *duplex) rouse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pass()
}

// drop wakes the host if it waits for the guest's time to be over: the guest's calls do not
// return, the host reads what there is and then io.EOF.
func (d *duplex) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.gone {
		d.gone = true
		close(d.over)
	}
}

// dropped reports whether drop was called.
func (d *duplex) dropped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

// guestIn is the guest's stdin.
type guestIn struct {
	d    *duplex
	woke func() // called in the guest's goroutine when it goes on after it has waited; may be nil
}

// Read waits for the host. When the guest must end it unwinds the guest's stack, as
// proc_exit does.
func (g guestIn) Read(p []byte) (int, error) {
	d := g.d
	d.mu.Lock()
	defer d.mu.Unlock()
	waited := false
	for d.in.len() == 0 {
		switch {
		case d.gone:
			panic(sys.NewExitError(exitEnded))
		case d.eof:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		if !waited {
			d.pause()
		}
		waited, d.waiting = true, true
		d.park()
	}
	if waited && g.woke != nil {
		g.woke()
	}
	d.waiting = false
	return d.in.take(p), nil
}

// await waits until there is something to read, and says how much, or that stdin has
// ended. With most not below zero it waits no longer than that.
func (g guestIn) await(most time.Duration) (n int, eof, came bool) {
	d := g.d
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late = most == 0
	if most > 0 {
		d.doze++
		nth := d.doze
		timer := time.AfterFunc(most, func() { d.wake(nth) })
		defer timer.Stop()
	}
	dozed := false
	defer func() { d.dozing, d.late = false, false }()
	for d.in.len() == 0 && !d.eof && !d.late {
		if d.gone {
			panic(sys.NewExitError(exitEnded))
		}
		if !dozed {
			d.pause()
		}
		dozed, d.dozing, d.waiting = true, true, most < 0
		d.park()
	}
	if dozed && g.woke != nil {
		g.woke()
	}
	d.waiting = false
	n, eof = d.in.len(), d.in.len() == 0 && d.eof
	return n, eof, n > 0 || eof
}

// wake says that the time of the nth doze is over. It may come when that has ended otherwise, and
// the guest is in another.
func (d *duplex) wake(nth int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dozing || nth != d.doze {
		return
	}
	d.late = true
	select {
	case d.bell <- struct{}{}:
	default:
	}
}

// guestOut is the guest's stdout.
type guestOut struct{ d *duplex }

// Write has the host read where there is no room. When the guest must end it unwinds the
// guest's stack.
func (g guestOut) Write(p []byte) (int, error) {
	d := g.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := 0; n < len(p); {
		for d.out.len() >= pipeMax && !d.gone {
			d.park()
		}
		if d.gone {
			panic(sys.NewExitError(exitEnded))
		}
		part := p[n:min(len(p), n+pipeMax)]
		d.out.put(part)
		n += len(part)
	}
	return len(p), nil
}

var (
	_ io.ReadWriter = (*duplex)(nil)
	_ io.Reader     = guestIn{}
	_ io.Writer     = guestOut{}
)
