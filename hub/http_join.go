package hub

import (
	"log/slog"
	"net/http"

	"github.com/stavily/stavily/protocol"
)

// joinByHand answers the request of a device that has no line, as it was carried here: what
// ServeJoin answers over the line. A certificate is not renewed in this way, as nothing shows
// who asks.
func (s *server) joinByHand(w http.ResponseWriter, r *http.Request) {
	var req protocol.JoinRequest
	if err := protocol.ReadFrame(r.Body, protocol.JoinRequestMax, &req); err != nil {
		fail(w, protocol.Errorf(protocol.CodeBadInput, "join: request: %w", err))
		return
	}
	if req.Renew {
		fail(w, protocol.Errorf(protocol.CodeRefused, "join: request of %s is to renew, which needs a line",
			req.Address))
		return
	}
	reply := s.decide(r.Context(), req, nil)
	if reply.Error != nil {
		fail(w, reply.Error)
		return
	}
	s.log.Info("joined by hand", slog.String("agent", reply.Address.String()))
	w.Header().Set("Content-Type", "application/octet-stream")
	_ = protocol.WriteFrame(w, reply) // the caller went away: nothing to tell
}
