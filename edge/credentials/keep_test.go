package credentials

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A certificate is renewed once half of its life is over, and when somebody is in a hurry; while it
// cannot be, that is tried each hour or so, and each minute or so from its end on. S-12.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards the variables below
		began, away := time.Now(), true
		given, ends := began, began.Add(10*time.Hour)
		var tried []time.Duration
		k := NewKeeper(Keeper{
			Life: func() (time.Time, time.Time) {
				mu.Lock()
				defer mu.Unlock()
				return given, ends
			}, Now: time.Now,
			UpTo: func(d time.Duration) time.Duration { return d / 2 },
			Renew: func(context.Context) {
				mu.Lock()
				defer mu.Unlock()
				if tried = append(tried, time.Since(began)); !away {
					given, ends = time.Now(), time.Now().Add(10*time.Hour)
				}
			},
		})
		ctx, end := context.WithCancel(t.Context())
		besides := make(chan func(), 1)
		go k.Run(ctx, besides)
		tries := func(in time.Duration, want int) {
			t.Helper()
			mu.Lock()
			tried = nil
			mu.Unlock()
			time.Sleep(in) // of virtual time
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(tried) != want {
				t.Errorf("tried %d times until +%v, want %d: %v", len(tried), time.Since(began), want, tried)
			}
		}
		tries(5*time.Hour, 0)
		tries(4*time.Hour, 4)
		tries(3*time.Hour, 121) // two in the hour before its end, then each minute
		mu.Lock()
		away = false
		mu.Unlock()
		tries(5*time.Hour, 1)
		k.Hurry()
		tries(time.Second, 1)
		called := false
		besides <- func() { called = true }
		tries(time.Second, 0)
		if !called {
			t.Error("nothing is done besides")
		}
		end()
		synctest.Wait()
	})
}
