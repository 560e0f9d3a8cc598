package scenario

import (
	"time"

	"github.com/stavily/stavily/text/strict"
)

const (
	// realMax bounds what runs with certificates: agents renew theirs, and that of the hub
	// itself lasts a year.
	realMax = 300 * day
	// certificatesLeast is the least that agents' certificates last: an agent looks once in an
	// hour or so whether half of that is over.
	certificatesLeast = 4 * time.Hour
)

func readCertificates(v value, s *Scenario) {
	readLasting(func(s *Scenario) *time.Duration { return &s.Certificates })(v, s)
	switch {
	case s.Level != LevelBubble:
		v.errorf("not at level %s: only level bubble has certificates of a hub of its own", s.Level)
	case s.Certificates > 0 && s.Certificates < certificatesLeast:
		v.errorf("%s, want %s or more: agents look once in an hour whether to renew",
			formatDuration(s.Certificates), formatDuration(certificatesLeast))
	}
}

// notOnWire are the keys of a line that only level model can do.
var notOnWire = []string{"duplicate", "reorder", "mtu"}

func readLevel(v value, s *Scenario) {
	text, ok := v.scalar("a level")
	if s.Level = Level(text); s.forced != "" && ok {
		s.Level, text = s.forced, string(s.forced)
	}
	switch {
	case !ok, s.Level == LevelModel, s.Level == LevelBubble, s.Level == LevelLive:
	case text == "boards":
		v.errorf("boards in QEMU are not built yet; want model, bubble or live")
	default:
		v.errorf("%q, want model, bubble or live", strict.Clip(text))
	}
}

// real reports whether the hub and the agents run by themselves.
func (s *Scenario) real() bool { return s.Level == LevelBubble || s.Level == LevelLive }

// checkLong refuses a scenario that outlives the hub's certificate.
func (s *Scenario) checkLong(v value) {
	if at, has := v.lookup("duration"); has && s.real() && s.Duration > realMax {
		at.errorf("at level %s a scenario lasts %s at most: the hub has a certificate there", s.Level,
			formatDuration(realMax))
	}
}

// checkWire refuses what a connection that keeps its order cannot do.
func checkWire(v value) {
	if !v.r.s.real() {
		return
	}
	for _, name := range notOnWire {
		if at, has := v.lookup(name); has {
			at.errorf("not at level %s: a connection keeps its bytes and their order; %s goes with level model",
				v.r.s.Level, name)
		}
	}
}

// WithLevel returns the scenario at another level. Errors have the places of its file.
func (s *Scenario) WithLevel(level Level) (*Scenario, error) {
	of := *s
	of.forced = level
	return of.again(s.text)
}

// RealTime returns how long a run takes that cannot be hurried, 0 when it can.
func (s *Scenario) RealTime() time.Duration {
	if s.Level != LevelLive {
		return 0
	}
	return s.Duration
}
