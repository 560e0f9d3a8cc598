package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

func agentCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{Use: "agent", Short: "List, show, label and remove agents, and let new ones join"}
	cmd.AddCommand(agentList(c), agentShow(c), agentLabel(c), agentAdopt(c), agentRemove(c), agentToken(c),
		agentJoin(c), agentRecord(c), agentGateway(c), agentBudget(c))
	return cmd
}

func agentNames(c *connection) cobra.CompletionFunc {
	return names(c, api.PathAgents, func(a api.Agent) protocol.AgentName { return a.Address.Agent })
}

func agentList(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List agents", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodGet, api.PathAgents, nil}, func(w io.Writer, list []api.Agent) {
				row(w, "AGENT", "SITE", "STATE", "PLATFORM", "REVISION", "HOLDS", "LAST SEEN", "LABELS")
				for i := range list {
					a := &list[i]
					row(w, a.Address.Agent, a.Address.Site, stateOf(a), a.Device.Platform, a.Desired.Revision, holds(a),
						when(a.LastSeen), labelText(a.AllLabels()))
				}
			})
		},
	}
}

func stateOf(a *api.Agent) string {
	switch {
	case a.Revoked:
		return "revoked"
	case a.Ahead():
		return "ahead of the books"
	case a.Presence.Online && a.Presence.Via != "":
		return "online by gateway " + string(a.Presence.Via)
	case a.Presence.Online:
		return "online"
	default:
		return "offline"
	}
}

// holds says which revision the agent says it has, and whether it took the newest.
func holds(a *api.Agent) string {
	switch r := a.Reported; {
	case r == nil:
		return "unknown"
	case r.Refused != nil && r.Refused.Revision > r.Revision:
		return fmt.Sprintf("%d, refused %d (%s)", r.Revision, r.Refused.Revision, r.Refused.Error.Code)
	case r.Revision == a.Desired.Revision:
		return fmt.Sprint(r.Revision)
	default:
		return fmt.Sprintf("%d, pending", r.Revision)
	}
}

func labelText(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func agentShow(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show an agent and how its assignments fare", Args: cobra.ExactArgs(1),
		ValidArgsFunction: agentNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, c, question{http.MethodGet, api.Path(api.PathAgent, args[0]), nil}, showAgent)
		},
	}
}

func showAgent(w io.Writer, shown api.AgentShown) {
	a := shown.Agent
	row(w, "agent", a.Address.Agent)
	row(w, "site", a.Address.Site)
	row(w, "state", stateOf(&a), when(a.Presence.Since))
	row(w, "last seen", when(a.LastSeen))
	row(w, "enrolled", when(a.Enrolled), fmt.Sprintf("epoch %d", a.Epoch))
	row(w, "certificate", a.Identity.Serial, "until "+when(a.Identity.NotAfter))
	row(w, "device", a.Device.Platform, a.Device.Engine, "stavily-edge "+a.Device.Version, a.Device.Kernel)
	if a.Gateway {
		row(w, "gateway", gatewayText(&a))
	}
	row(w, "native", nativeText(a.Device.Native))
	row(w, "labels", labelText(a.AllLabels()))
	row(w, "desired", fmt.Sprintf("revision %d", a.Desired.Revision), a.Desired.Digest.Short(),
		when(a.Desired.Issued))
	r := a.Reported
	if r == nil {
		row(w, "reported", "nothing yet")
		return
	}
	row(w, "reported", fmt.Sprintf("revision %d", r.Revision), r.Digest.Short(), stamp(r.Time))
	if r.Refused != nil {
		row(w, "refused", fmt.Sprintf("revision %d", r.Refused.Revision), r.Refused.Error.Code,
			r.Refused.Error.Text)
	}
	row(w, "outbox", fmt.Sprintf("%d pending, %d dropped", r.Pending, r.Dropped))
	for _, g := range shown.Gaps {
		row(w, "gap", g.Lane, fmt.Sprintf("%d/%d to %d/%d", g.From.Boot, g.From.Sequence, g.To.Boot, g.To.Sequence),
			fmt.Sprintf("%d let go", g.Count), g.Why, "told "+when(time.UnixMilli(g.Received)))
	}
	row(w, "data", dataText(r.Data))
	for _, s := range r.Assignments {
		text := ""
		if s.Error != nil {
			text = s.Error.Text
		}
		row(w, "workflow", s.Workflow, s.Phase, fired(&s), text)
	}
	for _, l := range shown.Loads {
		row(w, "loads", l.Workflow, l.Text())
	}
}

// nativeText says what an agent has for native artifacts.
func nativeText(n *protocol.Native) string {
	if n == nil {
		return "no: it runs modules only"
	}
	words := []string{"sandbox of " + strings.Join(n.Layers, ", ")}
	if n.Libc != "" {
		words = append(words, n.Libc)
	}
	for _, language := range slices.Sorted(maps.Keys(n.Interpreters)) {
		words = append(words, language+" "+n.Interpreters[language])
	}
	return strings.Join(words, "; ")
}

func agentLabel(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "label NAME KEY=VALUE...", Short: "Set labels; KEY= removes one", Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: agentNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := api.Labels{Labels: map[string]string{}}
			for _, pair := range args[1:] {
				key, value, ok := strings.Cut(pair, "=")
				if !ok || key == "" {
					return usage(cmd, fmt.Errorf("%q: want KEY=VALUE", pair))
				}
				in.Labels[key] = value
			}
			q := question{http.MethodPatch, api.Path(api.PathAgent, args[0]), in}
			return ask(cmd, c, q, func(w io.Writer, a api.Agent) {
				row(w, "labelled", a.Address.Agent, labelText(a.AllLabels()))
			})
		},
	}
}

func agentAdopt(c *connection) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use: "adopt NAME... | --all", Short: "Let this hub's word hold for agents that are ahead of its books",
		Long: "After the hub's books were put back from a backup, agents hold what the books do not know, and\n" +
			"the hub changes nothing on them. Look what has been lost, deploy it again, and then adopt them: each\n" +
			"gets what this hub has for it.",
		Example: "  stavily agent list\n  stavily agent adopt gw-1 gw-2\n  stavily agent adopt --all",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: agentNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) > 0) == all {
				return usage(cmd, errors.New("name agents, or say --all"))
			}
			in := api.Adopt{}
			for _, name := range args {
				in.Agents = append(in.Agents, protocol.AgentName(name))
			}
			q := question{http.MethodPost, api.PathAdopt, in}
			return ask(cmd, c, q, func(w io.Writer, list []api.AgentChange) {
				row(w, "AGENT", "REVISION")
				for _, a := range list {
					row(w, a.Agent, a.Revision)
				}
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that are ahead now")
	return cmd
}

func agentRemove(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget an agent and refuse its certificate", Args: cobra.ExactArgs(1),
		ValidArgsFunction: agentNames(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, c, question{http.MethodDelete, api.Path(api.PathAgent, args[0]), nil},
				func(w io.Writer, _ struct{}) { row(w, "removed", args[0]) })
		},
	}
}

func agentToken(c *connection) *cobra.Command {
	in := api.NewToken{}
	cmd := &cobra.Command{
		Use: "token --site SITE", Short: "Make a token by which new agents join", Args: cobra.NoArgs,
		Example: "  stavily agent token --site berlin\n  stavily agent token --site berlin --count 50 --ttl 24h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, c, question{http.MethodPost, api.PathTokens, in}, func(w io.Writer, t api.Token) {
				row(w, "token", t.Token)
				row(w, "expires", when(t.Expires))
				row(w, "use it", fmt.Sprintf("stavily-edge --hub mqtts://HOST:%s --join TOKEN --name NAME",
					portOf(t.Hub)))
			})
		},
	}
	cmd.Flags().StringVar((*string)(&in.Site), "site", "", "the site of the agents (required)")
	cmd.Flags().StringVar((*string)(&in.Agent), "name", "", "the one name that it is for")
	cmd.Flags().IntVar(&in.Count, "count", 1, "how many agents may join with it")
	cmd.Flags().BoolVar(&in.Gateway, "gateway", false, "who joins with it is a gateway of the site")
	cmd.Flags().DurationVar(&in.TTL, "ttl", time.Hour, "how long it lasts")
	_ = cmd.MarkFlagRequired("site")
	return cmd
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// fired says what became of the events of one assignment.
func fired(s *protocol.AssignmentStatus) string {
	text := fmt.Sprintf("%d fired, %d failed", s.Fired, s.Failed)
	for _, more := range []struct {
		n    uint64
		what string
	}{{s.Filtered, "filtered"}, {s.Limited, "limited"}, {s.Repeated, "repeated"}} {
		if more.n > 0 {
			text += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	return text
}
