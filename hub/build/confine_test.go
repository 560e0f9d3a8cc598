package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// newRoom returns a workspace in a room, or skips where this machine has none.
func newRoom(t *testing.T) *workspace {
	t.Helper()
	b := newBuilder(t)
	room, err := b.confinement(t.Context())
	if err != nil {
		t.Skip(err)
	}
	return &workspace{b: b, room: room, dir: t.TempDir()}
}

// A confined program cannot do what a build script should not, and can do its work.
func TestRoom(t *testing.T) {
	w := newRoom(t)
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, script, want string }{
		{"write its own", "echo x > /build/own && cat /build/own", ""},
		{"temporary", "echo x > /tmp/own", ""},
		{"write the system", "echo x > /usr/own", "Read-only file system"},
		{"write the root", "mkdir /own", "Read-only file system"},
		{"read the hub's", "cat " + secret, "No such file"},
		{"see the hub", "test $$ = 1 && test ! -d /proc/2000000 && ls /root 2>&1", "/root"},
		{"mount", "mount -t tmpfs x /tmp", "mount"},
		{"be somebody", "! unshare -m true; grep -q 'CapEff:.*0000000000000000' /proc/self/status", ""},
		{"grow a file", "dd if=/dev/zero of=/build/big bs=1 count=1 seek=2000000000; exit 1", confinedLimits},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := w.run(t.Context(), command{what: "script", argv: []string{"/bin/sh", "-ec", c.script}, dir: confinedAt})
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "":
				wantError(t, err, protocol.CodeBadInput, c.want, confinedLimits)
			}
		})
	}
}

// What forks without end meets its bound, what runs for ever its deadline, and nothing of
// either is left.
func TestRoomEndsWhatDoesNot(t *testing.T) {
	w := newRoom(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	bomb := "bomb() { bomb | bomb; }; bomb & while :; do :; done" // the first shell forks once, before there is a bomb
	began := time.Now()
	err := w.run(ctx, command{what: "bomb", argv: []string{"/bin/sh", "-c", bomb}, dir: confinedAt})
	wantError(t, err, protocol.CodeDeadline, "bomb: ended after its time")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	err = w.run(t.Context(), command{what: "forks", argv: []string{"/bin/sh", "-c", strings.Repeat("sleep 99 & ", 300) + "wait"}, dir: confinedAt})
	wantError(t, err, protocol.CodeBadInput, "annot fork", "at most 256 processes")
}
