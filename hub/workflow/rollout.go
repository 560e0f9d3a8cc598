package workflow

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Rollout says how a change of a workflow reaches its agents: in waves, each of them
// watched for a while, and the rest after the last one.
type Rollout struct {
	Waves []Wave
	// MaxErrors is the share of runs, in percent, that may end in an error or meet a limit;
	// MaxFailed that of a wave's agents that may refuse the change or fail to load it.
	// Above it the change is taken back.
	MaxErrors, MaxFailed float64
	// PerSite bounds how many agents of one site change at once; 0 does not.
	PerSite int
	// Timeout is how long a wave may take before the rollout waits for a person.
	Timeout time.Duration
	// Windows are when agents may change; none means always.
	Windows []Window
}

// Wave is a part of the agents that a workflow concerns. Exactly one of Percent, Count and
// Group is set. Percent and Count say how many have the change when the wave is done, those
// of the waves before among them, and of agents that the hub has heard of lately.
type Wave struct {
	Percent float64
	Count   int
	Group   Selector
	Soak    time.Duration // how long each agent runs it well, by its own clock
}

// String returns the wave as people say it.
func (w *Wave) String() string {
	switch {
	case w.Group != nil:
		return "group " + w.Group.String()
	case w.Count == 1:
		return "1 agent"
	case w.Count > 0:
		return fmt.Sprintf("%d agents", w.Count)
	default:
		return fmt.Sprintf("%g %%", w.Percent)
	}
}

// Window is a time of the week. From and To are minutes of a day; a window that ends before
// it begins goes on to the next day.
type Window struct {
	Days     []time.Weekday // those on which it begins; none means every day
	From, To int
	// Zone is where the clock hangs. Nil: at the agent's site, by its label "zone", and in
	// UTC where it has none.
	Zone *time.Location
}

// ZoneLabel is the label that names an agent's time zone, such as Europe/Oslo.
const ZoneLabel = "zone"

// What holds where a rollout does not say.
const (
	maxErrorsDefault = 5
	maxFailedDefault = 10
	timeoutDefault   = 7 * 24 * time.Hour

	wavesMax    = 32
	windowsMax  = 32
	soakMax     = 30 * 24 * time.Hour
	waveWaitMax = 365 * 24 * time.Hour
)

type writtenRollout struct {
	Waves     []writtenWave   `json:"waves"`
	MaxErrors *float64        `json:"max-errors"`
	MaxFailed *float64        `json:"max-failed"`
	PerSite   int             `json:"per-site"`
	Timeout   *time.Duration  `json:"timeout"`
	Windows   []writtenWindow `json:"windows"`
}

type writtenWave struct {
	Percent *float64           `json:"percent"`
	Count   *int               `json:"count"`
	Group   *map[string]string `json:"group"`
	Soak    time.Duration      `json:"soak"`
}

type writtenWindow struct {
	Days []string `json:"days"`
	From string   `json:"from"`
	To   string   `json:"to"`
	Zone string   `json:"zone"`
}

// rollout reads what stands under "rollout".
func (w *Workflow) rollout(in *writtenRollout) (*Rollout, error) {
	if in == nil {
		return nil, nil
	}
	r := &Rollout{
		MaxErrors: maxErrorsDefault, MaxFailed: maxFailedDefault, Timeout: timeoutDefault, PerSite: in.PerSite,
	}
	for _, part := range []struct {
		key  string
		from *float64
		to   *float64
	}{{"max-errors", in.MaxErrors, &r.MaxErrors}, {"max-failed", in.MaxFailed, &r.MaxFailed}} {
		if part.from == nil {
			continue
		}
		if *part.to = *part.from; *part.to < 0 || *part.to > 100 {
			return nil, w.Errorf("rollout."+part.key, "%g, want a percentage from 0 to 100", *part.to)
		}
	}
	if in.PerSite < 0 {
		return nil, w.Errorf("rollout.per-site", "%d, want how many agents of a site may change at once",
			in.PerSite)
	}
	if in.Timeout != nil {
		r.Timeout = *in.Timeout
	}
	if r.Timeout <= 0 || r.Timeout > waveWaitMax {
		return nil, w.Errorf("rollout.timeout", "%v, want up to %v", r.Timeout, waveWaitMax)
	}
	if err := w.waves(r, in.Waves); err != nil {
		return nil, err
	}
	if err := w.windows(r, in.Windows); err != nil {
		return nil, err
	}
	return r, w.agree(r)
}

// agree refuses waves, windows and timeout of which each is sound and that cannot go together.
func (w *Workflow) agree(r *Rollout) error {
	for i := range r.Waves {
		if soak := r.Waves[i].Soak; soak >= r.Timeout {
			return w.Errorf(fmt.Sprintf("rollout.waves[%d].soak", i), "%v, but the rollout waits for a person after "+
				"its timeout of %v: no wave would ever be done", soak, r.Timeout)
		}
	}
	for i := range r.Windows {
		for k := range i {
			if reflect.DeepEqual(r.Windows[i], r.Windows[k]) {
				return w.Errorf(fmt.Sprintf("rollout.windows[%d]", i), "the same as windows[%d]: one of them is meant "+
					"otherwise", k)
			}
		}
	}
	if shut := closed(r.Windows); shut >= r.Timeout {
		return w.Errorf("rollout.windows",
			"they are closed for %v on end, but the rollout waits for a person after "+
				"its timeout of %v: let it be longer", shut, r.Timeout)
	}
	return nil
}

// closed returns for how long no window is open, at the longest, as if all hung at one clock.
func closed(windows []Window) time.Duration {
	const day, week = 24 * 60, 7 * 24 * 60
	var open [week]bool
	for _, window := range windows {
		for d := range 7 {
			if len(window.Days) > 0 && !slices.Contains(window.Days, time.Weekday(d)) {
				continue
			}
			length := window.To - window.From
			if length <= 0 {
				length += day
			}
			for m := range length {
				open[(d*day+window.From+m)%week] = true
			}
		}
	}
	longest, since := 0, 0
	for m := range 2 * week {
		if since++; open[m%week] {
			since = 0
		}
		longest = max(longest, since)
	}
	if longest >= week { // no window, which is always open
		return 0
	}
	return time.Duration(longest) * time.Minute
}

func (w *Workflow) waves(r *Rollout, in []writtenWave) error {
	if n := len(in); n == 0 || n > wavesMax {
		return w.Errorf("rollout.waves", "%d of them, want 1 to %d", n, wavesMax)
	}
	for i := range in {
		wave, err := w.wave(fmt.Sprintf("rollout.waves[%d]", i), &in[i])
		if err != nil {
			return err
		}
		if last := len(r.Waves) - 1; last >= 0 {
			before := &r.Waves[last]
			if wave.Percent > 0 && wave.Percent <= before.Percent || wave.Count > 0 && wave.Count <= before.Count {
				return w.Errorf(fmt.Sprintf("rollout.waves[%d]", i), "%s after %s: the waves before count too, so that "+
					"this one adds nobody", &wave, before)
			}
		}
		r.Waves = append(r.Waves, wave)
	}
	return nil
}

func (w *Workflow) wave(path string, in *writtenWave) (out Wave, err error) {
	out.Soak = in.Soak
	given := 0
	if in.Percent != nil {
		given++
		if out.Percent = *in.Percent; out.Percent <= 0 || out.Percent > 100 {
			return out, w.Errorf(path+".percent", "%g, want above 0 and up to 100", out.Percent)
		}
	}
	if in.Count != nil {
		given++
		if out.Count = *in.Count; out.Count < 1 {
			return out, w.Errorf(path+".count", "%d, want 1 or more", out.Count)
		}
	}
	if in.Group != nil {
		given++
		if out.Group = selectorOf(*in.Group); len(out.Group) == 0 {
			return out, w.Errorf(path+".group", "no label: that is everybody, which is what follows the last wave")
		}
	}
	switch {
	case given != 1:
		return out, w.Errorf(path, "%d sizes, want exactly one of percent, count and group", given)
	case out.Soak < 0 || out.Soak > soakMax:
		return out, w.Errorf(path+".soak", "%v, want up to %v", out.Soak, soakMax)
	}
	return out, nil
}

func (w *Workflow) windows(r *Rollout, in []writtenWindow) error {
	if len(in) > windowsMax {
		return w.Errorf("rollout.windows", "%d of them, want at most %d", len(in), windowsMax)
	}
	for i := range in {
		window, err := w.window(fmt.Sprintf("rollout.windows[%d]", i), &in[i])
		if err != nil {
			return err
		}
		r.Windows = append(r.Windows, window)
	}
	return nil
}

// days are the names of weekdays, Sunday first, as time.Weekday counts them.
var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (w *Workflow) window(path string, in *writtenWindow) (out Window, err error) {
	for i, name := range in.Days {
		at := slices.Index(days, strings.ToLower(name))
		if at < 0 {
			return out, w.Errorf(fmt.Sprintf("%s.days[%d]", path, i), "%q: want one of %s", name,
				strings.Join(days, ", "))
		}
		out.Days = append(out.Days, time.Weekday(at))
	}
	if out.From, err = w.minute(path+".from", in.From); err != nil {
		return out, err
	}
	if out.To, err = w.minute(path+".to", in.To); err != nil {
		return out, err
	}
	if out.From == out.To {
		return out, w.Errorf(path+".to", "the window ends when it begins, at %s: nobody would ever change", in.To)
	}
	if in.Zone == "" || in.Zone == "site" {
		return out, nil
	}
	if out.Zone, err = time.LoadLocation(in.Zone); err != nil {
		return out, w.Errorf(path+".zone", "%q: no such time zone; want a name such as Europe/Oslo, or site",
			in.Zone)
	}
	return out, nil
}

// minute reads a time of day; one may end at 24:00.
func (w *Workflow) minute(path, text string) (int, error) {
	if text == "24:00" && strings.HasSuffix(path, ".to") {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, w.Errorf(path, "%q: want a time of day such as 02:00", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}
