package hub

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// momentEvery is how long one sealed moment serves all hints: it is a lower bound, so that
// an old one is only worth a little less.
const momentEvery = 10 * time.Second

// moment is the newest sealed time.
type moment struct {
	at     time.Time
	sealed []byte
}

// proof returns a sealed moment, no older than momentEvery before now.
func (m *moment) proof(h *Hub, now time.Time) []byte {
	if age := now.Sub(m.at); m.sealed != nil && age >= 0 && age < momentEvery {
		return m.sealed
	}
	payload := protocol.MustMarshal(protocol.Moment{Time: now.UnixMilli()})
	sealed, err := protocol.Seal(protocol.ContextMoment, h.keys.Desired, payload)
	if err != nil {
		h.log.Error("moment not sealed", slog.String("error", err.Error()))
		return nil
	}
	m.at, m.sealed = now, sealed
	return sealed
}
