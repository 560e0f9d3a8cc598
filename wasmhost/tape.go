package wasmhost

import (
	"io"
	"time"
)

// tape records what one guest saw that is not the same twice, or shows it to another.
type tape struct {
	replaying bool
}

func (t *tape) clock(id uint32, live func(uint32) int64) int64 { return live(id) }

func (t *tape) read(p []byte, in *instance) int {
	n, _ := guestIn{in.duplex, in.woke}.Read(p)
	return n
}

// draw fills p with randomness.
func (w *world) draw(p []byte) error {
	_, err := io.ReadFull(w.random, p)
	return err
}

// await waits for stdin.
func (w *world) await(most time.Duration) (n int, eof, came bool) {
	return guestIn{w.in.duplex, w.in.woke}.await(most)
}
