package hub

import (
	"net/http"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/secret"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

func (s *server) listSecrets(r *http.Request) (any, error) {
	return view(s, r, func(tx *store.Tx) ([]secret.Info, error) { return s.keys.Safe.List(tx) })
}

func (s *server) setSecret(r *http.Request) (out any, err error) {
	in, err := body[api.NewSecret](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.SetSecret(now, protocol.Secret{Name: in.Name, Value: in.Value}, in.Target)
		return err
	})
	return out, err
}

func (s *server) removeSecret(r *http.Request) (out any, err error) {
	q := r.URL.Query()
	to := secret.Target{
		Agent: protocol.AgentName(q.Get("agent")), Site: protocol.Site(q.Get("site")), Label: q.Get("label"),
	}
	err = s.ask(r.Context(), func(time.Time) (err error) {
		out, err = s.hub.RemoveSecret(protocol.SecretName(r.PathValue("x")), to)
		return err
	})
	return out, err
}
