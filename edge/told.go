package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Told takes what plugins said beside their answers and puts it into the lanes for
// logs and audits, all with one write.
func (a *Agent) Told(now time.Time, in Told) {
	if len(in.Lines)+len(in.Audits) == 0 || !a.begin(now) {
		return
	}
	if in.Lost > 0 {
		a.log.Warn("log lines of plugins lost", slog.Uint64("lines", in.Lost))
	}
	for _, line := range in.Lines {
		if len(line.Text) > protocol.TextMax {
			line.Text = line.Text[:protocol.TextMax]
		}
		a.tell(protocol.LaneLog, line)
	}
	for _, audit := range in.Audits {
		a.tell(protocol.LaneAudit, audit)
	}
	a.settle()
}

func (a *Agent) tell(of protocol.Lane, body any) {
	if _, err := a.record(of, body); err != nil {
		a.log.Debug("not recorded", slog.String("lane", of.String()), slog.String("error", err.Error()))
	}
}

// Drain makes the agent begin nothing more: the process is about to end.
func (a *Agent) Drain() { a.draining = true }

// Busy reports whether a plugin is being asked something whose answer would be lost
// with the process. What it was asked is asked again after the next boot.
func (a *Agent) Busy() bool {
	for _, c := range a.calls {
		if c.kind == forRun || c.kind == forWake {
			return true
		}
	}
	return false
}

// Believe takes a newer keyring, opened with the root key that was pinned when the
// agent joined. An older one changes nothing. A revision that was refused for its seal
// is tried again.
func (a *Agent) Believe(now time.Time, ring protocol.Keyring) {
	if ring.Version <= a.cfg.Keyring.Version {
		return
	}
	a.cfg.Keyring = ring
	a.log.Info("keyring renewed", slog.Uint64("version", ring.Version))
	r := a.report.refused
	if r == nil || r.Error.Code != protocol.CodeBadSeal || a.unsealed == nil || !a.begin(now) {
		return
	}
	a.follow(*a.unsealed)
	a.unsealed = nil
	a.settle()
}
