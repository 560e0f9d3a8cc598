package wasmhost

import (
	"sync"

	"github.com/stavily/stavily/protocol"
)

// Fate says whether a guest must end, and why. Its methods may be called from any
// goroutine.
type Fate struct {
	kill   func()
	ending chan struct{} // closed when the guest must end

	mu    sync.Mutex      // guards the field below
	cause *protocol.Error // why
}

// NewFate returns the fate of a guest that may live. kill ends the guest; it is called
// once, when the guest must end, and must not wait.
func NewFate(kill func()) *Fate { return &Fate{kill: kill, ending: make(chan struct{})} }

// End ends the guest because of cause. The first cause counts. It returns at once.
func (f *Fate) End(cause *protocol.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return
	}
	f.cause = cause
	close(f.ending)
	f.kill()
}

// Ending returns a channel that is closed when the guest must end.
func (f *Fate) Ending() <-chan struct{} { return f.ending }

// Cause returns why the guest must end, nil when it need not.
func (f *Fate) Cause() *protocol.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

// ended reports whether the guest must end.
func (f *Fate) ended() bool {
	select {
	case <-f.ending:
		return true
	default:
		return false
	}
}
