package deploy

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

var update = flag.Bool("update", false, "write the plans below the dashes anew")

// dashes stand between what a plan follows from and the plan.
const dashes = "\n----------\n"

// world is what stands above the dashes: a document with releases and agents, then the
// workflows, a YAML document each.
type world struct {
	Releases []worldRelease      `json:"releases"`
	Agents   []worldAgent        `json:"agents"`
	Approve  map[string][]string `json:"approve"`
	Waves    []worldWave         `json:"waves"`
}

// worldWave says who has a workflow that stands below several times: the last one is on its way
// to all, the one before it is what the others have, and those before that are being left.
type worldWave struct {
	Workflow string   `json:"workflow"`
	Has      []string `json:"has"`
	Back     bool     `json:"back"`
	Done     bool     `json:"done"` // all have it, and leave the one before
}

// versions makes one deployment of those of each workflow.
func (w *world) versions(all []Deployment) (out []Deployment) {
	for _, d := range all {
		at := slices.IndexFunc(out, func(o Deployment) bool { return o.Workflow.Name == d.Workflow.Name })
		if at < 0 {
			out = append(out, d)
			continue
		}
		old := out[at]
		d.Leaving, old.Leaving = old.Leaving, nil
		if old.Base != nil {
			d.Leaving, old.Base = append(d.Leaving, old.Base), nil
		}
		old.Takes, d.Base = nil, &old
		out[at] = d
		of := w.Waves[slices.IndexFunc(w.Waves, func(v worldWave) bool { return v.Workflow == string(d.Workflow.Name) })]
		if of.Done {
			out[at].Leaving, out[at].Base = append(d.Leaving, d.Base), nil
			continue
		}
		out[at].Back = of.Back
		out[at].Takes = func(name protocol.AgentName) bool { return !of.Back && slices.Contains(of.Has, string(name)) }
	}
	return out
}

type worldRelease struct {
	Plugin    string   `json:"plugin"` // name@version
	Type      string   `json:"type"`
	Asks      []string `json:"asks"`
	Network   bool     `json:"network"`
	Platforms []string `json:"platforms"` // none: wasm
	Schema    string   `json:"schema"`
	Memory    uint32   `json:"memory"` // MB
}

type worldAgent struct {
	At       string            `json:"at"` // site/agent
	Platform string            `json:"platform"`
	Labels   map[string]string `json:"labels"`
	Native   bool              `json:"native"`
}

func (r *worldRelease) release() Release {
	name, version, _ := strings.Cut(r.Plugin, "@")
	out := Release{
		Ref: protocol.ReleaseRef{
			Plugin: protocol.PluginName(name), Version: version, Digest: protocol.DigestOf([]byte(r.Plugin)), Size: 100,
		},
		Manifest: protocol.Manifest{
			Plugin:  protocol.PluginInfo{Name: protocol.PluginName(name), Version: version, Type: protocol.PluginType(r.Type)},
			Network: r.Network, Permissions: protocol.Permissions{System: r.Asks},
			Configuration: protocol.Configuration{Schema: "config-schema.json"}, Limits: protocol.Limits{MemoryMB: r.Memory},
		},
		Platforms: r.Platforms, Schema: []byte(r.Schema),
	}
	out.DeviceSchema, _ = DeviceSchema(out.Schema)
	if len(r.Platforms) == 0 {
		out.Platforms = []string{protocol.PlatformWASM}
	}
	return out
}

// read makes the input of a plan from what stands above the dashes.
func read(t testing.TB, name, text string) Input {
	t.Helper()
	parts := strings.Split(text, "\n---\n")
	doc, err := document.Parse(name, []byte(parts[0]))
	if err != nil {
		t.Fatal(err)
	}
	var w world
	if err := doc.Decode(&w); err != nil {
		t.Fatal(err)
	}
	in := Input{Approve: grantsOf(w.Approve)}
	for _, a := range w.Agents {
		site, agent, _ := strings.Cut(a.At, "/")
		in.Agents = append(in.Agents, Agent{
			Address: protocol.Address{Site: protocol.Site(site), Agent: protocol.AgentName(agent)}, Labels: a.Labels, Platform: a.Platform,
		})
		if a.Native {
			in.Agents[len(in.Agents)-1].Native = &protocol.Native{Libc: "glibc"}
		}
	}
	for i, part := range parts[1:] {
		wf, err := workflow.Parse(fmt.Sprintf("%s#%d", name, i+1), []byte(part))
		if err != nil {
			t.Fatal(err)
		}
		in.Deployments = append(in.Deployments, Deployment{Workflow: wf, Releases: resolve(t, wf, w.Releases)})
	}
	in.Deployments = w.versions(in.Deployments)
	return in
}

// resolve takes the first release of the name, for each step; a world has one of each.
func resolve(t testing.TB, wf *workflow.Workflow, all []worldRelease) (out []Release) {
	t.Helper()
	for _, s := range wf.StepsInOrder() {
		i := slices.IndexFunc(all, func(r worldRelease) bool {
			return strings.HasPrefix(r.Plugin, string(s.Plugin.Name)+"@"+s.Plugin.Range)
		})
		if i < 0 {
			t.Fatalf("the world has no release of %s", s.Plugin)
		}
		out = append(out, all[i].release())
	}
	return out
}

func grantsOf(m map[string][]string) (out []protocol.Grant) {
	for _, c := range []string{protocol.CapKV, protocol.CapRead, protocol.CapWrite, protocol.CapProcess, protocol.CapHTTP, protocol.CapMetrics} {
		if scopes, ok := m[c]; ok {
			out = append(out, protocol.Grant{Capability: c, Scopes: scopes})
		}
	}
	return out
}

// describe writes for people what Check refuses, and the plan of the others.
func describe(in Input) string {
	var b strings.Builder
	all := in.Deployments
	in.Deployments = nil
	for i := range all {
		if err := Check(&all[i], in.Agents); err != nil {
			fmt.Fprintf(&b, "refused: %v\n", err)
			continue
		}
		in.Deployments = append(in.Deployments, all[i])
	}
	names := map[protocol.Digest]string{}
	for _, c := range Plan(in) {
		fmt.Fprintf(&b, "agent %s\n", c.Address)
		for _, r := range c.Releases {
			names[r.Digest] = string(r.Plugin) + "@" + r.Version
			fmt.Fprintf(&b, "  release %s %s\n", names[r.Digest], r.Digest.Short())
		}
		for _, a := range c.Assignments {
			fmt.Fprintf(&b, "  workflow %s, catch-up %d%s\n", a.Workflow, a.CatchUp, map[bool]string{true: ", urgent"}[a.Urgent])
			for _, s := range slices.Concat([]protocol.Step{a.Trigger}, a.Actions, a.Outputs) {
				fmt.Fprintf(&b, "    %s: %s%s\n", s.Name, cmp.Or(names[s.Release], "elsewhere"), details(s))
			}
		}
		for _, h := range c.Hosts {
			fmt.Fprintf(&b, "  hosts %s/%s edition %x: %s %s%s, for %v\n", h.Workflow, h.Step.Name, h.Edition, h.Type,
				names[h.Step.Release], details(h.Step), h.Origins)
		}
		for _, x := range c.Excluded {
			fmt.Fprintf(&b, "  excluded %s at %q: %s: %s\n", x.Workflow, x.Step, x.Error.Code, x.Error.Text)
		}
	}
	return b.String()
}

// details tells what of a step is not its default.
func details(s protocol.Step) string {
	out := ""
	for _, d := range []struct {
		some bool
		text string
	}{
		{len(s.Config) > 0 && len(s.Template) == 0, fmt.Sprintf("config %x", []byte(s.Config))},
		{len(s.Template) > 0, "filled " + shown(s)},
		{len(s.Grants) > 0, "grants " + grantText(s.Grants)},
		{s.Place != nil, placeText(s.Place)},
		{s.Place == nil && s.Limits != protocol.DefaultLimits(), fmt.Sprintf("limits %+v", s.Limits)},
		{s.Timeout != 0, fmt.Sprintf("timeout %d ms", s.Timeout)},
		{s.Retry != protocol.Retry{}, fmt.Sprintf("retry %d after %d ms", s.Retry.Times, s.Retry.WaitMS)},
		{s.When != 0, fmt.Sprintf("when %d", s.When)},
		{s.Platform != "", "as " + s.Platform},
	} {
		if d.some {
			out += ", " + d.text
		}
	}
	return out
}

func shown(s protocol.Step) string {
	text, err := showConfig(&s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func placeText(p *protocol.Place) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("pick %d of %v, edition %x, within %d ms", p.Pick, p.Members, p.Edition, p.WithinMS)
}

func grantText(grants []protocol.Grant) string {
	var parts []string
	for _, g := range grants {
		parts = append(parts, g.Capability+":"+strings.Join(g.Scopes, "+"))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func plans(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.plan")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no plans: %v", err)
	}
	return paths
}

func above(t testing.TB, path string) (in Input, top, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	top, want, _ = strings.Cut(string(text), dashes)
	return read(t, filepath.Base(path), top), top, want
}

// T-01, T-03, T-06, P-08: the plans, as golden files.
func TestPlan(t *testing.T) {
	for _, path := range plans(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			in, top, want := above(t, path)
			got := describe(in)
			if *update {
				if err := os.WriteFile(path, []byte(top+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// encoded is a plan as bytes.
func encoded(plan []Content) [][]byte {
	var out [][]byte
	for i := range plan {
		out = append(out, append(plan[i].encode(), []byte(fmt.Sprint(plan[i].Excluded))...))
	}
	return out
}

// The same input in any order gives the same bytes, and Plan leaves its input alone.
func TestPlanIsPure(t *testing.T) {
	for _, path := range plans(t) {
		in, _, _ := above(t, path)
		want := encoded(Plan(in))
		before := fmt.Sprintf("%v %v %v", in.Agents, len(in.Deployments), in.Approve)
		Plan(in)
		if after := fmt.Sprintf("%v %v %v", in.Agents, len(in.Deployments), in.Approve); after != before {
			t.Errorf("%s: the input changed: %s, was %s", path, after, before)
		}
		for seed := range uint64(50) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			rnd.Shuffle(len(in.Agents), func(i, j int) { in.Agents[i], in.Agents[j] = in.Agents[j], in.Agents[i] })
			rnd.Shuffle(len(in.Deployments), func(i, j int) {
				in.Deployments[i], in.Deployments[j] = in.Deployments[j], in.Deployments[i]
			})
			rnd.Shuffle(len(in.Approve), func(i, j int) { in.Approve[i], in.Approve[j] = in.Approve[j], in.Approve[i] })
			if got := encoded(Plan(in)); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Fatalf("%s, seed %d: another plan", path, seed)
			}
		}
	}
}

// A change of one agent's label, platform or presence in the fleet is no change for the
// others, where no step runs on another agent.
func TestPlanChangesOnlyWhomItConcerns(t *testing.T) {
	for _, path := range plans(t) {
		in, _, _ := above(t, path)
		in.Deployments = slices.DeleteFunc(in.Deployments, func(d Deployment) bool { return d.Elsewhere(in.Agents) })
		want := encoded(Plan(in))
		for i := range in.Agents {
			changed := in
			changed.Agents = slices.Clone(in.Agents)
			who := &changed.Agents[i]
			who.Labels = map[string]string{"env": "moved", "role": "other"}
			who.Platform = "linux/s390x"
			plan := Plan(changed)
			got := encoded(plan)
			for j := range plan {
				if plan[j].Address != who.Address && !bytes.Equal(got[j], want[j]) {
					t.Errorf("%s: %s changed because %s did", path, plan[j].Address, who.Address)
				}
			}
		}
	}
}

// S-04, P-06: no plan grants what the manifest does not ask for, or nobody allows.
func TestPlanGrantsNoMoreThanAskedAndAllowed(t *testing.T) {
	words := []string{
		protocol.CapKV, protocol.CapRead, protocol.CapProcess + ":a", protocol.CapProcess + ":b", protocol.CapProcess,
		protocol.CapHTTP + ":h:1", protocol.CapHTTP,
	}
	base, _, _ := above(t, "testdata/grants.plan")
	granted := 0
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		pick := func() (out []string) {
			for _, w := range words {
				if rnd.IntN(2) == 0 {
					out = append(out, w)
				}
			}
			return out
		}
		m := protocol.Manifest{Network: rnd.IntN(2) == 0, Permissions: protocol.Permissions{System: pick()}}
		wishes, err := m.Wishes()
		if err != nil {
			t.Fatal(err)
		}
		approve := protocol.Manifest{Network: true, Permissions: protocol.Permissions{System: pick()}}
		allowed, err := approve.Wishes()
		if err != nil {
			t.Fatal(err)
		}
		step := base.Deployments[0].Workflow.Actions[0]
		step.Allow = nil
		got := stepFor(&step, &Release{Manifest: m}, allowed)
		for _, g := range got.Grants {
			granted++
			if !within(g, wishes) || !within(g, allowed) {
				t.Fatalf("seed %d: granted %+v of %+v, allowed %+v", seed, g, wishes, allowed)
			}
		}
	}
	if granted == 0 {
		t.Error("nothing was granted in any world")
	}
}

func within(g protocol.Grant, all []protocol.Grant) bool {
	for _, a := range all {
		if a.Capability != g.Capability {
			continue
		}
		if len(a.Scopes) == 0 {
			return true
		}
		for _, s := range g.Scopes {
			if !slices.Contains(a.Scopes, s) {
				return false
			}
		}
		return len(g.Scopes) > 0
	}
	return false
}

// A desired document has room for AssignmentsMax workflows: the rest is excluded by
// name, and none of those that fit is lost.
func TestPlanBoundsAssignments(t *testing.T) {
	in, _, _ := above(t, "testdata/grants.plan")
	one := in.Deployments[0]
	in.Deployments = nil
	for i := range protocol.AssignmentsMax + 2 {
		w := *one.Workflow
		w.Name = protocol.WorkflowName(fmt.Sprintf("w-%04d", i))
		in.Deployments = append(in.Deployments, Deployment{Workflow: &w, Releases: one.Releases})
	}
	for _, c := range Plan(in) {
		if len(c.Assignments) != protocol.AssignmentsMax || len(c.Excluded) != 2 {
			t.Fatalf("%s: %d assignments, %d excluded", c.Address, len(c.Assignments), len(c.Excluded))
		}
		if x := c.Excluded[0]; x.Workflow != "w-0256" || x.Error.Code != protocol.CodeLimit {
			t.Errorf("%+v", x)
		}
		if len(c.encode()) > protocol.DocumentMax {
			t.Errorf("a full document has %d bytes, limit %d", len(c.encode()), protocol.DocumentMax)
		}
	}
}

// Any text of a workflow gives an error with a place, or a plan.
func FuzzPlan(f *testing.F) {
	var worlds []string
	for _, path := range plans(f) {
		_, top, _ := above(f, path)
		worlds = append(worlds, top)
		for _, part := range strings.Split(top, "\n---\n")[1:] {
			f.Add([]byte(part))
		}
	}
	base := read(f, "fuzz", worlds[0])
	release := base.Deployments[0].Releases[0]
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := workflow.Parse("f.yaml", text)
		if err != nil {
			var place *document.Error
			if !errors.As(err, &place) {
				t.Fatalf("%v is no *document.Error", err)
			}
			return
		}
		d := Deployment{Workflow: w}
		for _, s := range w.StepsInOrder() {
			r := release
			r.Manifest.Plugin.Type = s.Type
			d.Releases = append(d.Releases, r)
		}
		_ = Check(&d, base.Agents)
		in := base
		in.Deployments = []Deployment{d}
		a, b := Plan(in), Plan(in)
		if !slices.EqualFunc(encoded(a), encoded(b), bytes.Equal) {
			t.Fatal("two plans of one input differ")
		}
	})
}
