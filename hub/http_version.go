package hub

import (
	"net/http"
	"strconv"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

func (s *server) updateWorkflow(r *http.Request) (out any, err error) {
	in, err := body[api.Update](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.UpdateWorkflow(now, protocol.WorkflowName(r.PathValue("x")), in)
		return err
	})
	return out, err
}

func (s *server) withdraw(r *http.Request) (out any, err error) {
	in, err := body[api.Withdraw](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.Withdraw(now, protocol.PluginName(r.PathValue("x")), in)
		return err
	})
	return out, err
}

func (s *server) listNotices(r *http.Request) (any, error) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 {
		limit = 50
	}
	return listed(view(s, r, func(tx *store.Tx) ([]api.Notice, error) { return s.hub.Notices(tx, limit) }))
}

func (s *server) listFollows(r *http.Request) (any, error) { return listed(view(s, r, s.hub.Follows)) }

func (s *server) followPlugin(r *http.Request) (out any, err error) {
	in, err := body[api.Follow](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.Follow(now, protocol.PluginName(r.PathValue("x")), in)
		return err
	})
	return out, err
}

func (s *server) unfollowPlugin(r *http.Request) (any, error) {
	return struct{}{}, s.ask(r.Context(), func(time.Time) error {
		return s.hub.Unfollow(protocol.PluginName(r.PathValue("x")))
	})
}
