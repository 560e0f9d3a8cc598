package hub

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Memory is what a hub keeps when it has no home: books, files and keys in memory. It
// outlives the hubs that are opened over it, so that a simulation can end one in
// mid-step and open the next. One caller at a time.
type Memory struct {
	// Aside is Deps.Aside of the hubs over this memory; nil: nothing is done aside.
	Aside func(work func())

	books  *store.Store
	intake *runs.Intake // what the books do not have yet
	files  *registry.Files
	keys   *Keys
}

// NewMemory returns the memory of a hub that nobody has used yet. Its seal keys are
// drawn from random.
func NewMemory(ctx context.Context, random io.Reader) (*Memory, error) {
	keys, err := drawKeys(random)
	if err != nil {
		return nil, err
	}
	books, err := store.Open(ctx, store.Memory)
	if err != nil {
		return nil, err
	}
	return &Memory{books: books, intake: runs.NewIntake(), files: registry.MemoryFiles(), keys: keys}, nil
}

// drawKeys makes the seal keys of a hub from random.
func drawKeys(random io.Reader) (*Keys, error) {
	draw := func(role protocol.Role) (protocol.SealKey, error) {
		seed := make([]byte, ed25519.SeedSize)
		if _, err := io.ReadFull(random, seed); err != nil {
			return protocol.SealKey{}, fmt.Errorf("keys: random source: %w", err)
		}
		return protocol.SealKey{Role: role, Private: ed25519.NewKeyFromSeed(seed)}, nil
	}
	root, err := draw(protocol.RoleRoot)
	if err != nil {
		return nil, err
	}
	release, err := draw(protocol.RoleRelease)
	if err != nil {
		return nil, err
	}
	desired, err := draw(protocol.RoleDesired)
	if err != nil {
		return nil, err
	}
	k := &Keys{Root: root.Public(), Release: release, Desired: desired}
	k.Ring = protocol.Keyring{Version: 1, Keys: []protocol.PublicKey{release.Public(), desired.Public()}}
	k.Sealed, err = protocol.Seal(protocol.ContextKeyring, root, protocol.MustMarshal(k.Ring))
	return k, err
}

// Open returns a hub over m, as a hub is after a start: nobody is connected. It has no
// broker, no API and no certificate authority; messages go over link, and agents come by
// Enrol. The hub that was open before must have been halted.
func (m *Memory) Open(cfg Config, now time.Time, link protocol.Link, log *slog.Logger) (*Hub, error) {
	h := New(cfg, Deps{
		Log: log, Books: m.books, Files: m.files, Keys: m.keys, Link: link, Intake: m.intake,
		Aside: m.Aside,
	})
	return h, h.Operate(func(tx *store.Tx) error { return fleet.AllOffline(tx, now) })
}

// Backup writes the books to path, which must not exist. A hub that is open over m must
// have been flushed.
func (m *Memory) Backup(ctx context.Context, path string) error {
	err := m.intake.Join()
	if err == nil {
		err = m.books.Update(ctx, m.intake.Write)
	}
	if err != nil {
		m.intake.Reset()
		return err
	}
	return m.books.Backup(ctx, path)
}

// Restore makes the books those of a backup, which is used up: from now on they lie at
// path. No hub may be open over m.
func (m *Memory) Restore(ctx context.Context, path string) error {
	books, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	if err := m.intake.Join(); err != nil {
		return errors.Join(err, books.Close())
	}
	old := m.books
	m.books = books
	m.intake.Reset()
	return old.Close()
}

// Close ends the books.
func (m *Memory) Close() error { return errors.Join(m.intake.Join(), m.books.Close()) }

// Halt ends the hub as a loss of power does: what was not flushed is lost.
func (h *Hub) Halt() { h.drop() }

// Believed returns the keyring that agents of this hub believe.
func (h *Hub) Believed() protocol.Keyring { return h.keys.Ring }

// Enrol adds agents without tokens and certificates and plans for all of them at once.
// It returns the epoch of each.
func (h *Hub) Enrol(now time.Time, agents []fleet.Enrolment) (epochs []uint64, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		for i := range agents {
			epoch, err := fleet.Enrol(tx, agents[i])
			if err != nil {
				return err
			}
			epochs = append(epochs, epoch)
		}
		_, err := h.replan(tx, now, "")
		return err
	})
	return epochs, err
}

// NewAgent is an agent for Enrol.
type NewAgent = fleet.Enrolment

// Built is a plugin as it comes out of a build: what it says of itself, its metered
// module, and the schema of its configuration, nil for none.
type Built struct {
	Manifest protocol.Manifest
	Module   []byte
	Schema   []byte
}

// Admit seals and keeps a release of what was built elsewhere, without Git, as the last
// stages of Publish do. It returns the release as desired documents name it.
func (h *Hub) Admit(now time.Time, b Built) (protocol.ReleaseRef, error) {
	info := b.Manifest.Plugin
	a := protocol.NewArtifact(protocol.PlatformWASM, b.Module)
	a.Metered = true
	release := protocol.Release{Manifest: b.Manifest, Artifacts: []protocol.Artifact{a}, Schema: b.Schema}
	sealed, err := protocol.Seal(protocol.ContextRelease, h.keys.Release, protocol.MustMarshal(release))
	if err != nil {
		return protocol.ReleaseRef{}, err
	}
	if _, err := h.files.Put(b.Module); err != nil {
		return protocol.ReleaseRef{}, err
	}
	digest, err := h.files.Put(sealed)
	if err != nil {
		return protocol.ReleaseRef{}, err
	}
	err = h.Operate(func(tx *store.Tx) error {
		_, err := registry.GetPlugin(tx, info.Name)
		if protocol.CodeOf(err) == protocol.CodeNotFound {
			err = registry.AddPlugin(tx, registry.Plugin{
				Name: info.Name, Type: info.Type, Repository: "memory:" + string(info.Name),
				Description: info.Description, Added: now,
			})
		}
		return errors.Join(err, registry.PutRelease(tx, registry.Release{
			Plugin: info.Name, Version: info.Version, Digest: digest, Size: int64(len(sealed)),
			Repository: "memory:" + string(info.Name), State: registry.Published, Created: now,
			Artifacts: []registry.Artifact{{
				Platform: a.Platform, Digest: a.Digest, Size: a.Size, Metered: a.Metered,
			}},
		}))
	})
	return protocol.ReleaseRef{
		Plugin: info.Name, Version: info.Version, Digest: digest, Size: int64(len(sealed)),
	}, err
}

// Agents returns the fleet by name, as the books have it.
func (h *Hub) Agents() (all []fleet.Agent, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		all, err = fleet.List(tx)
		return err
	})
	return all, err
}

// Lanes returns how far each lane of each agent came, by agent, epoch and lane.
func (h *Hub) Lanes() (all []runs.Lane, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		all, err = runs.Lanes(tx, "")
		return err
	})
	return all, err
}

// Runs returns the runs that f chooses, the newest to arrive first.
func (h *Hub) Runs(f runs.Filter) (all []runs.Run, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		all, err = runs.List(tx, f)
		return err
	})
	return all, err
}

// StepTypes returns the plugin of each step of a workflow's text, by name, with the type
// that its place asks for. The error carries line and column.
func StepTypes(file string, text []byte) (types map[protocol.PluginName]protocol.PluginType, err error) {
	w, err := workflow.Parse(file, bytes.Clone(text))
	if err != nil {
		return nil, err
	}
	types = map[protocol.PluginName]protocol.PluginType{}
	for _, step := range w.StepsInOrder() {
		types[step.Plugin.Name] = step.Type
	}
	return types, nil
}

// StepAllows returns what a workflow's text allows the plugins of its steps, all together. The
// error carries line and column.
func StepAllows(file string, text []byte) (all []protocol.Grant, err error) {
	w, err := workflow.Parse(file, bytes.Clone(text))
	if err != nil {
		return nil, err
	}
	for _, step := range w.StepsInOrder() {
		all = protocol.Union(all, step.Allow)
	}
	return all, nil
}
