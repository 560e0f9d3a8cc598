package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// guestKinds are the steps of the workflow that the agent's rows run.
var guestKinds = []protocol.PluginType{protocol.Trigger, protocol.Action, protocol.Output}

// guestSDK is the module that the guests are written with.
const guestSDK = "github.com/stavily/stavily/plugins/sdk/go"

// The languages of the guests.
const (
	inC    = "C"
	inRust = "Rust"
	inGo   = "Go"
	inBoth = "Go and Rust" // a Go action between Rust plugins
)

// buildGuests makes a trigger, an action and an output as the hub does, stripped and
// metered: of the Go SDK, of the Rust SDK, or of C without any SDK. They lie in the row's folder.
func (b *bench) buildGuests(language string) error {
	if language == inBoth {
		return errors.Join(b.buildGuests(inGo), b.buildGuests(inRust))
	}
	if _, err := os.Stat(b.guestFile(language, protocol.Output)); err == nil {
		return nil // built for another line of the row
	}
	if language == inGo {
		return b.buildGoGuests()
	}
	for _, kind := range guestKinds {
		folder := filepath.Join("wasmhost/testdata", strings.ToLower(language))
		plain, err := os.ReadFile(filepath.Join(folder, string(kind)+".wasm"))
		if err != nil {
			return err
		}
		if err := b.meterGuest(plain, b.guestFile(language, kind)); err != nil {
			return err
		}
	}
	return nil
}

// guestFile is where the metered guest of a kind lies.
func (b *bench) guestFile(language string, kind protocol.PluginType) string {
	language = languageOf(language, kind)
	return b.path(language + "-" + string(kind) + ".wasm")
}

// languageOf is the language of the guest of a kind.
func languageOf(language string, kind protocol.PluginType) string {
	switch {
	case language != inBoth:
		return language
	case kind == protocol.Action:
		return inGo
	}
	return inRust
}

func (b *bench) buildGoGuests() error {
	sdk, err := filepath.Abs("plugins/sdk/go")
	if err != nil {
		return err
	}
	dir := b.path("guests")
	if err := os.CopyFS(dir, os.DirFS("internal/bench/testdata/guests")); err != nil {
		return err
	}
	const form = "module guests\n\ngo 1.24\n\nrequire %[1]s v0.1.0\n\nreplace %[1]s => %[2]s\n"
	mod := fmt.Sprintf(form, guestSDK, sdk)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600); err != nil {
		return err
	}
	for _, kind := range guestKinds {
		if err := b.buildGoGuest(dir, kind); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) buildGoGuest(dir string, kind protocol.PluginType) error {
	file := b.guestFile(inGo, kind)
	flags := "-ldflags=-s -w -X main.kind=" + string(kind)
	cmd := exec.CommandContext(b.ctx, "go", "build", "-trimpath", flags, "-o", file, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=mod")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build guest %s: %w\n%s", kind, err, text)
	}
	plain, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return b.meterGuest(plain, file)
}

func (b *bench) meterGuest(plain []byte, file string) error {
	metered, err := meter.Instrument(plain)
	if err != nil {
		return fmt.Errorf("meter guest %s: %w", filepath.Base(file), err)
	}
	return os.WriteFile(file, metered, 0o600)
}

// guestManifest is what the guest of a kind says of itself.
func guestManifest(language string, kind protocol.PluginType) protocol.Manifest {
	name := "bench-" + string(kind)
	if languageOf(language, kind) == inRust {
		name = string(kind)
	}
	return protocol.Manifest{
		Plugin: protocol.PluginInfo{
			Name: protocol.PluginName(name), Version: "1.0.0", Type: kind, Description: "x",
		},
		Runtime: protocol.Runtime{Language: "go"},
		Limits:  guestLimits(),
	}
}

func guestLimits() protocol.Limits {
	return protocol.Limits{MemoryMB: 64, Seconds: 30, CPUCores: 1}.WithDefaults()
}

// guestStep is the step of a kind in the workflow; the trigger gives events each time
// and is woken again after a while.
func guestStep(kind protocol.PluginType, release protocol.Digest, events, everyMS int) protocol.Step {
	s := protocol.Step{Name: protocol.StepName(kind), Release: release, Limits: guestLimits()}
	if kind == protocol.Trigger {
		s.Config = protocol.MustMarshal(map[string]int{"events": events, "every_ms": everyMS})
	}
	return s
}
