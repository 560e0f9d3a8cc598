package credentials

import (
	"context"
	"time"
)

// RenewEvery is how often it is looked whether the certificate is to be renewed, and EndedEvery
// the same once it has ended: there is no line without the next. State decides, looked at again
// and again: a jump of the clock skips nothing.
const (
	RenewEvery = time.Hour
	EndedEvery = time.Minute
)

// Keeper renews a certificate when half of its life is over. Renewing never stops anything that
// runs on the device.
type Keeper struct {
	// Life is the certificate's of the moment: when the hub gave it, and when it ends. It begins
	// when it was given: hubs date certificates back for devices whose clock is behind.
	Life func() (given, ends time.Time)
	// Renew asks for the next one. What is to be said of a failure it says itself.
	Renew func(ctx context.Context)
	Now   func() time.Time // by which certificates are held against
	// UpTo draws from 0 to below d: many agents must not ask at once.
	UpTo func(d time.Duration) time.Duration

	now chan struct{} // holds one: renew at once
}

// NewKeeper returns k, ready to run.
func NewKeeper(k Keeper) *Keeper {
	k.now = make(chan struct{}, 1)
	return &k
}

// Hurry has the certificate renewed at once, by the one who runs. It does not wait.
func (k *Keeper) Hurry() {
	select {
	case k.now <- struct{}{}:
	default:
	}
}

// Run renews until ctx ends. Between two looks it calls each f that comes by besides.
func (k *Keeper) Run(ctx context.Context, besides <-chan func()) {
	timer := time.NewTimer(k.first())
	defer timer.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.now:
			asked = true
		case f := <-besides:
			f()
			continue
		}
		if asked || k.due() {
			k.Renew(ctx)
		}
		timer.Reset(k.again())
	}
}

// due reports whether half of the certificate's life is over.
func (k *Keeper) due() bool {
	given, ends := k.Life()
	return k.Now().After(given.Add(ends.Sub(given) / 2))
}

func (k *Keeper) ended() bool {
	_, ends := k.Life()
	return k.Now().After(ends)
}

// first is how long the first look waits: not at all for a certificate that has ended.
func (k *Keeper) first() time.Duration {
	if k.ended() {
		return 0
	}
	return k.UpTo(time.Minute)
}

func (k *Keeper) again() time.Duration {
	every := RenewEvery
	if k.ended() {
		every = EndedEvery
	}
	return every/2 + k.UpTo(every)
}
