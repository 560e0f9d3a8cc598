package runs

import "github.com/stavily/stavily/hub/store"

// aside is what is written on another goroutine while more is taken.
type aside struct {
	layer  layer
	strays []*pending // once done has been read
	done   chan error // holds one
}

// WriteAside is WriteRows, what also is written and the Commit of tx, which are done wherever run
// has them done: until Join they are under way, and tx is not the caller's any more. There must
// be nothing under way before. It is for books in memory: what was taken is as good as kept at
// once.
func (in *Intake) WriteAside(tx *store.Tx, run func(work func()), also func(*store.Tx) error) {
	in.Hold()
	a := &aside{layer: in.held, done: make(chan error, 1)}
	in.held, in.aside = layer{}, a
	run(func() {
		err := also(tx)
		if err == nil {
			a.strays, err = a.layer.write(tx)
		}
		if err == nil {
			err = tx.Commit()
		}
		tx.Rollback() // what was not committed
		a.done <- err
	})
}

// Join waits until nothing is under way. After an error, which is the store's, what was under way
// is not in the books.
func (in *Intake) Join() error {
	a := in.aside
	if a == nil {
		return nil
	}
	in.aside = nil
	if err := <-a.done; err != nil {
		return err
	}
	for _, p := range a.strays {
		in.later(*p.fired.refuse(p.received))
	}
	if a.layer.clear(); in.held.size() == 0 {
		in.held = a.layer // its room is used again
	}
	return nil
}
