package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Carried is what somebody brought by hand from the hub. All of it is opened as if it had
// come over the line; what is empty was not brought.
type Carried struct {
	Moments [][]byte // sealed
	Desired []byte   // sealed
	Secrets []byte   // a SecretsReply
	Acks    []byte   // sealed protocol.Acks
	// Files holds what Desired names, itself too, until it is closed.
	Files Shelf
}

// Shelf holds files that were brought by hand.
type Shelf interface {
	// Chunk returns one chunk of a file; CodeNotFound for a file that is not there.
	Chunk(d protocol.Digest, index uint32) (protocol.Chunk, error)
	Close() error
}

// Imported is what came of a Carried.
type Imported struct {
	Freed    uint64 // records that the hub has
	Secrets  bool   // a newer set was taken
	Revision uint64 // of the desired document, 0 for none
	Taken    bool   // Revision is held now, and was not before
	// Err says why the rest was not taken, nil when there was nothing else: CodeStale for a
	// document that is not above the one held, CodeNotFound for one whose files were not all
	// brought; it goes on when there is a line.
	Err error
}

// shelved is a shelf in use.
type shelved struct {
	files Shelf
	came  Imported
	begun bool // the document was not held
	done  func(Imported)
	lacks error // what it has not
}

// Import takes what was carried here by hand. done is told once, when the desired document
// is taken, refused, or waits for the line; it must not wait, and Files is closed then.
// Only one is under way at a time: the error of another has CodeUnavailable.
func (a *Agent) Import(now time.Time, c Carried, done func(Imported)) {
	if !a.begin(now) || a.shelf != nil {
		_ = c.Files.Close()
		done(Imported{Err: protocol.Errorf(protocol.CodeUnavailable,
			"import: the disk refuses, or another is under way")})
		return
	}
	s := &shelved{files: c.Files, done: done}
	a.shelf = s
	for _, sealed := range c.Moments {
		a.proveMoment(sealed)
	}
	if s.came.Err = a.takeAcks(c.Acks, &s.came); s.came.Err == nil {
		s.came.Err = a.takeSecrets(c.Secrets, &s.came)
	}
	if s.came.Err == nil {
		s.came.Err = a.takeDesired(c.Desired, s)
	}
	if !s.begun {
		a.endImport()
	}
	a.settle()
}

// takeAcks lets go of the records that the hub's seal says it has.
func (a *Agent) takeAcks(sealed []byte, came *Imported) error {
	if len(sealed) == 0 {
		return nil
	}
	payload, err := protocol.Open(protocol.ContextAcks, a.cfg.Keyring, sealed)
	if err != nil {
		return err
	}
	var acks protocol.Acks
	if err := protocol.UnmarshalExact(payload, &acks); err != nil {
		return err
	}
	if acks.Address != a.cfg.Address || acks.Epoch != a.cfg.Epoch {
		return protocol.Errorf(protocol.CodeNotMine, "acknowledgements for %s, enrolment %d", acks.Address,
			acks.Epoch)
	}
	for _, ack := range acks.Lanes {
		if ack.Lane == 0 || ack.Lane >= protocol.LaneEnd || ack.Epoch != acks.Epoch {
			return protocol.Errorf(protocol.CodeBadMessage, "acknowledgement of lane %d, enrolment %d", ack.Lane,
				ack.Epoch)
		}
		before := a.out.lanes[ack.Lane].Count
		if err := a.letGo(ack.Lane, ack.Mark); err != nil {
			return err
		}
		came.Freed += before - a.out.lanes[ack.Lane].Count
	}
	return nil
}

func (a *Agent) takeSecrets(reply []byte, came *Imported) error {
	if len(reply) == 0 || a.vault == nil {
		return nil
	}
	held := a.secrets.Digest
	err := a.secretsCame(reply)
	came.Secrets = a.secrets.Digest != held
	if protocol.CodeOf(err) == protocol.CodeStale {
		return nil // an older set: what is held is newer
	}
	return err
}

// takeDesired makes the sealed document the candidate. Nothing of it is believed that is not
// sealed, as a hint of the line is: whoever carries it is nobody.
func (a *Agent) takeDesired(sealed []byte, s *shelved) error {
	if len(sealed) == 0 {
		return nil
	}
	payload, err := protocol.Open(protocol.ContextDesired, a.cfg.Keyring, sealed)
	if err != nil {
		return err
	}
	var d protocol.Desired
	if err := protocol.UnmarshalExact(payload, &d); err != nil {
		return err
	}
	if d.Address != a.cfg.Address {
		return protocol.Errorf(protocol.CodeNotMine, "desired: for %s, this is %s", d.Address, a.cfg.Address)
	}
	s.came.Revision = d.Revision
	digest := protocol.DigestOf(sealed)
	if a.held != nil && a.held.digest == digest {
		return nil
	}
	if err := a.above(d.Epoch, d.Revision); err != nil {
		return err
	}
	s.begun = a.next != nil && a.next.hint.Digest == digest
	if s.begun {
		a.next.ready = true
		return nil
	}
	if a.next != nil && a.next.hint.Revision > d.Revision {
		return protocol.Errorf(protocol.CodeStale, "desired: revision %d: %d is on its way already", d.Revision,
			a.next.hint.Revision)
	}
	s.begun = true
	a.follow(protocol.Hint{Epoch: d.Epoch, Revision: d.Revision, Digest: digest, Size: int64(len(sealed))})
	return nil
}

// fromShelf gives the fetch under way what was brought by hand, a few chunks a time, and
// ends the import when nothing more can come of it.
func (a *Agent) fromShelf() {
	s := a.shelf
	if s == nil {
		return
	}
	for n := 0; n < protocol.FetchAheadMax && a.fetch != nil && !a.fetch.full() && s.lacks == nil; n++ {
		s.lacks = a.chunkFrom(s.files)
	}
	if a.next == nil || a.fetch != nil && s.lacks != nil {
		a.endImport()
	}
}

// chunkFrom takes the first chunk that is missing from a shelf.
func (a *Agent) chunkFrom(files Shelf) error {
	if a.fetch.patch.offer != nil {
		a.unpatch(protocol.Errorf(protocol.CodeExists, "the whole file was brought by hand"))
	}
	f := a.fetch
	index := uint32(0)
	for f.have.Has(index) {
		index++
	}
	c, err := files.Chunk(f.file.digest, index)
	if err != nil {
		return err
	}
	return a.chunk(protocol.MustMarshal(c))
}

// endImport tells what came of it, once that is on the disk.
func (a *Agent) endImport() {
	s := a.shelf
	a.shelf = nil
	out := s.came
	switch {
	case !s.begun:
	case a.held != nil && a.held.desired.Revision == out.Revision:
		out.Taken = true
	case a.next != nil:
		out.Err = protocol.Errorf(protocol.CodeNotFound, "revision %d waits for the line: %w",
			out.Revision, s.lacks)
	case a.report.refused != nil && a.report.refused.Revision == out.Revision:
		out.Err = &a.report.refused.Error
	default:
		out.Err = protocol.Errorf(protocol.CodeStale, "revision %d: another one came meanwhile", out.Revision)
	}
	a.after(func() {
		_ = s.files.Close()
		s.done(out)
	})
	a.log.Info("import ended", slog.Uint64("revision", out.Revision), slog.Bool("taken", out.Taken),
		slog.Uint64("freed", out.Freed))
}

// shelfDue returns when the import goes on: at once while there is something to take.
func (a *Agent) shelfDue() time.Time {
	if a.shelf != nil && (a.next == nil || a.fetch != nil) {
		return a.now
	}
	return time.Time{}
}
