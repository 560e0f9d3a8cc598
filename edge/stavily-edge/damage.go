package main

import (
	"fmt"
	"log/slog"

	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
)

// tellDamage says, for the hub, what the flash has lost of the agent's journal: whoever looks
// after the device wants to know before it loses more.
func tellDamage(say func(protocol.LogLine), d disk.Damage) {
	if d.Parts == 0 {
		return
	}
	say(protocol.LogLine{Level: int8(slog.LevelError), Text: fmt.Sprintf(
		"the flash has lost %d parts of the journal, %d bytes: what was in them is gone", d.Parts, d.Bytes)})
}
