package sim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/stavily/stavily/hub/api"
)

// books copies the books of a hub that does not run, or puts a copy of them in their place.
type books struct {
	path string // of the copy
	back bool   // it is put in their place
	at   int64  // when it was made
}

// backUp has the books copied. The hub rests meanwhile, as where an operator copies files. The
// caller has entered.
func (r *realm) backUp() error {
	path, err := r.w.hub.nextBackup(r.w.now)
	if err == nil {
		r.wish(job{books: &books{path: path, at: r.w.now}})
	}
	return err
}

// restore has the hub end at once and its books be those of a backup that is as old as by. The
// caller has entered, and has it come back.
func (r *realm) restore(by time.Duration) error {
	b, err := r.w.hub.oldBackup(r.w.now - int64(by))
	if err == nil {
		r.stopHub(true)
		r.wish(job{books: &books{path: b.path, back: true, at: b.at}})
	}
	return err
}

// copyBooks does what was wished, while the hub is away.
func (r *realm) copyBooks(b *books) error {
	own := r.site.books()
	if !b.back {
		return copyFile(own, b.path)
	}
	for _, beside := range []string{"-wal", "-shm"} { // what it had not gathered into the file yet
		if err := os.Remove(own + beside); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	r.w.alone(func() {
		for _, c := range r.w.checks {
			c.restored(b.at)
		}
	})
	return copyFile(b.path, own)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// adopt is the person who says that the hub is right though the fleet is ahead of its books. The
// caller has entered.
func (r *realm) adopt() {
	r.asked("adopt", func(context.Context) error {
		return r.do(http.MethodPost, api.PathAdopt, api.Adopt{}, nil)
	})
	r.w.after(personEvery, r.adopt)
}
