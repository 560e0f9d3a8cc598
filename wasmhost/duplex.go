package wasmhost

import (
	"io"
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
// duplex itself; the guest's ends are guestIn and guestOut. One mutex holds both
// directions, because the host must see "waits for input and has said nothing" as one
// fact.
type duplex struct {
	mu      sync.Mutex // guards the fields below
	cond    sync.Cond
	in, out buffer
	waiting bool // the guest is in a read of an empty stdin
	dozing  bool // the guest waits for stdin or for its time to be over
	eof     bool // stdin ends after what is in it
	gone    bool // the guest has ended, or must: its calls do not return

	rests func() // called in the guest's goroutine when it begins to wait; may be nil; set before it runs
}

// pause tells who counts how long the guest runs that it does not. d.mu is held.
func (d *duplex) pause() {
	if d.rests != nil {
		d.rests()
	}
}

func newDuplex() *duplex {
	d := &duplex{}
	d.cond.L = &d.mu
	return d
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

// Write gives p to the guest's stdin. It waits while the guest does not read and ends
// with io.ErrClosedPipe when the guest has gone.
func (d *duplex) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := 0; n < len(p); {
		for d.in.len() >= pipeMax && !d.gone {
			d.cond.Wait()
		}
		if d.gone {
			return n, io.ErrClosedPipe
		}
		part := p[n:min(len(p), n+pipeMax)]
		d.in.put(part)
		n += len(part)
		d.waiting = false
		d.cond.Broadcast()
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
			n := d.out.take(p)
			d.cond.Broadcast()
			return n, nil
		case d.gone:
			return 0, io.EOF
		case d.waiting:
			return 0, errIdle
		}
		d.cond.Wait()
	}
}

// Settle waits until the guest reads again, or waits for that, or has gone, and reports whether it said
// nothing more meanwhile.
func (d *duplex) Settle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.waiting && !d.dozing && !d.gone && d.out.len() == 0 {
		d.cond.Wait()
	}
	return d.out.len() == 0
}

// Finish ends the guest's stdin.
func (d *duplex) Finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.eof = true
	d.cond.Broadcast()
}

// Said reports whether the guest has said what was not read.
func (d *duplex) Said() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.len() > 0
}

// drop wakes both sides: the guest's calls do not return, the host reads what there is
// and then io.EOF.
func (d *duplex) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	d.cond.Broadcast()
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
		if !d.waiting {
			d.waiting = true
			d.cond.Broadcast()
		}
		if !waited {
			d.pause()
		}
		waited = true
		d.cond.Wait()
	}
	if waited && g.woke != nil {
		g.woke()
	}
	d.waiting = false
	n := d.in.take(p)
	if d.in.len() == 0 || d.in.at > pipeMax {
		d.cond.Broadcast()
	}
	return n, nil
}

// await waits until there is something to read, and says how much, or that stdin has
// ended. With most not below zero it waits no longer than that.
func (g guestIn) await(most time.Duration) (n int, eof, came bool) {
	d := g.d
	d.mu.Lock()
	defer d.mu.Unlock()
	late := most == 0
	if most > 0 {
		timer := time.AfterFunc(most, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			late = true
			d.cond.Broadcast()
		})
		defer timer.Stop()
	}
	defer func() { d.dozing = false }()
	for d.in.len() == 0 && !d.eof {
		switch {
		case d.gone:
			panic(sys.NewExitError(exitEnded))
		case late:
			if d.dozing && g.woke != nil {
				g.woke()
			}
			d.waiting = false
			return 0, false, false
		}
		if !d.dozing {
			d.pause()
		}
		d.dozing, d.waiting = true, d.waiting || most < 0
		d.cond.Broadcast()
		d.cond.Wait()
	}
	if d.dozing && g.woke != nil {
		g.woke()
	}
	d.waiting = false
	return d.in.len(), d.in.len() == 0, true
}

// guestOut is the guest's stdout.
type guestOut struct{ d *duplex }

// Write waits while the host does not read. When the guest must end it unwinds the
// guest's stack.
func (g guestOut) Write(p []byte) (int, error) {
	d := g.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := 0; n < len(p); {
		for d.out.len() >= pipeMax && !d.gone {
			d.cond.Wait()
		}
		if d.gone {
			panic(sys.NewExitError(exitEnded))
		}
		part := p[n:min(len(p), n+pipeMax)]
		d.out.put(part)
		n += len(part)
		d.cond.Broadcast()
	}
	return len(p), nil
}

var (
	_ io.ReadWriter = (*duplex)(nil)
	_ io.Reader     = guestIn{}
	_ io.Writer     = guestOut{}
)
