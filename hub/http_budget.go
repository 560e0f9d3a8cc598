package hub

import (
	"net/http"
	"time"

	"github.com/stavily/stavily/hub/api"
)

func (s *server) listBudgets(r *http.Request) (any, error) { return view(s, r, Budgets) }

func (s *server) setBudget(r *http.Request) (out any, err error) {
	in, err := body[api.Budget](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.SetBudget(now, in)
		return err
	})
	return out, err
}
