package hub

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/bundle"
)

// exportBundle answers with a bundle. What goes wrong on the way cuts it off, which every
// reader of a bundle finds.
func (s *server) exportBundle(w http.ResponseWriter, r *http.Request) {
	var out *carrying
	err := s.ask(r.Context(), func(now time.Time) (err error) {
		site, agent := protocol.Site(r.PathValue("x")), protocol.AgentName(r.URL.Query().Get("agent"))
		out, err = s.hub.carry(now, site, agent)
		return err
	})
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := out.write(w, s.hub.files.Get); err != nil {
		s.log.Warn("bundle not written", slog.String("error", err.Error()))
		panic(http.ErrAbortHandler) // the connection breaks: the other side must not take it for whole
	}
}

// importBundle keeps what comes in a file first: it is read twice.
func (s *server) importBundle(w http.ResponseWriter, r *http.Request) {
	file, err := os.CreateTemp(s.cfg.Home, "bundle-*")
	if err != nil {
		fail(w, protocol.Errorf(protocol.CodeStorage, "bundle: %w", err))
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	out, err := s.takeBundle(r.Context(), file, http.MaxBytesReader(w, r.Body, bundle.SizeMax))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, out)
}

func (s *server) takeBundle(ctx context.Context, file *os.File, from io.Reader) (any, error) {
	if _, err := io.Copy(file, from); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "bundle: %w", err)
	}
	shelf, err := bundle.Open(file)
	if err != nil {
		return nil, err
	}
	return s.hub.importBundle(shelf, func(f func(now time.Time) error) error { return s.ask(ctx, f) })
}
