package sim

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/sim/expr"
	"github.com/stavily/stavily/sim/scenario"
)

func showCommand() *cobra.Command {
	var figures bool
	cmd := &cobra.Command{
		Use:     "show SCENARIO.yaml",
		Short:   "Say what a scenario would do, and check it",
		Example: "  stavily sim show cold-chain.yaml\n  stavily sim show --figures",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if figures {
				return showFigures(cmd.OutOrStdout())
			}
			if len(args) == 0 {
				return exit(exitBadScenario, "which scenario? want a file, or --figures")
			}
			s, err := load(cmd, args[0])
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().BoolVar(&figures, "figures", false, "list what selectors and expectations may speak of")
	return cmd
}

func show(w io.Writer, s *scenario.Scenario) error {
	fmt.Fprintf(w, "%s  seed %d  %s  %d agents  %s from %s\n\n", s.Name, s.Seed, s.Level, len(s.Agents()),
		scenario.Duration(s.Duration), s.Start.Format(time.RFC3339))
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "GROUP\tAGENTS\tNAMES\tSITES\tCLASSES\tLINE\tONLINE\tCLOCK\tSIGNALS")
	for i := range s.Fleet {
		showGroup(tw, s, i)
	}
	fmt.Fprintln(tw)
	if len(s.Plugins) > 0 {
		fmt.Fprintln(tw, "PLUGIN\tVERSION\tIS")
		for i := range s.Plugins {
			p := &s.Plugins[i]
			fmt.Fprintf(tw, "%s\t%s\t%s\n", p.Name, p.Version, cmp.Or(string(p.Model), p.Folder, p.Module))
		}
		fmt.Fprintln(tw)
	}
	fmt.Fprintln(tw, "AT\tWHAT\tWHOM")
	for _, l := range timeline(s) {
		fmt.Fprintf(tw, "+%s\t%s\t%s\n", scenario.Duration(l.at), l.what, l.whom)
	}
	fmt.Fprintf(
		tw,
		"+%s\tthe end; all converge within %s\t\n",
		scenario.Duration(s.Duration),
		scenario.Duration(s.Settle),
	)
	if len(s.Expects) > 0 {
		fmt.Fprintln(tw, "\nEXPECT\tCONDITION\tWITHIN")
		for i := range s.Expects {
			e := &s.Expects[i]
			within := ""
			if e.Within > 0 {
				within = scenario.Duration(e.Within)
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\n", e.Kind, e.Text, within)
		}
	}
	return tw.Flush()
}

// showGroup writes one row about group i.
func showGroup(w io.Writer, s *scenario.Scenario, i int) {
	g := &s.Fleet[i]
	var names, sites, classes []string
	for _, a := range s.Agents() {
		if a.Group != i {
			continue
		}
		names = append(names, a.Name)
		if !slices.Contains(sites[max(0, len(sites)-3):], a.Site) {
			sites = append(sites, a.Site)
		}
	}
	slices.Sort(sites)
	sites = slices.Compact(sites)
	for _, c := range g.Classes {
		word := c.Class.Name
		if len(g.Classes) > 1 {
			word += fmt.Sprintf(" %g", c.Parts)
		}
		classes = append(classes, word)
	}
	line := cmp.Or(g.Link.Profile, "perfect")
	if g.Link.Latency.Mean > 0 {
		line += " " + scenario.Duration(g.Link.Latency.Mean)
	}
	if g.Link.Loss > 0 {
		line += fmt.Sprintf(" loss %g%%", g.Link.Loss*100)
	}
	online := "always"
	if len(g.Online.Windows) > 0 {
		online = fmt.Sprintf("%d windows a day", len(g.Online.Windows))
	}
	clock := "right"
	if g.Clock.None {
		clock = "none"
	} else if g.Clock.Drift != 0 || g.Clock.Offset != 0 {
		clock = "wrong"
	}
	var signals []string
	for _, sig := range g.Signals {
		signals = append(signals, sig.Name)
	}
	fmt.Fprintf(
		w,
		"%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
		g.Name,
		g.Count,
		firstAndLast(names),
		firstAndLast(sites),
		strings.Join(classes, ", "),
		line,
		online,
		clock,
		cmp.Or(strings.Join(signals, ", "), "-"),
	)
}

func firstAndLast(names []string) string {
	if len(names) <= 1 {
		return strings.Join(names, "")
	}
	return fmt.Sprintf("%s .. %s", names[0], names[len(names)-1])
}

// happens is one line of the timeline.
type happens struct {
	at         time.Duration
	what, whom string
}

func timeline(s *scenario.Scenario) []happens {
	var all []happens
	for i := range s.Deploys {
		d := &s.Deploys[i]
		what, whom := "deploy "+d.Name, ""
		if d.Remove {
			what = "remove " + d.Name
		}
		for n, l := range d.Labels {
			what = map[bool]string{true: "label", false: what}[n == 0] + " " + l.Key + "=" + l.Value
		}
		if d.Retire {
			what = "retire"
		}
		if d.Retire || d.Labels != nil {
			whom = fmt.Sprintf("%d agents", len(s.Select(d.Where, func(int) int { return 0 })))
		}
		all = append(all, happens{d.At, what, whom})
	}
	for i := range s.Faults {
		f := &s.Faults[i]
		what := string(f.What)
		if f.For > 0 {
			what += " for " + scenario.Duration(f.For)
		}
		if f.Rate > 0 {
			what += fmt.Sprintf(
				", again and again (%.3g a day each) until +%s",
				f.Rate*86400,
				scenario.Duration(f.Until),
			)
		}
		all = append(all, happens{f.At, what, whom(s, f)})
	}
	slices.SortStableFunc(all, func(a, b happens) int { return cmp.Compare(a.at, b.at) })
	return all
}

// whom says whom a fault befalls. Whom sample takes is the seed's to say.
func whom(s *scenario.Scenario, f *scenario.Fault) string {
	if f.OfHub() {
		return "the hub"
	}
	all := s.Select(f.Where, func(int) int { return 0 })
	text := fmt.Sprintf("%d of %d agents", len(all), len(s.Agents()))
	if f.Where != nil {
		text += ": " + f.Where.Source()
	}
	return text
}

func showFigures(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, part := range []struct {
		title string
		names *expr.Names
	}{{"IN WHERE", scenario.Where}, {"IN EXPECT", scenario.Figures}} {
		var rows []string
		for name, f := range part.names.Fields {
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s", name, f.Kind, f.Doc))
		}
		for name, f := range part.names.Funcs {
			rows = append(rows, fmt.Sprintf("%s('%s')\t%s\t%s", name, f.Arg, f.Kind, f.Doc))
		}
		if part.names.Sample {
			rows = append(rows, "sample(3), sample(5%)\ta truth\tsome of those that the rest of the && has left")
		}
		slices.Sort(rows)
		fmt.Fprintf(tw, "%s\tIS\t\n%s\n\n", part.title, strings.Join(rows, "\n"))
	}
	return tw.Flush()
}
