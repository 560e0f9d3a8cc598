package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// nameStatus is the file that holds an edge.Status in CBOR: encoding/json would be 65 kB
// of this program.
const nameStatus = "status.cbor"

// statusEvery is how often counters go to the status file; what people wait for goes at
// once. The file wears the flash.
const statusEvery = time.Minute

// watch looks at the agent after each round: it writes the status file, raises the clock's
// floor and pats the watchdog.
type watch struct {
	h        *house
	path     string
	watchdog time.Duration // 0: there is none
	patted   time.Time
	written  time.Time
	last     edge.Status
	renewer  *identity
	asked    uint64 // revision whose seal made us ask for newer keys
}

func (h *house) watch(c *identity) *watch {
	w := &watch{h: h, renewer: c, path: filepath.Join(h.state, nameStatus)}
	if d, err := daemon.SdWatchdogEnabled(false); err == nil {
		w.watchdog = d
	}
	return w
}

// every is how often after must be called at least.
func (w *watch) every() time.Duration {
	if w.watchdog > 0 {
		return min(10*time.Second, w.watchdog/3)
	}
	return 10 * time.Second
}

func (w *watch) after(now time.Time, a *edge.Agent) {
	if w.watchdog > 0 && now.Sub(w.patted) >= w.watchdog/3 {
		w.patted = now
		w.h.notify(daemon.SdNotifyWatchdog)
	}
	w.h.clock.raise(a.Floor())
	s := a.Status()
	if r := s.Refused; r != nil && r.Error.Code == protocol.CodeBadSeal && r.Revision > w.asked {
		w.asked = r.Revision // the hub may have newer keys than this agent
		w.renewer.keeper.Hurry()
	}
	if sameNews(&s, &w.last) && now.Sub(w.written) < statusEvery {
		return
	}
	w.write(now, &s)
}

// end writes the status that the agent ended with, which export gives while none runs.
func (w *watch) end(a *edge.Agent) {
	s := a.Status()
	w.write(time.Now(), &s)
}

func (w *watch) write(now time.Time, s *edge.Status) {
	w.last, w.written = *s, now
	if err := disk.WriteFile(w.path, protocol.MustMarshal(s)); err != nil {
		w.h.log.Debug("status not written", slog.String("error", err.Error()))
	}
}

// sameNews reports whether nothing changed that people wait for.
func sameNews(s, t *edge.Status) bool {
	if s.Boot != t.Boot || s.Online != t.Online || s.Digest != t.Digest || s.DiskRefuses != t.DiskRefuses ||
		len(s.Assignments) != len(t.Assignments) || (s.Refused == nil) != (t.Refused == nil) {
		return false
	}
	if s.Refused != nil && s.Refused.Revision != t.Refused.Revision {
		return false
	}
	for i := range s.Assignments {
		a, b := &s.Assignments[i], &t.Assignments[i]
		if a.Workflow != b.Workflow || a.Phase != b.Phase || (a.Error == nil) != (b.Error == nil) {
			return false
		}
	}
	return true
}

// runStatus is the command status.
func runStatus(_ context.Context, o *options, out, _ io.Writer) error {
	s, err := readStatus(o)
	if err != nil {
		return err
	}
	if o.output == "json" {
		_, err := out.Write(append(statusJSON(s), '\n'))
		return err
	}
	return printStatus(out, s)
}

// readStatus reads what the agent that runs here, or ran last, said of itself.
func readStatus(o *options) (*edge.Status, error) {
	b, err := os.ReadFile(filepath.Join(o.state, nameStatus))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &failure{
			fmt.Errorf("status: no agent has run with state directory %s", o.state),
			"give the --state that the agent was started with", exitOther,
		}
	}
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	var s edge.Status
	if err := protocol.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("status: %s: %w", nameStatus, err)
	}
	return &s, nil
}

// statusJSON writes a status for machines, in one line.
func statusJSON(s *edge.Status) []byte {
	v := map[string]any{
		"address": map[string]any{"site": s.Address.Site, "agent": s.Address.Agent},
		"device": map[string]any{
			"platform": s.Device.Platform, "engine": s.Device.Engine, "version": s.Device.Version,
			"kernel": s.Device.Kernel, "cores": s.Device.Cores, "memory_mb": s.Device.MemoryMB,
			"labels": s.Device.Labels,
		},
		"boot": s.Boot, "online": s.Online, "time_floor": s.Floor.UTC().Format(time.RFC3339),
		"revision": s.Revision, "digest": s.Digest.String(), "pending": s.Pending, "dropped": s.Dropped,
		"disk_refuses": s.DiskRefuses, "sums": s.Sums,
	}
	if !s.LastContact.IsZero() {
		v["last_contact"] = s.LastContact.UTC().Format(time.RFC3339)
	}
	if s.Refused != nil {
		v["refused"] = map[string]any{"revision": s.Refused.Revision, "error": errorJSON(&s.Refused.Error)}
	}
	assignments := make([]any, 0, len(s.Assignments))
	for _, a := range s.Assignments {
		assignments = append(assignments, map[string]any{
			"workflow": a.Workflow, "phase": a.Phase.String(), "error": errorJSON(a.Error),
			"fired": a.Fired, "failed": a.Failed, "filtered": a.Filtered,
			"urgent": slices.Contains(s.Urgent, a.Workflow),
		})
	}
	v["assignments"] = assignments
	return wasmhost.ToJSON(protocol.MustMarshal(v))
}

func errorJSON(err *protocol.Error) any {
	if err == nil {
		return nil
	}
	return map[string]any{"code": err.Code.String(), "text": err.Text}
}

func printStatus(out io.Writer, s *edge.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := map[bool]string{true: "online", false: "offline"}[s.Online]
	if s.LastContact.IsZero() {
		line += ", no contact since the start"
	} else {
		line += ", last contact " + s.LastContact.Local().Format(time.DateTime)
	}
	fmt.Fprintf(w, "agent\t%s\nplatform\t%s, %s, %s\nhub\t%s\n", s.Address, s.Device.Platform, s.Device.Engine,
		s.Device.Version, line)
	if s.Revision == 0 {
		fmt.Fprintf(w, "revision\tnone: nothing is deployed here\n")
	} else {
		fmt.Fprintf(w, "revision\t%d (%s)\n", s.Revision, s.Digest.Short())
	}
	if s.Refused != nil {
		fmt.Fprintf(w, "refused\trevision %d: %s\n", s.Refused.Revision, text(&s.Refused.Error))
	}
	fmt.Fprintf(w, "records\t%d wait for the hub, %d dropped ever\n", s.Pending, s.Dropped)
	if s.DiskRefuses {
		fmt.Fprintf(w, "disk\trefuses: nothing moves until it takes changes again\n")
	}
	if s.Sums != "" {
		fmt.Fprintf(w, "limits\t%s\n", s.Sums)
	}
	for _, a := range s.Assignments {
		urgent := map[bool]string{true: ", urgent"}[slices.Contains(s.Urgent, a.Workflow)]
		fmt.Fprintf(w, "workflow\t%s\t%s%s\tfired %d, failed %d, filtered %d\t%s\n",
			a.Workflow, a.Phase, urgent, a.Fired, a.Failed, a.Filtered, text(a.Error))
	}
	return w.Flush()
}

func text(err *protocol.Error) string {
	if err == nil {
		return ""
	}
	return err.Code.String() + ": " + err.Text
}
