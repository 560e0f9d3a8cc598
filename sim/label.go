package sim

import (
	"context"
	"net/http"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/sim/scenario"
)

// label gives agents the labels of the scenario's operator, one agent after the other as an
// operator's program would.
func (w *World) label(of *scenario.Deploy) {
	labels, text := map[string]string{}, ""
	for _, l := range of.Labels {
		labels[l.Key] = l.Value
		text += " " + l.Key + "=" + l.Value
	}
	draw := newStream(w.seed, "label", of.Index)
	for _, i := range w.scenario.Select(of.Where, draw.below) {
		d := w.devices[i]
		if w.real != nil {
			w.trace.note(w.now, d, "label", []byte(text))
			w.real.label(d, labels)
			continue
		}
		w.hub.operate(func() error {
			w.trace.note(w.now, d, "label", []byte(text))
			_, err := w.hub.hub.Label(w.time(), d.addr.Agent, labels)
			return err
		})
	}
}

// label asks a real hub for it. The caller has entered.
func (r *realm) label(d *device, labels map[string]string) {
	path := api.Path(api.PathAgent, string(d.addr.Agent))
	r.asked("label "+string(d.addr.Agent), func(context.Context) error {
		return r.do(http.MethodPatch, path, api.Labels{Labels: labels}, nil)
	})
}
