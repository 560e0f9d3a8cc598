package hub

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Version is what this hub and its command line call themselves.
const Version = "0.1.0"

const bodyMax = 1 << 20

// serveAPI answers operators on ln. An empty token means that the listener itself keeps
// strangers out, as the socket does.
func (s *server) serveAPI(ctx context.Context, ln net.Listener, token string) error {
	handler := s.routes()
	if token != "" {
		handler = guarded(handler, token)
	}
	web := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	defer context.AfterFunc(ctx, func() { _ = web.Close() })()
	if err := web.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func guarded(next http.Handler, token string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(got), []byte(token)) != 1 {
			fail(w, protocol.Errorf(protocol.CodeRefused, "api: wrong or missing token"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func openToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b := make([]byte, 32)
		if _, err := rand.Read(b); err != nil {
			return "", err
		}
		text = []byte(hex.EncodeToString(b))
		err = writeSecret(path, text)
		return string(text), err
	}
	token := strings.TrimSpace(string(text))
	if err == nil && len(token) < tokenMin {
		err = fmt.Errorf("api token: %s: %d characters, want %d or more; remove the file for a new one",
			path, len(token), tokenMin)
	}
	return token, err
}

// tokenMin keeps an empty or cut off file from opening the API to everybody.
const tokenMin = 32

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
			if out, err := f(r); err != nil {
				fail(w, err)
			} else {
				answer(w, http.StatusOK, out)
			}
		})
	}
	handle("GET", api.PathStatus, func(*http.Request) (any, error) { return s.status(), nil })
	handle("GET", api.PathPlugins, s.listPlugins)
	handle("POST", api.PathPlugins, s.addPlugin)
	handle("GET", api.PathPlugin, s.showPlugin)
	handle("DELETE", api.PathPlugin, s.removePlugin)
	handle("GET", api.PathWorkflows, s.listWorkflows)
	handle("POST", api.PathWorkflows, s.deployWorkflow)
	handle("GET", api.PathWorkflow, s.showWorkflow)
	handle("DELETE", api.PathWorkflow, s.removeWorkflow)
	handle("GET", api.PathExplain, s.explain)
	handle("POST", api.PathUpdate, s.updateWorkflow)
	handle("POST", api.PathWithdraw, s.withdraw)
	handle("GET", api.PathNotices, s.listNotices)
	handle("GET", api.PathFollows, s.listFollows)
	handle("POST", api.PathFollow, s.followPlugin)
	handle("DELETE", api.PathFollow, s.unfollowPlugin)
	handle("GET", api.PathRollouts, s.listRollouts)
	handle("GET", api.PathRollout, s.showRollout)
	handle("POST", api.PathRollout, s.steerRollout)
	handle("GET", api.PathAgents, s.listAgents)
	handle("GET", api.PathAgent, s.showAgent)
	handle("PATCH", api.PathAgent, s.labelAgent)
	handle("DELETE", api.PathAgent, s.removeAgent)
	handle("POST", api.PathGateway, s.setGateway)
	handle("POST", api.PathAdopt, s.adopt)
	handle("POST", api.PathTokens, s.newToken)
	handle("POST", api.PathRecording, s.orderRecording)
	handle("GET", api.PathRecording, s.showRecording)
	handle("GET", api.PathBudgets, s.listBudgets)
	handle("POST", api.PathBudgets, s.setBudget)
	handle("GET", api.PathSecrets, s.listSecrets)
	handle("POST", api.PathSecrets, s.setSecret)
	handle("DELETE", api.PathSecret, s.removeSecret)
	handle("GET", api.PathRuns, s.listRuns)
	handle("GET", api.PathRun, s.showRun)
	handle("GET", api.PathDeadLetters, s.listDeadLetters)
	handle("GET", api.PathDeadLetter, s.showDeadLetter)
	handle("POST", api.PathDeadLetter, s.replay)
	handle("DELETE", api.PathDeadLetter, s.dropDeadLetter)
	mux.HandleFunc("POST "+api.PathReleases, s.publishRelease)
	mux.HandleFunc("POST "+api.PathJoins, s.joinByHand)
	mux.HandleFunc("GET "+api.PathBundle, s.exportBundle)
	mux.HandleFunc("POST "+api.PathBundles, s.importBundle)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, protocol.Errorf(protocol.CodeNotFound, "api: %s %s: no such path", r.Method, r.URL.Path))
	})
	return mux
}

func answer(w http.ResponseWriter, status int, out any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the caller went away: nothing to tell
}

func fail(w http.ResponseWriter, err error) {
	out := apiError(err)
	answer(w, statusOf(out.Code), map[string]*api.Error{"error": out})
}

func apiError(err error) *api.Error {
	out := &api.Error{Code: protocol.CodeOf(err), Text: err.Error()}
	var place *document.Error
	if errors.As(err, &place) {
		out.Code, out.Place = protocol.CodeBadInput, place
		errors.As(err, &out.Places)
	}
	return out
}

func statusOf(code protocol.Code) int {
	switch code {
	case protocol.CodeNotFound:
		return http.StatusNotFound
	case protocol.CodeExists, protocol.CodeStale:
		return http.StatusConflict
	case protocol.CodeRefused, protocol.CodeDenied:
		return http.StatusForbidden
	case protocol.CodeUnavailable:
		return http.StatusServiceUnavailable
	case protocol.CodeInternal, protocol.CodeStorage:
		return http.StatusInternalServerError
	default:
		return http.StatusUnprocessableEntity
	}
}

func body[T any](r *http.Request) (T, error) {
	var in T
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return in, protocol.Errorf(protocol.CodeBadInput, "api: %s %s: body: %w", r.Method, r.URL.Path, err)
	}
	return in, nil
}

// view reads the books in the loop, so that an answer never mixes two moments.
func view[T any](s *server, r *http.Request, f func(*store.Tx) (T, error)) (out T, err error) {
	err = s.operate(r.Context(), func(tx *store.Tx) error {
		out, err = f(tx)
		return err
	})
	return out, err
}

// viewNow is view for what depends on the time.
func viewNow[T any](s *server, r *http.Request, f func(*store.Tx, time.Time) (T, error)) (out T, err error) {
	err = s.ask(r.Context(), func(now time.Time) error {
		return s.hub.Operate(func(tx *store.Tx) error {
			out, err = f(tx, now)
			return err
		})
	})
	return out, err
}

// listed makes an empty list one that programs can walk, and not null.
func listed[T any](all []T, err error) ([]T, error) {
	if all == nil {
		all = []T{}
	}
	return all, err
}

func (s *server) listPlugins(r *http.Request) (any, error) {
	return listed(view(s, r, registry.Plugins))
}

func (s *server) addPlugin(r *http.Request) (any, error) {
	in, err := body[api.AddPlugin](r)
	if err != nil {
		return nil, err
	}
	return s.publish.Add(r.Context(), in)
}

func (s *server) showPlugin(r *http.Request) (any, error) {
	name := protocol.PluginName(r.PathValue("x"))
	return view(s, r, func(tx *store.Tx) (out api.Plugin, err error) {
		if out.Plugin, err = registry.GetPlugin(tx, name); err != nil {
			return out, err
		}
		list, err := registry.Releases(tx, name)
		for i := 0; err == nil && i < len(list); i++ {
			var stages []registry.Stage
			stages, err = registry.Stages(tx, name, list[i].Version)
			out.Releases = append(out.Releases, api.Release{Release: list[i], Stages: stages})
		}
		return out, err
	})
}

func (s *server) removePlugin(r *http.Request) (any, error) {
	return struct{}{}, s.operate(r.Context(), func(tx *store.Tx) error {
		return registry.RemovePlugin(tx, protocol.PluginName(r.PathValue("x")))
	})
}

// publishRelease answers line by line as the stages fall.
func (s *server) publishRelease(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, bodyMax+build.BundleMax/3*4)
	in, err := body[api.Publish](r)
	if err != nil {
		fail(w, err)
		return
	}
	plugin, err := view(s, r, func(tx *store.Tx) (registry.Plugin, error) {
		return registry.GetPlugin(tx, protocol.PluginName(r.PathValue("x")))
	})
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	tell := func(p api.Progress) {
		_ = json.NewEncoder(w).Encode(p) // the caller went away: the work goes on
		_ = flush.Flush()
	}
	ask := Asked{Version: strings.TrimPrefix(in.Version, "v"), Older: in.Older, Bundle: in.Bundle}
	release, err := s.publish.Ask(r.Context(), plugin, ask, func(stage registry.Stage) {
		tell(api.Progress{Stage: &stage})
	})
	if err != nil {
		tell(api.Progress{Error: apiError(err)})
		return
	}
	tell(api.Progress{Release: &release})
}

func (s *server) listWorkflows(r *http.Request) (any, error) {
	return listed(view(s, r, s.hub.Workflows))
}

func (s *server) showWorkflow(r *http.Request) (any, error) {
	name := protocol.WorkflowName(r.PathValue("x"))
	all, err := view(s, r, s.hub.Workflows)
	for i := range all {
		if all[i].Workflow == name {
			return all[i], nil
		}
	}
	if err == nil {
		err = protocol.Errorf(protocol.CodeNotFound, "workflow %q: not deployed", name)
	}
	return nil, err
}

func (s *server) deployWorkflow(r *http.Request) (out any, err error) {
	in, err := body[api.Deploy](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.DeployAs(now, in)
		return err
	})
	return out, err
}

func (s *server) explain(r *http.Request) (out any, err error) {
	name, agent := protocol.WorkflowName(r.PathValue("x")), protocol.AgentName(r.URL.Query().Get("agent"))
	err = s.ask(r.Context(), func(time.Time) error {
		return s.hub.Operate(func(tx *store.Tx) error {
			out, err = s.hub.Explain(tx, name, agent)
			return err
		})
	})
	return out, err
}

func (s *server) removeWorkflow(r *http.Request) (out any, err error) {
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.Undeploy(now, protocol.WorkflowName(r.PathValue("x")))
		return err
	})
	return out, err
}

func (s *server) listRollouts(r *http.Request) (any, error) {
	return listed(viewNow(s, r, s.hub.Rollouts))
}

func (s *server) showRollout(r *http.Request) (any, error) {
	return viewNow(s, r, func(tx *store.Tx, now time.Time) (*api.Rollout, error) {
		return s.hub.Rollout(tx, now, protocol.WorkflowName(r.PathValue("x")))
	})
}

func (s *server) steerRollout(r *http.Request) (out any, err error) {
	in, err := body[api.Steer](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.Steer(now, protocol.WorkflowName(r.PathValue("x")), in.Do)
		return err
	})
	return out, err
}

func (s *server) listAgents(r *http.Request) (any, error) {
	return listed(view(s, r, fleet.List))
}

func (s *server) showAgent(r *http.Request) (any, error) {
	return view(s, r, func(tx *store.Tx) (out api.AgentShown, err error) {
		if out.Agent, err = fleet.Get(tx, protocol.AgentName(r.PathValue("x"))); err == nil {
			out.Loads, err = s.hub.loads(tx, out.Agent, "")
		}
		if err == nil {
			out.Gaps, err = runs.Gaps(tx, out.Address.Agent, api.GapsShown)
		}
		return out, err
	})
}

func (s *server) labelAgent(r *http.Request) (out any, err error) {
	in, err := body[api.Labels](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.Label(now, protocol.AgentName(r.PathValue("x")), in.Labels)
		return err
	})
	return out, err
}

func (s *server) removeAgent(r *http.Request) (any, error) {
	return struct{}{}, s.ask(r.Context(), func(now time.Time) error {
		gone, err := s.hub.Remove(now, protocol.AgentName(r.PathValue("x")))
		if err != nil {
			return err
		}
		defer s.broker.Disconnect(gone.Address, "removed")
		return s.admit()
	})
}

func (s *server) adopt(r *http.Request) (out any, err error) {
	in, err := body[api.Adopt](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) error {
		out, err = listed(s.hub.Adopt(now, in.Agents))
		return err
	})
	return out, err
}

const (
	tokenTTL = time.Hour
	runsMax  = 1000
)

func (s *server) newToken(r *http.Request) (any, error) {
	in, err := body[api.NewToken](r)
	if err != nil {
		return nil, err
	}
	if in.Count == 0 {
		in.Count = 1
	}
	if in.TTL == 0 {
		in.TTL = tokenTTL
	}
	out := api.Token{Hub: s.bound.Link}
	err = s.ask(r.Context(), func(now time.Time) error {
		t, err := s.hub.NewToken(now, in)
		out.Token, out.Expires = t.String(), now.Add(in.TTL)
		return err
	})
	return out, err
}

func (s *server) listRuns(r *http.Request) (any, error) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > runsMax {
		limit = 50
	}
	return listed(view(s, r, func(tx *store.Tx) ([]runs.Run, error) {
		return runs.List(tx, runs.Filter{
			Workflow: protocol.WorkflowName(q.Get("workflow")), Agent: protocol.AgentName(q.Get("agent")),
			Status: runs.Status(q.Get("status")), Limit: limit,
		})
	}))
}

func (s *server) showRun(r *http.Request) (any, error) {
	return view(s, r, func(tx *store.Tx) (runs.Run, error) { return runs.Get(tx, r.PathValue("x")) })
}
