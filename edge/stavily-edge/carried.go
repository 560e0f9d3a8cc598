package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/bundle"
)

// What is carried by hand lies in these folders of the state directory. A bundle in dirIn is
// taken by the running agent, or by the next one; beside it stands then what came of it. A
// wish in dirOut is answered by the running agent with a bundle.
const (
	dirIn        = "carried/in"
	dirOut       = "carried/out"
	suffixBundle = ".bundle"
	suffixWish   = ".wish"
	suffixResult = ".result"
)

// lookEvery is how often the agent looks into the folders.
const lookEvery = 2 * time.Second

// porter takes and gives what is carried by hand, beside the agent's own goroutine.
type porter struct {
	state     string
	enrolment disk.Enrolment
	key       *ecdsa.PrivateKey
	store     *disk.Store
	inbox     *edge.Inbox
	keyring   func(sealed []byte) // keeps a newer one
	log       *slog.Logger
}

// run looks into the folders until ctx ends.
func (c *porter) run(ctx context.Context) {
	for _, dir := range []string{dirIn, dirOut} {
		if err := os.MkdirAll(filepath.Join(c.state, dir), 0o700); err != nil {
			c.log.Error("nothing can be carried by hand", slog.String("error", err.Error()))
			return
		}
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		for _, path := range c.find(dirIn, suffixBundle) {
			c.answer(path, suffixBundle, c.take(ctx, path))
		}
		for _, path := range c.find(dirOut, suffixWish) {
			c.answer(path, suffixWish, c.give(ctx, strings.TrimSuffix(path, suffixWish)+suffixBundle))
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *porter) find(dir, suffix string) []string {
	found, _ := filepath.Glob(filepath.Join(c.state, dir, "*"+suffix)) // the pattern is good
	return found
}

// answer removes what was asked and says what came of it: nothing for a process that ends,
// since the next one does it again.
func (c *porter) answer(path, suffix string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := "ok\n"
	if err != nil {
		text = err.Error() + "\n"
		c.log.Warn("carried by hand", slog.String("file", filepath.Base(path)), slog.String("error", err.Error()))
	}
	if err := disk.WriteFile(strings.TrimSuffix(path, suffix)+suffixResult, []byte(text)); err != nil {
		c.log.Error("carried by hand", slog.String("error", err.Error()))
	}
	_ = os.Remove(path)
}

// take gives a bundle to the agent and waits for what comes of it.
func (c *porter) take(ctx context.Context, path string) error {
	shelf, err := openBundle(path)
	if err != nil {
		return err
	}
	in, sealed, err := sort(shelf, &c.enrolment)
	if err != nil {
		return errors.Join(err, shelf.Close())
	}
	var ring *protocol.Keyring
	if sealed != nil {
		c.keyring(sealed)
		e := c.enrolment
		e.Keyring = sealed
		if newest, err := openKeyring(e); err == nil {
			ring = &newest
		}
	}
	done := make(chan edge.Imported, 1)
	asked := c.inbox.Ask(func(now time.Time, a *edge.Agent) {
		if ring != nil {
			a.Believe(now, *ring)
		}
		a.Import(now, in, func(i edge.Imported) { done <- i })
	})
	if !asked {
		return errors.Join(protocol.Errorf(protocol.CodeUnavailable, "agent is busy"), shelf.Close())
	}
	select {
	case out := <-done:
		c.log.Info("bundle taken", slog.String("file", filepath.Base(path)), slog.Bool("taken", out.Taken),
			slog.Uint64("revision", out.Revision), slog.Uint64("freed", out.Freed))
		return out.Err
	case <-ctx.Done():
		return ctx.Err() // the agent's shelf goes with the process
	}
}

// openBundle reads a bundle whole.
func openBundle(path string) (*bundle.Shelf, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s: want a file", path), file.Close())
	}
	shelf, err := bundle.Open(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(path), err), file.Close())
	}
	return shelf, nil
}

// sort finds in a bundle what is for this device, and a sealed keyring that is newer than
// the one held. The error says for whom the bundle is, when it is for others.
func sort(shelf *bundle.Shelf, e *disk.Enrolment) (in edge.Carried, ring []byte, err error) {
	h := &shelf.Header
	switch {
	case h.Direction != bundle.ToSite:
		return in, nil, protocol.Errorf(protocol.CodeNotMine, "the bundle is agent %s/%s's own, for its hub",
			h.Site, h.Agent)
	case h.Hub != protocol.DigestOf(e.Root):
		return in, nil, protocol.Errorf(protocol.CodeNotMine, "the bundle is another hub's")
	case h.Site != e.Address.Site:
		return in, nil, protocol.Errorf(protocol.CodeNotMine, "the bundle is for site %q, this is %s",
			h.Site, e.Address)
	}
	in.Files = shelf
	found := false
	for _, one := range shelf.Entries {
		if one.Kind == bundle.File || one.To != e.Address && one.To != (protocol.Address{}) {
			continue
		}
		content, err := shelf.Content(one)
		if err != nil {
			return in, nil, err
		}
		found = found || one.To == e.Address
		switch one.Kind {
		case bundle.Moment:
			in.Moments = append(in.Moments, content)
		case bundle.Keyring:
			ring = newer(content, e)
		case bundle.Desired:
			in.Desired = content
		case bundle.Secrets:
			in.Secrets = content
		case bundle.Acks:
			in.Acks = content
		case bundle.End, bundle.File, bundle.Reported, bundle.Records, bundle.Wish:
		}
	}
	if !found {
		err = protocol.Errorf(protocol.CodeNotMine, "the bundle has nothing for agent %s", e.Address)
	}
	return in, ring, err
}

// newer returns a sealed keyring if the root key signed it and it is above the one held.
func newer(sealed []byte, e *disk.Enrolment) []byte {
	other := *e
	other.Keyring = sealed
	ring, err := openKeyring(other)
	held, heldErr := openKeyring(*e)
	if err != nil || heldErr == nil && ring.Version <= held.Version {
		return nil
	}
	return sealed
}

// give writes what the agent has to say to path, whole or not at all.
func (c *porter) give(ctx context.Context, path string) error {
	var reported protocol.Reported
	var wish *protocol.SecretsWish
	done := make(chan struct{})
	if !c.inbox.Ask(func(now time.Time, a *edge.Agent) { reported, wish = a.State(now); close(done) }) {
		return protocol.Errorf(protocol.CodeUnavailable, "agent is busy")
	}
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return exportTo(path, &c.enrolment, c.key, func(w *bundle.Writer) error {
		if err := putState(w, c.enrolment.Address, &reported, wish); err != nil {
			return err
		}
		return putRecords(w, c.store, &c.enrolment)
	})
}

// putState adds what an agent says of itself; wish may be nil.
func putState(w *bundle.Writer, a protocol.Address, r *protocol.Reported, wish *protocol.SecretsWish) error {
	err := w.Put(bundle.Reported, a, protocol.MustMarshal(r))
	if err != nil || wish == nil {
		return err
	}
	return w.Put(bundle.Wish, a, protocol.MustMarshal(wish))
}

// exportTo makes a bundle at path, signed by this device.
func exportTo(path string, e *disk.Enrolment, key *ecdsa.PrivateKey, put func(*bundle.Writer) error) error {
	identity, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return protocol.Errorf(protocol.CodeInternal, "export: %w", err)
	}
	h := bundle.Header{
		Direction: bundle.FromAgent, Hub: protocol.DigestOf(e.Root), Site: e.Address.Site, Agent: e.Address.Agent,
		Epoch: e.Epoch, Time: time.Now().UnixMilli(), Identity: identity,
	}
	return writeWhole(path, func(to io.Writer) error {
		w, err := bundle.NewWriter(to, h)
		if err == nil {
			err = put(w)
		}
		if err != nil {
			return err
		}
		return w.Close(func(claim []byte) ([]byte, error) {
			sum := sha256.Sum256(claim)
			return ecdsa.SignASN1(rand.Reader, key, sum[:])
		})
	})
}

// putRecords adds all records that no hub has acknowledged.
func putRecords(w *bundle.Writer, s edge.Store, e *disk.Enrolment) error {
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		for from := ""; ; {
			records, gaps, next, err := edge.Unacknowledged(s, of, from)
			if err != nil {
				return err
			}
			if len(records)+len(gaps) > 0 {
				b := protocol.Batch{Epoch: e.Epoch, Lane: of, Records: records, Gaps: gaps}
				if err := w.Put(bundle.Records, e.Address, protocol.MustMarshal(b)); err != nil {
					return err
				}
			}
			if from = next; from == "" {
				break
			}
		}
	}
	return nil
}

// writeWhole has a file appear at path whole, or not at all.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".carried-*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
