// Package cli is the operator's command line: one file a subject, each command a thin
// face on the hub's API. Commands print tables for people and, with --output json, the
// API's own JSON for programs. Errors end with a hint at what to do next; exit codes
// say what kind of error it was (Exit).
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitUnreachable = 3
	ExitUnverified  = 4 // a signature, seal or digest was refused
	ExitRefused     = 5 // a token, policy or access rule says no
)

// Root returns the command tree. more are commands that need more of the house than
// this package may have, such as the hub itself.
func Root(version string, more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "stavily",
		Short: "Automation for fleets of small machines",
		Long: "Stavily runs workflows, TRIGGER -> ACTION -> OUTPUT, on fleets of small machines.\n" +
			"A hub verifies plugins from Git, seals them and plans; agents run them, also while offline.",
		Version: version, SilenceErrors: true, SilenceUsage: true,
	}
	c := &connection{}
	root.PersistentFlags().StringVar(&c.home, "home", "",
		"the hub's folder (default $STAVILY_HOME or ~/.stavily)")
	root.PersistentFlags().StringVar(&c.address, "api", "",
		"the hub's API address instead of its socket, such as http://127.0.0.1:8080")
	root.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "table or json")
	root.SetFlagErrorFunc(usage)
	root.AddCommand(statusCommand(c), pluginCommand(c), deployCommand(c), explainCommand(c), noticesCommand(c),
		rolloutCommand(c), workflowCommand(c),
		agentCommand(c), runCommand(c), deadLetterCommand(c), doctorCommand(c))
	root.AddCommand(secretCommand(c), bundleCommand(c))
	root.AddCommand(more...)
	for _, cmd := range root.Commands() {
		strictArgs(cmd)
	}
	return root
}

// Execute runs root with args and returns the exit code. Errors go to stderr, with a
// hint.
func Execute(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if err == nil {
		return ExitOK
	}
	if strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag") {
		err = usage(cmd, err)
	}
	report(stderr, err)
	return exitOf(err)
}

// usageError is a command line that cannot be understood.
type usageError struct {
	err  error
	path string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(cmd *cobra.Command, err error) error {
	return &usageError{err: err, path: cmd.CommandPath()}
}

// strictArgs turns a wrong number of arguments into a usage error, throughout the tree.
func strictArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage(cmd, err)
			}
			return nil
		}
	}
	if !cmd.Runnable() {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()))
			}
			return nil
		}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range cmd.Commands() {
		strictArgs(sub)
	}
}

// report prints an error for a person: what, where, and what to do.
func report(w io.Writer, err error) {
	text := err.Error()
	for _, place := range placesOf(err) { // each line that tells of one has its caret below it
		if caret := place.Caret(); caret != "" {
			text = strings.Replace(text, place.Error(), place.Error()+"\n"+caret, 1)
		}
	}
	fmt.Fprintf(w, "stavily: %s\n", clean(text))
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// placesOf returns the mistakes in a document that an error tells of.
func placesOf(err error) (all document.Errors) {
	var answer *api.Error
	var one *document.Error
	switch {
	case errors.As(err, &answer) && len(answer.Places) > 0:
		return answer.Places
	case answer != nil && answer.Place != nil:
		return document.Errors{answer.Place}
	case errors.As(err, &all):
		return all
	case errors.As(err, &one):
		return document.Errors{one}
	}
	return nil
}

func hintFor(err error) string {
	var wrong *usageError
	var away *api.UnreachableError
	var answer *api.Error
	switch {
	case errors.As(err, &wrong):
		return fmt.Sprintf("see %q", wrong.path+" --help")
	case errors.As(err, &away):
		return "start it with \"stavily hub\", or say where it is with --home or --api"
	case errors.As(err, &answer):
		return codeHints[answer.Code]
	}
	return ""
}

// codeHints are the next steps that an error's code suggests.
var codeHints = map[protocol.Code]string{
	protocol.CodeBadSeal: "check who signed it with \"git tag -v\", and the file given to \"stavily " +
		"plugin add --allowed-signers\"",
	protocol.CodeNotFound: "see what there is with \"stavily plugin list\", \"agent list\", \"workflow " +
		"list\" or \"run list\"",
	protocol.CodeUnverified: "the module asks for more than its manifest; add the permission or leave the " +
		"call out",
	protocol.CodeExists: "a name or version is never taken twice; raise the version or choose another " +
		"name",
	protocol.CodeStale:        "versions only rise; say --older if an older one is meant",
	protocol.CodeDeadline:     "it took longer than allowed; try again, or look at the hub's log",
	protocol.CodeUnavailable:  "try again in a moment; the hub's log says more",
	protocol.CodeStorage:      "look at the disk of the hub's home",
	protocol.CodeIncompatible: "see what the hub builds and what the agents are with \"stavily agent show\"",
}

func exitOf(err error) int {
	var wrong *usageError
	var away *api.UnreachableError
	var own interface{ CommandExit() int } // of a command with codes that others do not have
	switch {
	case errors.As(err, &own):
		return own.CommandExit()
	case errors.As(err, &wrong):
		return ExitUsage
	case errors.As(err, &away):
		return ExitUnreachable
	}
	code := protocol.CodeOf(err)
	var answer *api.Error
	if errors.As(err, &answer) {
		code = answer.Code
	}
	switch code {
	case protocol.CodeBadSeal, protocol.CodeDigest, protocol.CodeUnverified:
		return ExitUnverified
	case protocol.CodeRefused, protocol.CodeDenied:
		return ExitRefused
	default:
		return ExitFailed
	}
}

// connection is where the hub is and how answers are printed.
type connection struct {
	home, address, output string
}

// Home returns the hub's folder: the flag, or else the environment's, or else the
// user's.
func Home(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if env := os.Getenv("STAVILY_HOME"); env != "" {
		return filepath.Abs(env)
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("home: %w; say where with --home", err)
	}
	return filepath.Join(user, ".stavily"), nil
}

// Client returns the hub that the flags of a command under Root name.
func Client(cmd *cobra.Command) (*api.Client, error) {
	c := &connection{}
	var err error
	if c.home, err = cmd.Root().PersistentFlags().GetString("home"); err != nil {
		return nil, err
	}
	if c.address, err = cmd.Root().PersistentFlags().GetString("api"); err != nil {
		return nil, err
	}
	return c.client()
}

func (c *connection) client() (*api.Client, error) {
	home, err := Home(c.home)
	if err != nil {
		return nil, err
	}
	if c.address == "" {
		return api.OnSocket(api.SocketPath(home)), nil
	}
	token := os.Getenv("STAVILY_TOKEN")
	if token == "" {
		text, err := os.ReadFile(api.TokenPath(home))
		if err != nil {
			return nil, fmt.Errorf("api token: %w; put it into STAVILY_TOKEN", err)
		}
		token = strings.TrimSpace(string(text))
	}
	return api.OnAddress(c.address, token), nil
}
