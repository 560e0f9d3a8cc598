package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Run connects, and connects again for ever, until ctx ends; then it returns nil. It
// never says DISCONNECT, so that the hub always hears the Will. The wait before each
// connection is drawn evenly from nothing to a bound, which doubles up to BackoffMax
// and falls back only after a connection that lived for Config.Stable.
func (l *Link) Run(ctx context.Context) error {
	bound := l.cfg.BackoffMin
	for ctx.Err() == nil {
		lived, err := l.live(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to end, it ended
		}
		if lived >= l.cfg.Stable {
			bound = l.cfg.BackoffMin
		}
		wait := time.Duration(l.cfg.Rand.Int64N(int64(bound) + 1))
		l.cfg.Log.Info("link down", slog.Any("cause", err), slog.Duration("wait", wait))
		bound = min(2*bound, l.cfg.BackoffMax)
		sleep(ctx, wait)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// live lives through one connection and returns for how long it was up, and why it
// ended.
func (l *Link) live(ctx context.Context) (time.Duration, error) {
	session := l.session.Add(1)
	login, cancelLogin := context.WithTimeout(ctx, l.cfg.LoginTimeout)
	defer cancelLogin()
	conn, err := l.cfg.Dial(login)
	if err != nil {
		return 0, fmt.Errorf("dial: %w", err)
	}
	c := newConnection(ctx, l, conn)
	defer c.line.fail(errors.New("closed by the agent"))
	defer c.cancel(nil)
	if err := c.open(login, session); err != nil {
		return 0, err
	}
	cancelLogin()
	up := time.Now()
	l.setCurrent(c)
	l.cfg.OnState(true)
	// These end with c.ctx and the line, and are not waited for.
	go c.sendAll(l.queue.rewind())
	go c.acknowledge()
	go c.keepAlive()
	err = c.watch()
	l.setCurrent(nil)
	l.cfg.OnState(false)
	c.cancel(err)
	_ = c.line.fail(err)
	return time.Since(up), err
}

func (l *Link) setCurrent(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = c
}

// watch probes the line until it ends, and returns why. A line that does not echo two
// probes in a row is deaf. The first probe goes out at once: lines go deaf when they
// are made.
func (c *connection) watch() error {
	nonce, misses := []byte(nil), 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		case <-c.link.asked:
			ctx, cancel := context.WithTimeout(c.ctx, c.link.cfg.LoginTimeout)
			err := c.askNew(ctx)
			cancel()
			if err != nil {
				return err
			}
		case got := <-c.echo:
			if nonce != nil && bytes.Equal(got, nonce) {
				nonce, misses = nil, 0
				timer.Reset(c.link.cfg.ProbeEvery)
			}
		case <-timer.C:
			if nonce != nil {
				misses++
			}
			if misses >= 2 {
				return protocol.Errorf(protocol.CodeUnavailable, "deaf: %d probes without an echo", misses)
			}
			nonce = protocol.MustMarshal(protocol.Probe{Nonce: c.link.cfg.Rand.Uint64()})
			// Not here: watch measures the answer, and must not wait for the line.
			go c.probe(nonce)
			timer.Reset(c.link.cfg.ProbeTimeout)
		}
	}
}
