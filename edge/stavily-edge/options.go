package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/discover"
	"github.com/stavily/stavily/protocol"
)

// stateDefault is where the state is kept without --state.
const stateDefault = "/var/lib/stavily-edge"

// labelMax bounds a label's key and value in bytes.
const labelMax = 128

var errHelp = flag.ErrHelp

// options are the flags.
type options struct {
	hub, token, name, site string
	request, reply         string // files of a join by hand
	state                  string
	labels                 labels
	allow                  grants
	again                  bool
	native                 bool
	nativeNeed             string
	logFormat              string
	verbose                bool
	output                 string
	compileHere            bool
	bytes                  budget
	roots                  string
	noRecord               bool
	drain                  time.Duration
	file                   string // of import and export; of explain the workflow
	gateway                string
	mdnsPort               uint
	gather                 time.Duration
	lanes                  laneFlags
}

func (o *options) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("stavily-edge "+name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.hub, "hub", "", "`address` of the hub, mqtts://host:port; several, with commas, of hub\n"+
		"and gateways, are tried in order; mdns stands for the gateways of the\n"+
		"site that are found in this net")
	f.StringVar(&o.token, "join", "", "join `token`, needed once")
	f.StringVar(&o.request, "request", "",
		"`file` into which join writes what is to be carried to the hub, where\n"+
			"there is no line: \"stavily agent join\" there makes the reply")
	f.StringVar(&o.reply, "reply", "", "`file` of that reply, by which join ends")
	f.StringVar(&o.name, "name", "", "`name` of this agent; without it the token's, or the host's")
	f.StringVar(&o.site, "site", "", "`site` of this agent; without it the token's")
	f.StringVar(&o.state, "state", stateDir(), "`directory` that holds all the agent keeps")
	f.Var(&o.labels, "label", "`key=value` that the device gives itself; may be repeated")
	f.Var(&o.allow, "allow", "`capability:scope` that plugins may use on this device beyond the default,\n"+
		"such as process.execute:uptime; may be repeated")
	f.BoolVar(&o.native, "native", false,
		"run native plugins too, each as a process in a sandbox (full servers only)")
	f.BoolVar(&o.compileHere, "compile-here", false, "compile modules in this process and not in\n"+
		"one that can be killed: for a device without the memory for both")
	f.StringVar(&o.nativeNeed, "native-need", "namespaces,seccomp",
		"`fields` of a native plugin's confinement, without which this\ndevice refuses it, "+
			"such as landlock or execution_limits.max_memory_mb")
	f.Var(&o.bytes, "plugin-bytes", "`in:out` bytes a minute that each plugin may move over the network,\n"+
		"such as 64k:16k; 16M:4M unless said, 0 for none")
	f.StringVar(&o.roots, "plugin-roots", "",
		"`file` of certificates (PEM) that plugins' TLS trusts besides the system's")
	f.BoolVar(&o.noRecord, "no-record", false, "refuse to record what plugins are asked and answer,\n"+
		"whoever asks for it")
	f.StringVar(&o.gateway, "gateway", "",
		"`address` such as :8883 at which to carry for the agents of this site\n"+
			"(stavily-gateway only)")
	f.UintVar(&o.mdnsPort, "mdns-port", discover.Port,
		"UDP `port` at which gateways are looked for and say that they are there;\n0: neither")
	f.DurationVar(&o.drain, "drain", 10*time.Second,
		"longest `wait` at the end for what plugins are asked; what is\n"+
			"not answered by then is asked again after the next start")
	f.DurationVar(&o.gather, "gather", edge.DefaultConfig().Gather,
		"`wait` of the first record for others that leave for the hub\nwith it; 0: none")
	f.Var(&o.lanes, "lane", "`name=bytes:age:drop` of records that wait for the hub, such as\n"+
		"metric=8M:90d:newest: how much and how long they are kept, and what goes\n"+
		"when there is no room: oldest, newest, none (block-trigger: the workflows'\n"+
		"triggers wait) or downsample (every second one); may be repeated. Names are\n"+laneList())
	f.BoolVar(&o.again, "again", false, "join although this device has joined before")
	f.StringVar(&o.logFormat, "log-format", "text", "`format` of the log, text or json")
	f.BoolVar(&o.verbose, "verbose", false, "log more")
	f.StringVar(&o.output, "output", "text", "`format` of status, explain and doctor, text or json")
	return f
}

// stateDir is the service manager's directory, where there is one.
func stateDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	return stateDefault
}

func parseOptions(name string, args []string) (*options, error) {
	var o options
	f := o.flags(name)
	takesFile := name == "import" || name == "export"
	takes := takesFile || name == "explain"
	if takes && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.file, args = args[0], args[1:]
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, usageError("%s: %w", name, err)
	}
	if takes && o.file == "" && f.NArg() == 1 {
		o.file = f.Arg(0)
	}
	switch {
	case takesFile && o.file == "":
		return nil, usageError("%s: want FILE", name)
	case f.NArg() > 0 && o.file != f.Arg(0):
		return nil, usageError("%s: argument %q: want flags only", name, f.Arg(0))
	case name != "join" && (o.request != "" || o.reply != ""):
		return nil, usageError("%s: --request and --reply are of join", name)
	case o.request != "" && o.reply != "":
		return nil, usageError("join: want --request or --reply, not both")
	case o.logFormat != "text" && o.logFormat != "json":
		return nil, usageError("--log-format %q: want text or json", o.logFormat)
	case o.output != "text" && o.output != "json":
		return nil, usageError("--output %q: want text or json", o.output)
	case o.mdnsPort > math.MaxUint16:
		return nil, usageError("--mdns-port %d: want at most %d", o.mdnsPort, math.MaxUint16)
	case o.state == "":
		return nil, usageError("--state: empty")
	}
	return &o, o.checkLines()
}

// lines puts what the flags say of the outbox into c.
func (o *options) lines(c *edge.Config) {
	c.Gather = o.gather
	o.lanes.apply(c)
}

// checkLines holds them against their bounds before anything begins.
func (o *options) checkLines() error {
	c := edge.DefaultConfig()
	o.lines(&c)
	if err := c.CheckLines(); err != nil {
		return usageError("--lane, --gather: %w", err)
	}
	return nil
}

func (o *options) logger(w io.Writer) *slog.Logger {
	level := &slog.HandlerOptions{Level: slog.LevelInfo}
	if o.verbose {
		level.Level = slog.LevelDebug
	}
	if o.logFormat == "json" {
		return slog.New(newThrift(slog.NewJSONHandler(w, level)))
	}
	return slog.New(newThrift(slog.NewTextHandler(w, level)))
}

// labels is the flag --label.
type labels map[string]string

func (l *labels) String() string { return "" }

func (l *labels) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" || len(key) > labelMax || len(value) > labelMax {
		return protocol.Errorf(protocol.CodeBadInput, "want key=value, each of at most %d bytes", labelMax)
	}
	if *l == nil {
		*l = labels{}
	}
	(*l)[key] = value
	if len(*l) > protocol.LabelsMax {
		return protocol.Errorf(protocol.CodeLimit, "more than %d labels", protocol.LabelsMax)
	}
	return nil
}

// grants is the flag --allow.
type grants []string

func (g *grants) String() string { return "" }

func (g *grants) Set(s string) error {
	if _, err := edge.ParseGrant(s); err != nil {
		return err
	}
	*g = append(*g, s)
	return nil
}

// policy returns what this device allows: the default and what was allowed beyond it.
func policy(allow []string) (edge.Policy, error) {
	p := edge.DefaultPolicy()
	for _, s := range allow {
		g, err := edge.ParseGrant(s)
		if err != nil {
			return p, err
		}
		p.Allow = append(p.Allow, g)
	}
	return p, nil
}

// versionLine is the version with the commit that the toolchain noted.
func versionLine() string {
	if revision := buildSetting("vcs.revision"); len(revision) >= 12 {
		return "stavily-edge " + version + " (" + revision[:12] + ")"
	}
	return "stavily-edge " + version
}

// buildTime is the commit's time: no moment before it is believed.
func buildTime() time.Time {
	t, err := time.Parse(time.RFC3339, buildSetting("vcs.time"))
	if err != nil {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t
}

// buildID tells this program from every other build: what one has verified, another one
// verifies again.
func buildID() string {
	id := version
	if info, ok := debug.ReadBuildInfo(); ok {
		id += " " + protocol.DigestOf([]byte(info.String())).String()
	}
	path, err := os.Executable()
	if err != nil {
		return id
	}
	file, err := os.Stat(path)
	if err != nil {
		return id
	}
	return fmt.Sprintf("%s %d %d", id, file.Size(), file.ModTime().UnixNano())
}

func buildSetting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
