package swarm

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/wire"
)

// site is where the members of a swarm live at a hub of its own.
const site = "swarm"

// WithHub lets a swarm live at a hub of its own in this process, with a home that goes
// with it: over loopback TCP, or, with piped, over connections that stay in the process.
// cfg.Hub, Token and Dial are filled in.
func WithHub(ctx context.Context, cfg Config, piped bool) (out *Result, err error) {
	home, err := os.MkdirTemp("", "swarm-")
	if err != nil {
		return nil, fmt.Errorf("swarm: home: %w", err)
	}
	defer os.RemoveAll(home)
	h := hub.DefaultConfig(filepath.Join(home, "h"))
	h.Listen = "127.0.0.1:0"
	if piped {
		p := wire.NewListener()
		h.Link, cfg.Dial = p, p.Dial
	}
	ctx, end := context.WithCancel(ctx)
	up, ended := make(chan hub.Bound, 1), make(chan error, 1)
	go func() { ended <- hub.Serve(ctx, h, slog.New(slog.DiscardHandler), func(at hub.Bound) { up <- at }) }()
	defer func() {
		end()
		if bad := <-ended; err == nil && bad != nil {
			err = bad
		}
	}()
	select {
	case at := <-up:
		cfg.Hub = "mqtts://" + at.Link
	case err := <-ended:
		ended <- err
		return nil, err
	}
	if cfg.Token, err = token(ctx, h.Home, cfg.Agents); err != nil {
		return nil, err
	}
	return Run(ctx, cfg)
}

// token asks the hub for a token that is good for so many.
func token(ctx context.Context, home string, agents int) (protocol.JoinToken, error) {
	var made api.Token
	wish := api.NewToken{Site: site, Count: agents}
	err := api.OnSocket(api.SocketPath(home)).Do(ctx, http.MethodPost, api.PathTokens, wish, &made)
	if err != nil {
		return protocol.JoinToken{}, err
	}
	return protocol.ParseJoinToken(made.Token)
}
