package wasmhost

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stavily/stavily/protocol"
)

const (
	// logBurst lines may come at once, then logPerSecond.
	logBurst     = 32
	logPerSecond = 4
)

// lineWriter is where the log lines of one plugin go: what it writes to stderr, and
// what it logs by host call. What comes too fast is counted and dropped.
type lineWriter struct {
	plugin   protocol.PluginName
	workflow protocol.WorkflowName
	sink     func(protocol.LogLine)
	log      *slog.Logger
	clock    func() time.Time

	mu      sync.Mutex // guards the fields below
	part    []byte     // of a line of stderr that has not ended
	opening string     // the first line of stderr since begin
	rate    *rate.Limiter
	dropped int
	veils   []veil // secrets that the plugin was told
}

func newLineWriter(h *Host, s Spec) *lineWriter {
	log := h.cfg.Log.With(slog.String("plugin", string(s.Manifest.Plugin.Name)),
		slog.String("workflow", string(s.Workflow)), slog.String("step", string(s.Step.Name)))
	return &lineWriter{
		plugin: s.Manifest.Plugin.Name, workflow: s.Workflow, sink: h.cfg.Lines, log: log, clock: h.cfg.Clock,
		rate: rate.NewLimiter(logPerSecond, logBurst),
	}
}

// begin forgets what was said before.
func (l *lineWriter) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opening, l.part = "", l.part[:0]
}

// first returns the first line that came on stderr since begin.
func (l *lineWriter) first() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opening == "" {
		return clip(l.hidden(string(l.part)), 200)
	}
	return l.opening
}

// Write takes what a guest writes to stderr, line by line. It never fails.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if room := protocol.TextMax - len(l.part); len(line) > room {
			line = line[:room]
		}
		l.part = append(l.part, line...)
		if !whole {
			break
		}
		if len(l.part) > 0 {
			l.put(slog.LevelInfo, string(l.part))
		}
		if l.opening == "" {
			l.opening = clip(l.hidden(string(l.part)), 200)
		}
		l.part = l.part[:0]
	}
	return len(p), nil
}

// line logs one line at a level.
func (l *lineWriter) line(level slog.Level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(level, text)
}

// put hands a line on unless there were too many. l.mu is held.
func (l *lineWriter) put(level slog.Level, text string) {
	if !l.rate.AllowN(l.clock(), 1) {
		l.dropped++
		return
	}
	if l.dropped > 0 {
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "plugin log lines dropped",
			slog.Int("dropped", l.dropped))
		l.dropped = 0
	}
	text = clip(l.hidden(text), protocol.TextMax)
	l.log.LogAttrs(context.Background(), level, "plugin log", slog.String("text", text))
	if l.sink != nil {
		l.sink(protocol.LogLine{Plugin: l.plugin, Level: int8(level), Text: text, Of: l.workflow})
	}
}
