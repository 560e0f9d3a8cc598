package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
)

// What the flash has lost is a line for the hub, as bad as lines get; nothing lost is none.
func TestTellDamage(t *testing.T) {
	for _, c := range []struct {
		damage disk.Damage
		lines  int
	}{{disk.Damage{}, 0}, {disk.Damage{Parts: 2, Bytes: 4096}, 1}} {
		var said []protocol.LogLine
		tellDamage(func(l protocol.LogLine) { said = append(said, l) }, c.damage)
		if len(said) != c.lines {
			t.Fatalf("%+v: %d lines, want %d", c.damage, len(said), c.lines)
		}
		if c.lines > 0 && (said[0].Level < int8(slog.LevelError) || !strings.Contains(said[0].Text, "4096 bytes")) {
			t.Errorf("%+v: said %+v", c.damage, said[0])
		}
	}
}
