package main

import (
	"fmt"
	"os"
	"time"

	"github.com/stavily/stavily/internal/bench/station"
	"github.com/stavily/stavily/protocol"
)

const benchWorkflow = station.Workflow

// newNearHub seals the guests and a workflow of them.
func (b *bench) newNearHub(language string, events, everyMS int) (*station.Hub, error) {
	h := &station.Hub{}
	of := protocol.Assignment{Workflow: benchWorkflow}
	d := protocol.Desired{Address: station.Address(), Epoch: 1, Revision: 1, Issued: time.Now().UnixMilli()}
	for _, kind := range guestKinds {
		ref, err := sealGuest(h, b.guestFile(language, kind), guestManifest(language, kind))
		if err != nil {
			return nil, err
		}
		d.Releases = append(d.Releases, ref)
		step := guestStep(kind, ref.Digest, events, everyMS)
		switch kind {
		case protocol.Trigger:
			of.Trigger = step
		case protocol.Action:
			of.Actions = append(of.Actions, step)
		default:
			of.Outputs = append(of.Outputs, step)
		}
	}
	d.Assignments = []protocol.Assignment{of}
	return h, sealDesired(h, d)
}

// sealDesired makes d what the hub's agent is to run.
func sealDesired(h *station.Hub, d protocol.Desired) error {
	key := station.Key(protocol.RoleDesired)
	sealed, err := protocol.Seal(protocol.ContextDesired, key, protocol.MustMarshal(d))
	h.Desired = d
	h.Hint = protocol.Hint{
		Epoch: 1, Revision: 1, Digest: h.Put(sealed), Size: int64(len(sealed)), Time: time.Now().UnixMilli(),
	}
	return err
}

func sealGuest(h *station.Hub, file string, m protocol.Manifest) (ref protocol.ReleaseRef, err error) {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return ref, err
	}
	h.Put(wasm)
	artifact := protocol.NewArtifact(protocol.PlatformWASM, wasm)
	artifact.Metered = true
	r := protocol.Release{Manifest: m, Artifacts: []protocol.Artifact{artifact}}
	key := station.Key(protocol.RoleRelease)
	sealed, err := protocol.Seal(protocol.ContextRelease, key, protocol.MustMarshal(r))
	if err != nil {
		return ref, fmt.Errorf("seal %s: %w", file, err)
	}
	info := r.Manifest.Plugin
	return protocol.ReleaseRef{
		Plugin: info.Name, Version: info.Version, Digest: h.Put(sealed), Size: int64(len(sealed)),
	}, nil
}
