package hub

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/bundle"
)

// carrying is what a bundle for a site is made of: all of it follows from the books of one
// moment, and the files never change.
type carrying struct {
	header  bundle.Header
	entries []carriedEntry
	files   []protocol.Digest // ascending
}

type carriedEntry struct {
	kind    bundle.Kind
	to      protocol.Address
	content []byte
}

// carry gathers what the agents of a site, or one of them, are to be brought by hand. The
// error has CodeNotFound when there is no such agent.
func (h *Hub) carry(now time.Time, site protocol.Site, only protocol.AgentName) (out *carrying, err error) {
	out = &carrying{header: bundle.Header{
		Direction: bundle.ToSite, Hub: protocol.DigestOf(h.keys.Root.Key), Site: site, Time: now.UnixMilli(),
	}}
	out.add(bundle.Moment, protocol.Address{}, h.moment.proof(h, now))
	out.add(bundle.Keyring, protocol.Address{}, h.keys.Sealed)
	err = h.Operate(func(tx *store.Tx) error {
		all, err := fleet.List(tx)
		found := 0
		for i := 0; err == nil && i < len(all); i++ {
			if a := &all[i]; a.Address.Site == site && (only == "" || a.Address.Agent == only) {
				found++
				err = h.carryAgent(tx, a, out)
			}
		}
		if err == nil && found == 0 {
			err = protocol.Errorf(protocol.CodeNotFound, "bundle: no agent %s at site %q", only, site)
		}
		return err
	})
	slices.SortFunc(out.files, func(a, b protocol.Digest) int { return bytes.Compare(a[:], b[:]) })
	out.files = slices.Compact(out.files)
	return out, err
}

func (c *carrying) add(kind bundle.Kind, to protocol.Address, content []byte) {
	if len(content) > 0 {
		c.entries = append(c.entries, carriedEntry{kind, to, content})
	}
}

// carryAgent adds what is for one agent.
func (h *Hub) carryAgent(tx *store.Tx, a *fleet.Agent, out *carrying) error {
	acks, err := h.sealedAcks(tx, a)
	if err != nil {
		return err
	}
	out.add(bundle.Acks, a.Address, acks)
	set, err := sealedOf(tx, a)
	if err != nil {
		return err
	}
	if len(set.Sealed) > 0 {
		reply := protocol.SecretsReply{Epoch: a.Epoch, Sealed: set.Sealed}
		out.add(bundle.Secrets, a.Address, protocol.MustMarshal(reply))
	}
	if a.Desired.Revision == 0 {
		return nil
	}
	sealed, err := fleet.Document(tx, a.Address.Agent)
	if err != nil {
		return err
	}
	out.add(bundle.Desired, a.Address, sealed)
	files, err := h.filesOf(sealed)
	out.files = append(out.files, files...)
	return err
}

// sealedAcks says, sealed, how far the books hold each lane of an agent.
func (h *Hub) sealedAcks(tx *store.Tx, a *fleet.Agent) ([]byte, error) {
	lanes, err := runs.Lanes(tx, a.Address.Agent)
	if err != nil {
		return nil, err
	}
	acks := protocol.Acks{Address: a.Address, Epoch: a.Epoch}
	for _, l := range lanes {
		if l.Epoch == a.Epoch {
			acks.Lanes = append(acks.Lanes, protocol.LaneAck{Epoch: l.Epoch, Lane: l.Lane, Mark: l.Mark})
		}
	}
	if len(acks.Lanes) == 0 {
		return nil, nil
	}
	return protocol.Seal(protocol.ContextAcks, h.keys.Desired, protocol.MustMarshal(acks))
}

// filesOf returns what an agent needs for its sealed desired document: the releases, and of
// each the artifact that its steps load, with its engine.
func (h *Hub) filesOf(sealed []byte) ([]protocol.Digest, error) {
	payload, err := protocol.Open(protocol.ContextDesired, h.keys.Ring, sealed)
	if err != nil {
		return nil, err
	}
	var d protocol.Desired
	if err := protocol.UnmarshalExact(payload, &d); err != nil {
		return nil, err
	}
	platforms := map[protocol.Digest]string{}
	for _, s := range stepsHere(&d) {
		platforms[s.Release] = cmp.Or(s.Platform, platforms[s.Release], protocol.PlatformWASM)
	}
	var out []protocol.Digest
	for _, ref := range d.Releases {
		out = append(out, ref.Digest)
		platform, used := platforms[ref.Digest]
		if !used {
			continue
		}
		release, err := h.openRelease(ref.Digest)
		if err != nil {
			return nil, err
		}
		artifact, err := release.For(platform)
		if err != nil {
			return nil, err
		}
		for _, f := range artifact.Files() {
			out = append(out, f.Digest)
		}
	}
	return out, nil
}

func (h *Hub) openRelease(d protocol.Digest) (r protocol.Release, err error) {
	sealed, err := h.files.Get(d)
	if err != nil {
		return r, err
	}
	payload, err := protocol.Open(protocol.ContextRelease, h.keys.Ring, sealed)
	if err != nil {
		return r, err
	}
	return r, protocol.UnmarshalExact(payload, &r)
}

// stepsHere returns the steps that the agent of a document runs itself.
func stepsHere(d *protocol.Desired) (out []protocol.Step) {
	for i := range d.Assignments {
		of := &d.Assignments[i]
		for _, s := range slices.Concat([]protocol.Step{of.Trigger}, of.Actions, of.Outputs) {
			if s.Place == nil {
				out = append(out, s)
			}
		}
	}
	for i := range d.Hosts {
		out = append(out, d.Hosts[i].Step)
	}
	return out
}

// write writes the bundle. It may run beside the hub's loop.
func (c *carrying) write(to io.Writer, file func(protocol.Digest) ([]byte, error)) error {
	w, err := bundle.NewWriter(to, c.header)
	if err != nil {
		return err
	}
	for _, e := range c.entries {
		if err := w.Put(e.kind, e.to, e.content); err != nil {
			return err
		}
	}
	for _, d := range c.files {
		content, err := file(d)
		if err != nil {
			return err
		}
		if err := w.Put(bundle.File, protocol.Address{}, content); err != nil {
			return err
		}
	}
	return w.Close(nil)
}

// admitBundle checks that a bundle, whose signature holds, is of an agent of this fleet as
// it is enrolled now, and returns that agent.
func (h *Hub) admitBundle(b *bundle.Header) (from protocol.Address, err error) {
	from = protocol.Address{Site: b.Site, Agent: b.Agent}
	switch {
	case b.Direction != bundle.FromAgent:
		return from, protocol.Errorf(protocol.CodeBadInput,
			"bundle: it is a hub's, for site %q: give it to an agent",
			b.Site)
	case b.Hub != protocol.DigestOf(h.keys.Root.Key):
		return from, protocol.Errorf(protocol.CodeNotMine, "bundle: agent %s made it for another hub", from)
	}
	return from, h.Operate(func(tx *store.Tx) error {
		agent, err := known(tx, from)
		if err != nil {
			return err
		}
		identity := sha256.Sum256(b.Identity)
		switch {
		case agent.Epoch != b.Epoch:
			return protocol.Errorf(protocol.CodeStale, "bundle: of enrolment %d of %s, which is enrolment %d now",
				b.Epoch, from, agent.Epoch)
		case hex.EncodeToString(identity[:]) != agent.Identity.KeyFingerprint:
			return protocol.Errorf(protocol.CodeRefused, "bundle: signed by another device than agent %s", from)
		}
		return nil
	})
}

// takeCarried takes one entry of an admitted bundle as if it had come over the line.
func (h *Hub) takeCarried(now time.Time, from protocol.Address, kind bundle.Kind, content []byte) error {
	up, ok := map[bundle.Kind]protocol.Kind{
		bundle.Reported: protocol.UpReported, bundle.Records: protocol.UpRecords, bundle.Wish: protocol.UpSecrets,
	}[kind]
	if !ok {
		return nil
	}
	if kind == bundle.Records {
		return decoded(content, func(b protocol.Batch) error { return h.records(now, from, b) })
	}
	return h.handle(now, from, up, content)
}

// countStored returns how many records the books ever took of an agent.
func (h *Hub) countStored(a protocol.Address) (n int64, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		lanes, err := runs.Lanes(tx, a.Agent)
		for _, l := range lanes {
			n += l.Stored
		}
		return err
	})
	return n, err
}

// importBundle takes a bundle that an agent made. Twice, or an older one after a newer, it
// changes nothing: each lane goes on from its mark. ask runs a part of it in the hub's loop.
func (h *Hub) importBundle(shelf *bundle.Shelf, ask func(func(now time.Time) error) error) (
	out api.BundleImported, err error,
) {
	var before, after int64
	err = ask(func(time.Time) (err error) {
		if out.Agent, err = h.admitBundle(&shelf.Header); err == nil {
			before, err = h.countStored(out.Agent)
		}
		return err
	})
	if err != nil {
		return out, err
	}
	for i, e := range shelf.Entries {
		content, err := shelf.Content(e)
		if err == nil {
			err = ask(func(now time.Time) error {
				return h.Operate(func(*store.Tx) error { return h.takeCarried(now, out.Agent, e.Kind, content) })
			})
		}
		if err != nil {
			return out, fmt.Errorf("bundle: entry %d (%s) at byte %d: %w", i, e.Kind, e.At, err)
		}
		if e.Kind == bundle.Records {
			var b protocol.Batch
			_ = protocol.Unmarshal(content, &b) // it was taken
			out.Records += int64(len(b.Records))
		}
	}
	err = ask(func(time.Time) (err error) {
		after, err = h.countStored(out.Agent)
		return err
	})
	out.New = after - before
	return out, err
}
