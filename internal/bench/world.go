package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
)

// world is a hub as a process and an operator who asks it through its socket.
type world struct {
	*bench
	hub    *process
	listen string // host:port
	client *api.Client
	edge   string // the agent's program
}

// startHub builds both programs and starts a hub with an empty home.
func (b *bench) startHub() (*world, error) {
	program, err := b.build(".")
	if err != nil {
		return nil, err
	}
	w := &world{bench: b}
	if w.edge, err = b.build(edgePackage); err != nil {
		return nil, err
	}
	home := b.path("home")
	w.hub, err = b.start(program, "hub", "--home", home, "--listen", "127.0.0.1:0", "--cache", b.sharedCache())
	if err != nil {
		return nil, err
	}
	said, err := w.hub.hear()
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(said, "hub ready: link ")
	if !ok {
		return nil, fmt.Errorf("hub says %q: want that it is ready", said)
	}
	w.listen, _, _ = strings.Cut(rest, ",")
	w.client = api.OnSocket(api.SocketPath(home))
	return w, nil
}

// publish publishes plugins of this project.
func (w *world) publish(plugins ...string) error {
	for _, name := range plugins {
		if err := os.CopyFS(w.repository(name), os.DirFS(filepath.Join("plugins", name))); err != nil {
			return err
		}
	}
	return w.release(plugins)
}

// publishSmall publishes what "stavily plugin new" begins in Rust, one plugin of each type by
// the names small-trigger, small-action and small-output.
func (w *world) publishSmall() error {
	var names []string
	for _, kind := range []protocol.PluginType{protocol.Trigger, protocol.Action, protocol.Output} {
		name := "small-" + string(kind)
		files, err := build.Scaffold{
			Language: "rust", Type: kind, Name: protocol.PluginName(name), Author: "author",
		}.Files()
		if err != nil {
			return err
		}
		for file, data := range files {
			at := filepath.Join(w.repository(name), filepath.FromSlash(file))
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(at, data, 0o600); err != nil {
				return err
			}
		}
		names = append(names, name)
	}
	return w.release(names)
}

func (w *world) repository(plugin string) string {
	return w.path(filepath.Join("repositories", plugin))
}

// release signs what lies in the repositories of plugins as version 1.0.0, and takes it through
// the hub.
func (w *world) release(plugins []string) error {
	key := w.path("author")
	if _, err := os.Stat(key); err != nil {
		err := w.command(w.dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "author", "-f", key)
		if err != nil {
			return err
		}
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return err
	}
	for _, name := range plugins {
		repo := w.repository(name)
		if err := w.sign(repo, key); err != nil {
			return err
		}
		add := api.AddPlugin{Repository: repo, AllowedSigners: "author@example.com " + string(public)}
		if err := w.client.Do(w.ctx, http.MethodPost, api.PathPlugins, add, nil); err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
		err := w.client.Publish(w.ctx, name, api.Publish{Version: "1.0.0"}, func(api.Progress) {})
		if err != nil {
			return fmt.Errorf("publish %s: %w", name, err)
		}
	}
	return nil
}

// sign makes a repository of a folder, with a signed tag.
func (w *world) sign(repo, key string) error {
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"add", "-A"},
		{"commit", "-q", "-m", "first"},
		{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + key, "tag", "-s", "-m", "first", "v1.0.0"},
	} {
		who := []string{"-c", "user.name=author", "-c", "user.email=author@example.com"}
		if err := w.command(repo, "git", append(who, args...)...); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) command(dir, program string, args ...string) error {
	cmd := exec.CommandContext(w.ctx, program, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, text)
	}
	return nil
}

// join starts an agent with a label and waits until the hub has heard of it.
func (w *world) join(name, label string) (*process, error) {
	var token api.Token
	err := w.client.Do(w.ctx, http.MethodPost, api.PathTokens, api.NewToken{Site: "lab"}, &token)
	if err != nil {
		return nil, err
	}
	p, err := w.start(w.edge, "--hub", "mqtts://"+w.listen, "--join", token.Token, "--name", name,
		"--state", w.path(name), "--label", label, "--allow", "process.execute:uname")
	if err != nil {
		return nil, err
	}
	return p, w.until("agent "+name, func() (bool, error) {
		agents, err := w.agents()
		return slices.ContainsFunc(agents, func(a api.Agent) bool {
			return string(a.Address.Agent) == name && a.Presence.Online && a.Reported != nil
		}), err
	})
}

// deploy deploys a workflow and waits until the agent runs it.
func (w *world) deploy(text, agent string) error {
	wish := api.Deploy{File: "bench.yaml", Text: text}
	err := w.client.Do(w.ctx, http.MethodPost, api.PathWorkflows, wish, nil)
	if err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	return w.runs(agent, 1)
}

// runs waits until the agent has reported, in this boot or a later one, that its one
// workflow is running.
func (w *world) runs(agent string, boot uint64) error {
	return w.until(agent+" to run the workflow", func() (bool, error) {
		agents, err := w.agents()
		return slices.ContainsFunc(agents, func(a api.Agent) bool {
			return string(a.Address.Agent) == agent && a.Reported != nil &&
				a.Reported.Boot >= boot && running(a.Reported)
		}), err
	})
}

func running(r *protocol.Reported) bool {
	return len(r.Assignments) == 1 && r.Assignments[0].Phase == protocol.PhaseRunning
}

func (w *world) agents() (out []api.Agent, err error) {
	return out, w.client.Do(w.ctx, http.MethodGet, api.PathAgents, nil, &out)
}
