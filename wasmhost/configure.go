package wasmhost

import (
	"bytes"
	"context"

	"github.com/stavily/stavily/protocol"
)

// What is in this file gives a plugin the configuration of one request. A plugin whose
// configuration is the same for all requests is never told another.

// configure makes config, nil for the step's own, the configuration that the live guest
// has: by another init where the plugin takes that, else in a fresh instance. A plugin that
// refuses it is ended, with its own error.
func (p *Plugin) configure(ctx context.Context, config protocol.Raw) error {
	if config == nil {
		config = p.start.Config
	}
	if p.conv.isSet && bytes.Equal(p.conv.config, config) {
		return nil
	}
	if p.replaces(config) {
		p.bow()
		if err := p.begin(ctx, false); err != nil {
			return err
		}
	}
	live, first, s := p.live, !p.conv.isSet, p.setup()
	s.Config = config
	p.log.begin()
	live.Begin()
	defer live.Rest()
	stop := p.watch(ctx, live, p.timeout(0))
	defer stop()
	if err := p.started(p.conv, p.conv.setUp(s)); err != nil {
		return err
	}
	if p.script != nil && first {
		p.script.started(s, spent(live))
	}
	return nil
}

// replaces reports whether the live guest cannot be given config.
func (p *Plugin) replaces(config protocol.Raw) bool {
	if config == nil {
		config = p.start.Config
	}
	c := p.conv
	return c != nil && c.isSet && !c.reinit && !bytes.Equal(c.config, config)
}

// late reports whether the recorded instance was told its configuration with its first
// request.
func (r *Recording) late() bool {
	if len(r.Calls) == 0 {
		return false
	}
	first, err := decodeRequest(r.Calls[0].Request)
	return err == nil && first.Config != nil && bytes.Equal(first.Config, r.Config)
}
