// Package demo is the main job from end to end, with real parts: it makes Git
// repositories with signed tags, starts a hub and two agents as processes of their
// own, publishes three plugins, deploys a workflow and waits for its runs. What it does
// an operator can do by hand, by the commands that it prints with --keep.
package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/cli"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/protocol"
)

// timeLimit bounds the whole demonstration, downloads included.
const timeLimit = 4 * time.Minute

// runsWanted is how many runs of each agent must have succeeded.
const runsWanted = 3

var plugins = []string{"system-health", "system-command", "append-file"}

var agents = []string{"gateway-1", "gateway-2"}

const workflowText = `workflow: watch-memory
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: 1s, repeat: 1s }
  at: { group: { role: gateway } }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
outputs:
  - plugin: append-file@1
    with: { file: runs.jsonl }
`

// Command returns "stavily demo".
func Command() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job, from signed plugins in Git to runs on two agents",
		Long: "Make Git repositories with signed tags, start a hub and two agents, publish three\n" +
			"plugins, deploy a workflow and wait for its first runs. Needs a checkout of the\n" +
			"project and Go.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return run(ctx, cmd.OutOrStdout(), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave hub and agents running and print the commands to look "+
		"around")
	return cmd
}

// stage is the demonstration under way.
type stage struct {
	out    io.Writer
	root   string // of the checkout
	dir    string // of everything that is made
	began  time.Time
	client *api.Client
	link   string // host:port of the hub
	edge   string // the agent's program
	signer ed25519.PrivateKey
	parts  []*process
}

func run(ctx context.Context, out io.Writer, keep bool) (err error) {
	s := &stage{out: out, began: time.Now()}
	defer func() { err = errors.Join(err, s.stop(err)) }()
	limited, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	for _, step := range []func(context.Context) error{
		s.prepare, s.startHub, s.startAgents, s.publish, s.deploy, s.awaitReports, s.awaitRuns,
	} {
		if err := step(limited); err != nil {
			if ctx.Err() == nil && limited.Err() != nil {
				return fmt.Errorf("demo: not done after %v: %w", timeLimit, err)
			}
			return err
		}
	}
	s.say("done", "in %.1f s", time.Since(s.began).Seconds())
	s.whereToLook(keep)
	if keep {
		<-ctx.Done()
	}
	return nil
}

// say prints one line of progress.
func (s *stage) say(what, format string, args ...any) {
	fmt.Fprintf(s.out, "%6.1fs  %-9s  %s\n", time.Since(s.began).Seconds(), what, fmt.Sprintf(format, args...))
}

// prepare makes the folder, the agent's program and the repositories.
func (s *stage) prepare(ctx context.Context) (err error) {
	if s.root, err = checkout(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "stavily-demo-"); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s.edge = filepath.Join(s.dir, "stavily-edge")
	if err := goBuild(ctx, s.root, s.edge, "./edge/stavily-edge"); err != nil {
		return err
	}
	info, err := os.Stat(s.edge)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s.say("built", "stavily-edge, %.1f MB", float64(info.Size())/1e6)
	if _, s.signer, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	public, ok := s.signer.Public().(ed25519.PublicKey)
	if !ok {
		return fmt.Errorf("demo: key is of type %T", s.signer.Public())
	}
	line, err := source.SignerLine("author@example.com", public)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("allowed_signers"), []byte(line+"\n"), 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	for _, name := range plugins {
		if err := s.repository(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// repository makes a Git repository of one first-party plugin, with a signed tag of
// its manifest's version.
func (s *stage) repository(name string) error {
	files := os.DirFS(filepath.Join(s.root, "plugins", name))
	manifest, _, err := build.ReadManifest(files)
	if err != nil {
		return err
	}
	author := source.Person{Name: "Stavily Authors", Email: "author@example.com"}
	dir := s.path(filepath.Join("repositories", name))
	commit, err := source.InitRepo(dir, files, author, s.began)
	if err != nil {
		return err
	}
	tag := "v" + manifest.Plugin.Version
	_, err = source.SignTag(dir, source.TagRequest{Tag: tag, Tagger: author, When: s.began, Key: s.signer})
	if err != nil {
		return err
	}
	s.say("signed", "%s: tag %s on commit %.12s, by SSH key", name, tag, commit)
	return nil
}

func (s *stage) startHub(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = s.dir
	}
	home := s.path("hub")
	p, err := s.start("hub", self, "hub", "--home", home, "--listen", "127.0.0.1:0",
		"--cache", filepath.Join(cache, "stavily"))
	if err != nil {
		return err
	}
	line, err := p.await(ctx, "hub ready: link ")
	if err != nil {
		return err
	}
	s.link, _, _ = strings.Cut(strings.TrimPrefix(line, "hub ready: link "), ",")
	s.client = api.OnSocket(api.SocketPath(home))
	var status api.Status
	if err := s.client.Do(ctx, http.MethodGet, api.PathStatus, nil, &status); err != nil {
		return err
	}
	s.say("hub", "%s on mqtts://%s, authority %s", status.Version, s.link, status.CA.Short())
	return nil
}

func (s *stage) startAgents(ctx context.Context) error {
	var token api.Token
	wish := api.NewToken{Site: "demo", Count: len(agents)}
	if err := s.client.Do(ctx, http.MethodPost, api.PathTokens, wish, &token); err != nil {
		return err
	}
	for _, name := range agents {
		_, err := s.start(name, s.edge, "--hub", "mqtts://"+s.link, "--join", token.Token, "--name", name,
			"--state", s.path(name), "--label", "role=gateway", "--allow", "process.execute:uname")
		if err != nil {
			return err
		}
	}
	for _, name := range agents {
		a, err := s.awaitAgent(ctx, name, func(a *api.Agent) bool { return a.Presence.Online && a.Reported != nil })
		if err != nil {
			return err
		}
		s.say("joined", "%s: %s, key made on the device, certificate %.12s", a.Address, a.Device.Platform,
			a.Identity.Serial)
	}
	return nil
}

// publish registers and publishes all plugins.
func (s *stage) publish(ctx context.Context) error {
	signers, err := os.ReadFile(s.path("allowed_signers"))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	for _, name := range plugins {
		in := api.AddPlugin{
			Repository:     s.path(filepath.Join("repositories", name)),
			AllowedSigners: string(signers),
		}
		var plugin api.Registered
		if err := s.client.Do(ctx, http.MethodPost, api.PathPlugins, in, &plugin); err != nil {
			return err
		}
		if err := s.publishOne(ctx, plugin); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) publishOne(ctx context.Context, plugin api.Registered) error {
	tags, err := source.Tags(ctx, plugin.Repository, source.Options{})
	if err != nil {
		return err
	}
	version := strings.TrimPrefix(tags[len(tags)-1], "v")
	s.say("publish", "%s@%s (%s)", plugin.Name, version, plugin.Type)
	return s.client.Publish(ctx, string(plugin.Name), api.Publish{Version: version}, func(p api.Progress) {
		if p.Stage != nil {
			fmt.Fprintln(s.out, "         "+cli.StageLine(*p.Stage))
		}
		if r := p.Release; r != nil {
			for _, a := range r.Artifacts {
				s.say("sealed", "%s@%s: release %s, %s artifact %s, %d bytes",
					r.Plugin, r.Version, r.Digest.Short(), a.Platform, a.Digest.Short(), a.Size)
			}
		}
	})
}

func (s *stage) deploy(ctx context.Context) error {
	file := s.path("watch-memory.yaml")
	if err := os.WriteFile(file, []byte(workflowText), 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	var d api.Deployed
	in := api.Deploy{File: file, Text: workflowText}
	if err := s.client.Do(ctx, http.MethodPost, api.PathWorkflows, in, &d); err != nil {
		return err
	}
	for _, a := range d.Agents {
		s.say("deployed", "%s to %s: desired revision %d, %s", d.Workflow, a.Agent, a.Revision, a.Digest.Short())
	}
	if len(d.Agents) != len(agents) {
		return fmt.Errorf("demo: %s went to %d agents, want %d", d.Workflow, len(d.Agents), len(agents))
	}
	return nil
}

// awaitReports waits until every agent says that it runs what it was sent.
func (s *stage) awaitReports(ctx context.Context) error {
	for _, name := range agents {
		a, err := s.awaitAgent(ctx, name, func(a *api.Agent) bool {
			r := a.Reported
			return r != nil && (r.Refused != nil || r.Revision == a.Desired.Revision && r.Revision > 0 && settled(r))
		})
		if err != nil {
			return err
		}
		if r := a.Reported; r.Refused != nil {
			return fmt.Errorf("demo: %s refused revision %d: %s", name, r.Refused.Revision, r.Refused.Error.Text)
		}
		for _, st := range a.Reported.Assignments {
			s.say("reported", "%s: revision %d, %s is %s", name, a.Reported.Revision, st.Workflow, st.Phase)
			if st.Error != nil {
				return fmt.Errorf("demo: %s: %s: %s", name, st.Workflow, st.Error.Text)
			}
		}
	}
	return nil
}

func settled(r *protocol.Reported) bool {
	for _, st := range r.Assignments {
		if st.Phase != protocol.PhaseRunning && st.Phase != protocol.PhaseFailed {
			return false
		}
	}
	return len(r.Assignments) > 0
}

func (s *stage) awaitAgent(ctx context.Context, name string, done func(*api.Agent) bool) (*api.Agent, error) {
	var a api.Agent
	return &a, s.poll(ctx, "agent "+name, func() (bool, error) {
		var got api.Agent
		err := s.client.Do(ctx, http.MethodGet, api.Path(api.PathAgent, name), nil, &got)
		var answer *api.Error
		if errors.As(err, &answer) && answer.Code == protocol.CodeNotFound {
			return false, nil // it has not joined yet
		}
		a = got
		return err == nil && done(&a), err
	})
}

// awaitRuns shows runs as they arrive until each agent had enough that succeeded.
func (s *stage) awaitRuns(ctx context.Context) error {
	seen := map[string]bool{}
	good := map[string]int{}
	return s.poll(ctx, "runs", func() (bool, error) {
		var list []api.Run
		if err := s.client.Do(ctx, http.MethodGet, api.PathRuns+"?limit=100", nil, &list); err != nil {
			return false, err
		}
		for i := len(list) - 1; i >= 0; i-- {
			r := &list[i]
			if seen[r.ID] || r.Status == "running" {
				continue
			}
			seen[r.ID] = true
			if err := s.showRun(ctx, r.ID); err != nil {
				return false, err
			}
			good[string(r.Agent)]++
		}
		for _, name := range agents {
			if good[name] < runsWanted {
				return false, nil
			}
		}
		return true, nil
	})
}

func (s *stage) showRun(ctx context.Context, id string) error {
	var r api.Run
	if err := s.client.Do(ctx, http.MethodGet, api.Path(api.PathRun, id), nil, &r); err != nil {
		return err
	}
	steps := make([]string, len(r.Steps))
	for i, st := range r.Steps {
		steps[i] = fmt.Sprintf("%s %s %.1f ms", st.Name, st.Status, float64(st.TookUS)/1000)
		if st.Error != nil {
			return fmt.Errorf("demo: run %.12s on %s: %s: %s", r.ID, r.Agent, st.Name, st.Error.Text)
		}
	}
	s.say("run", "%.12s on %s: %s -> %s", r.ID, r.Agent, r.Data, strings.Join(steps, " -> "))
	return nil
}
