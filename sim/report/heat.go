package report

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"
)

// states are the characters of Sample.Sites, each with its class and its word.
var states = []struct {
	char  byte
	class string
	word  string
}{
	{'o', "s-o", "well"},
	{'w', "s-w", "not converged"},
	{'.', "s-a", "away"},
	{'x', "s-x", "errors"},
}

func stateClass(c byte) string {
	for _, s := range states {
		if s.char == c {
			return s.class
		}
	}
	return "s-o"
}

const (
	cellsMax   = 4000
	framesMost = 160
)

// heatMap draws a cell for each site, with a slider through time where there is a state
// for each sample. Without a script it shows the end.
func heatMap(r *Result) string {
	var names []string
	for _, g := range r.Groups {
		for _, s := range g.Sites {
			names = append(names, s.Name+", "+plural(uint64(s.Agents), "agent", "agents"))
		}
	}
	if len(names) == 0 || len(names) > cellsMax {
		return ""
	}
	frames, times := r.frames(len(names))
	last := strings.Repeat("o", len(names))
	if len(frames) > 0 {
		last = frames[len(frames)-1]
	}
	var b strings.Builder
	b.WriteString(cells(names, last))
	b.WriteString(`<p class="legend">`)
	for _, s := range states {
		fmt.Fprintf(&b, `<span class="key"><i class="%s"></i>%s</span>`, s.class, s.word)
	}
	b.WriteString("</p>")
	if len(frames) > 1 {
		b.WriteString(slider(frames, times))
	}
	return b.String()
}

// frames returns the states at some of the samples and their times.
func (r *Result) frames(cells int) (frames, times []string) {
	step := max(1, (len(r.Samples)+framesMost-1)/framesMost)
	for i := range r.Samples {
		s := &r.Samples[i]
		if len(s.Sites) == cells && (i%step == 0 || i == len(r.Samples)-1) {
			frames = append(frames, s.Sites)
			times = append(times, moment(s.AtMS))
		}
	}
	return frames, times
}

// cells draws the map: as many in a row as make it about five times as wide as high.
func cells(names []string, state string) string {
	columns := 1
	for columns*columns < 5*len(names) {
		columns++
	}
	edge := min(28, wide/float64(columns))
	rows := (len(names) + columns - 1) / columns
	s := newSVG(edge*float64(rows), "the fleet, a cell for each site")
	for i, name := range names {
		x, y := edge*float64(i%columns), edge*float64(i/columns)
		s.rect(box{x + 0.5, y + 0.5, edge - 1, edge - 1, stateClass(state[i]), name})
	}
	return strings.Replace(s.String(), "<svg ", `<svg id="map" `, 1)
}

// slider is the control that goes through time, with its few lines of script.
func slider(frames, times []string) string {
	classes := map[string]string{}
	for _, s := range states {
		classes[string(s.char)] = s.class
	}
	data, err := json.Marshal(map[string]any{"frames": frames, "times": times, "classes": classes})
	if err != nil {
		return ""
	}
	end := len(frames) - 1
	return fmt.Sprintf(
		`<p class="slider"><input id="when" type="range" min="0" max="%d" value="%d" aria-label="time" hidden>`+
			` <output id="at">%s</output></p><script type="application/json" id="frames">%s</script>`+
			`<script>%s</script>`,
		end,
		end,
		html.EscapeString(times[end]),
		data,
		sliderScript,
	)
}

const sliderScript = `
(function () {
  var data = JSON.parse(document.getElementById("frames").textContent);
  var cells = document.querySelectorAll("#map rect");
  var when = document.getElementById("when");
  when.hidden = false;
  when.addEventListener("input", function () {
    var frame = data.frames[when.value];
    document.getElementById("at").textContent = data.times[when.value];
    cells.forEach(function (c, i) { c.setAttribute("class", data.classes[frame[i]] || "s-o"); });
  });
})();
`
