package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/sys"

	"github.com/stavily/stavily/protocol"
)

// TestCall is the thin path: load, ask, answer.
func TestCall(t *testing.T) {
	for name, cfg := range map[string]Config{"compiler": {}, "interpreter": {Interpreter: true}} {
		if raceDetector && testing.Short() && cfg.Interpreter {
			continue // watched, an interpreter takes ten seconds and shows no other race
		}
		for _, plugin := range []string{"probe", "cborprobe"} {
			t.Run(name+"/"+plugin, func(t *testing.T) {
				p := load(t, newHost(t, cfg), specOf(plugin, guest(t, plugin)))
				for _, data := range []string{
					`{"a":1}`, `"text"`, `[1,2.5,1.0,-0.25,18446744073709551615,-9223372036854775808,"ü\n",true,null]`,
				} {
					a := p.Call(context.Background(), work(t, data))
					if a.Error != nil {
						t.Fatalf("%s: %v", data, a.Error)
					}
					if got := jsonOf(a.Data); got != data {
						t.Errorf("got %s, want %s", got, data)
					}
					if a.Usage.Fuel == 0 || a.Usage.MemoryB == 0 {
						t.Errorf("usage %+v: want fuel and memory", a.Usage)
					}
				}
			})
		}
	}
}

// TestTrigger shows that state comes back and that next is heard.
func TestTrigger(t *testing.T) {
	s := specOf("ticker", guest(t, "ticker"))
	s.Manifest.Plugin.Type = protocol.Trigger
	p := load(t, newHost(t, Config{}), s)
	a := p.Call(context.Background(), Request{Kind: Wake, Why: WhyStart})
	if a.Error != nil || len(a.Events) != 1 || jsonOf(a.Events[0]) != `{"count":1}` || a.Next.AfterMS != 5000 {
		t.Fatalf("first wake: %+v", a)
	}
	a = p.Call(context.Background(), Request{Kind: Wake, Why: WhyTimer, State: a.State})
	if a.Error != nil || len(a.Events) != 2 || jsonOf(a.Events[1]) != `{"count":2}` || jsonOf(a.State) != "2" {
		t.Fatalf("second wake: %+v", a)
	}
	if a = p.Call(context.Background(), Request{Kind: Check}); a.Error != nil {
		t.Errorf("check: %v", a.Error)
	}
	if a = p.Call(context.Background(), work(t, "1")); protocol.CodeOf(a.Error) != protocol.CodeBadInput {
		t.Errorf("a trigger asked to run: %+v", a)
	}
}

// hostile lists what a guest does wrong, and what comes of it. ends says that the
// instance must be a fresh one afterwards.
var hostile = []struct {
	mode string
	code protocol.Code
	text string
	ends bool
}{
	{"loop", protocol.CodeDeadline, "400 ms", true}, // M-19
	{"sleep", protocol.CodeDeadline, "400 ms", true},
	{"output", protocol.CodeContract, "message of more than 131072 bytes", true},
	{"stderr", protocol.CodeDeadline, "400 ms", true},
	{"lines", protocol.CodeContract, "says nothing", true},
	{"silence", protocol.CodeContract, "without having answered", true},
	{"twice", protocol.CodeContract, "more than was asked", true},
	{"wrongid", protocol.CodeContract, "id 999", true},
	{"unknown", protocol.CodeContract, `"gossip"`, true},
	{"two", protocol.CodeContract, "two things", true},
	{"garbage", protocol.CodeContract, "byte 0 is 'h'", true},
	{"calls", protocol.CodeLimit, "1024 host calls", true},
	{"callnumber", protocol.CodeContract, "n 7: want 1", true},
	{"exit", protocol.CodeContract, "exit 7", true},
	{"panic", protocol.CodeContract, "panic: for a reason", true},
	{"memory", protocol.CodeMemory, "max_memory_mb", true}, // M-17
	{"recursion", protocol.CodeMemory, "", true},
	{"big", protocol.CodeLimit, "limit 24576", false},
	{"deep", protocol.CodeLimit, "10 levels", false},
	{"goodbye", protocol.CodeOK, "", true},
	{"loglines", protocol.CodeOK, "", false},
}

// TestHostile puts each misdeed to one guest, and then a good question to it and to a
// good plugin beside it.
func TestHostile(t *testing.T) {
	for _, engine := range []string{"compiler", "interpreter"} {
		t.Run(engine, func(t *testing.T) {
			if engine == "interpreter" && testing.Short() {
				t.Skip("takes half a minute")
			}
			h := newHost(t, Config{Interpreter: engine == "interpreter"})
			s := specOf("probe", guest(t, "probe"))
			s.Manifest.Limits.MemoryMB, s.Manifest.Limits.Seconds = 24, 300
			bad, good := load(t, h, s), load(t, h, specOf("cborprobe", guest(t, "cborprobe")))
			for _, c := range hostile {
				if engine == "interpreter" && (c.mode == "memory" || c.mode == "calls") {
					continue // seconds of interpreting; the corpus has both in a few bytes
				}
				t.Run(c.mode, func(t *testing.T) {
					before := bad.live
					r := work(t, fmt.Sprintf(`{"mode":%q}`, c.mode))
					if c.code == protocol.CodeDeadline {
						r.TimeoutMS = 400 // the others end by themselves, in the interpreter slowly
					}
					a := bad.Call(context.Background(), r)
					if protocol.CodeOf(asError(a)) != c.code || !strings.Contains(fmt.Sprint(a.Error), c.text) {
						t.Errorf("got %v %v, want %v with %q", protocol.CodeOf(asError(a)), a.Error, c.code, c.text)
					}
					again := bad.Call(context.Background(), work(t, `"again"`))
					if again.Error != nil || jsonOf(again.Data) != `"again"` {
						t.Errorf("the next call: %+v", again)
					}
					if fresh := bad.live != before; fresh != c.ends {
						t.Errorf("fresh instance %v, want %v", fresh, c.ends)
					}
					if a := good.Call(context.Background(), work(t, `1`)); a.Error != nil {
						t.Errorf("the plugin beside: %v", a.Error)
					}
				})
			}
		})
	}
}

func asError(a Answer) error {
	if a.Error == nil {
		return nil
	}
	return a.Error
}

// TestLate: an answer counts when the guest reads on; one that works on is ended.
func TestLate(t *testing.T) {
	p := load(t, newHost(t, Config{}), specOf("probe", guest(t, "probe")))
	r := work(t, `{"mode":"late"}`)
	r.TimeoutMS = 300
	if a := p.Call(context.Background(), r); a.Error != nil {
		t.Errorf("the answer: %v", a.Error)
	}
	if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil {
		t.Errorf("the next call: %v", a.Error)
	}
}

// TestDeadlineIsKept shows how far beyond its deadline a spinning guest gets.
func TestDeadlineIsKept(t *testing.T) {
	p := load(t, newHost(t, Config{}), specOf("probe", guest(t, "probe")))
	r := work(t, `{"mode":"loop"}`)
	r.TimeoutMS = 100
	began := time.Now()
	a := p.Call(context.Background(), r)
	if over := time.Since(began) - 100*time.Millisecond; over > time.Second {
		t.Errorf("ended %v after the deadline", over)
	} else {
		t.Logf("ended %v after the deadline", over)
	}
	if protocol.CodeOf(asError(a)) != protocol.CodeDeadline {
		t.Error(a.Error)
	}
}

// TestNothingOfTheMachine: no files, no arguments, no environment.
func TestNothingOfTheMachine(t *testing.T) {
	p := load(t, newHost(t, Config{DataDir: t.TempDir()}), specOf("probe", guest(t, "probe")))
	if a := p.Call(context.Background(), work(t, `{"mode":"fs"}`)); a.Error != nil || jsonOf(a.Data) != `[]` {
		t.Errorf("files: %v %s", a.Error, jsonOf(a.Data))
	}
	a := p.Call(context.Background(), work(t, `{"mode":"env"}`))
	if got := jsonOf(a.Data); got != `{"env":[],"args":[]}` && got != `{"env":[],"args":null}` {
		t.Errorf("got %s %v", got, a.Error)
	}
}

// TestPluginErrors: a plugin's own errors keep the instance.
func TestPluginErrors(t *testing.T) {
	p := load(t, newHost(t, Config{}), specOf("probe", guest(t, "probe")))
	live := p.live
	for code, want := range map[string]protocol.Code{"plugin": protocol.CodePlugin, "retryable": protocol.CodeRetryable} {
		a := p.Call(context.Background(), work(t, fmt.Sprintf(`{"fail":"no luck","code":%q}`, code)))
		if protocol.CodeOf(asError(a)) != want || a.Error.Text != "no luck" || p.live != live {
			t.Errorf("%s: %+v", code, a.Error)
		}
	}
	a := p.Call(context.Background(), work(t, `{"fail":"no luck","code":"internal"}`))
	if protocol.CodeOf(asError(a)) != protocol.CodeContract {
		t.Errorf("a code that is not a plugin's: %v", a.Error)
	}
}

// TestBadConfig: a plugin may refuse its configuration.
func TestBadConfig(t *testing.T) {
	s := specOf("probe", guest(t, "probe"))
	s.Step.Config = rawOf(t, `{"bad":"port is missing"}`)
	_, err := newHost(t, Config{}).Load(context.Background(), s)
	if protocol.CodeOf(err) != protocol.CodePlugin || !strings.Contains(err.Error(), "port is missing") {
		t.Errorf("got %v", err)
	}
}

// TestCloseWhileCalled: Close answers the call under way.
func TestCloseWhileCalled(t *testing.T) {
	h := newHost(t, Config{})
	p := load(t, h, specOf("probe", guest(t, "probe")))
	before := users(h.engine)
	answers := make(chan Answer, 1)
	go func() { answers <- p.Call(context.Background(), work(t, `{"mode":"sleep"}`)) }()
	for len(p.turn) == 0 {
		runtime.Gosched()
	}
	p.Close(context.Background())
	if a := <-answers; protocol.CodeOf(asError(a)) != protocol.CodeUnavailable {
		t.Errorf("got %v", a.Error)
	}
	if a := p.Call(context.Background(), work(t, `1`)); protocol.CodeOf(asError(a)) != protocol.CodeUnavailable {
		t.Errorf("after Close: %v", a.Error)
	}
	if after := users(h.engine); after != before-1 || len(h.plugins) != 0 {
		t.Errorf("%d users of code and %d plugins left, want %d and none", after, len(h.plugins), before-1)
	}
}

// TestCancel: a cancelled context ends the call.
func TestCancel(t *testing.T) {
	p := load(t, newHost(t, Config{}), specOf("probe", guest(t, "probe")))
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if a := p.Call(ctx, work(t, `{"mode":"loop"}`)); protocol.CodeOf(asError(a)) != protocol.CodeUnavailable {
		t.Errorf("got %v", a.Error)
	}
}

// TestSpeaksLate: what a guest says while nobody asks it does not become the answer to the next
// request, nor its error: that goes to a fresh instance.
func TestSpeaksLate(t *testing.T) {
	p := load(t, newHost(t, Config{}), hostileSpec(t, "busy", false))
	for range 2 {
		if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil {
			t.Fatal(a.Error)
		}
		first := p.live
		if _, err := first.Write([]byte("\n")); err != nil { // it answers to whatever it reads
			t.Fatal(err)
		}
		if first.Settle() {
			t.Fatal("it says nothing")
		}
		if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil || p.live == first {
			t.Errorf("answered %v, by a fresh instance %v", a.Error, p.live != first)
		}
	}
}

// TestActsUnasked: a guest that waits for a time of its own beside its stdin, and then acts, is found
// before the next request is put, and that gets a fresh one.
func TestActsUnasked(t *testing.T) {
	for _, file := range []string{"late-words", "late-spin"} {
		s := hostileSpec(t, file, false)
		s.Manifest.Limits.Seconds = 1
		p := load(t, newHost(t, Config{}), s)
		if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil {
			t.Fatal(a.Error)
		}
		first := p.live
		for in := first.(*instance); !in.overslept(); {
			in.linger()
		}
		if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil || p.live == first {
			t.Errorf("%s: answered %v, by a fresh instance %v", file, a.Error, p.live != first)
		}
		if cause := first.Cause(); cause == nil {
			t.Errorf("%s: the first instance was not ended", file)
		}
	}
}

// A timer that ran out as its doze ended otherwise does not end the next one.
func TestWakesLate(t *testing.T) {
	d := newDuplex()
	in := guestIn{d: d}
	d.start(func() {
		defer func() { _ = recover() }() // its end
		for {
			_, _, _ = in.await(time.Hour)
			_, _ = in.Read(make([]byte, 1))
		}
	})
	d.Settle()
	if _, err := d.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	d.rouse() // to its second doze
	if d.wake(1); d.overslept() {
		t.Error("the first doze's timer ends the second")
	}
	if d.wake(2); !d.overslept() {
		t.Error("its own timer does not end a doze")
	}
	d.drop()
	d.rouse()
}

// TestRest frees the instance and the next call starts one.
func TestRest(t *testing.T) {
	p := load(t, newHost(t, Config{}), specOf("probe", guest(t, "probe")))
	old := p.live
	if !p.Rest() || p.live != nil || !old.Gone() || p.Rest() {
		t.Fatal("instance is still there")
	}
	if code := new(sys.ExitError); !errors.As(old.(*instance).exit, &code) || code.ExitCode() != 0 {
		t.Errorf("guest did not end by itself: %v", old.(*instance).exit)
	}
	if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil {
		t.Error(a.Error)
	}
}

// TestLoadRefuses lists what is not loaded.
func TestLoadRefuses(t *testing.T) {
	h := newHost(t, Config{})
	before := users(h.engine)
	for name, c := range map[string]struct {
		change func(*Spec)
		code   protocol.Code
	}{
		"digest":    {func(s *Spec) { s.Digest[0]++ }, protocol.CodeDigest},
		"name":      {func(s *Spec) { s.Manifest.Plugin.Name = "../up" }, protocol.CodeBadName},
		"type":      {func(s *Spec) { s.Manifest.Plugin.Type = "tigger" }, protocol.CodeBadInput},
		"unmetered": {func(s *Spec) { *s = specOf("probe", plainGuest(t, "probe")) }, protocol.CodeUnverified},
		"memory":    {func(s *Spec) { s.Manifest.Limits.MemoryMB = 1 }, protocol.CodeUnverified},
		"hello":     {func(s *Spec) { s.Manifest.Plugin.Name = "other" }, protocol.CodeContract},
		"config":    {func(s *Spec) { s.Step.Config = protocol.Raw{0xff} }, protocol.CodeBadInput},
	} {
		s := specOf("probe", guest(t, "probe"))
		c.change(&s)
		if p, err := h.Load(context.Background(), s); protocol.CodeOf(err) != c.code {
			t.Errorf("%s: got %v %v, want %v", name, p, err, c.code)
		}
	}
	if after := users(h.engine); after != before {
		t.Errorf("%d users of code left, want %d", after, before)
	}
}

// TestUnmetered: with the engine's own checks, for development.
func TestUnmetered(t *testing.T) {
	h := newHost(t, Config{AllowUnmetered: true})
	p := load(t, h, specOf("probe", plainGuest(t, "probe")))
	if a := p.Call(context.Background(), work(t, `1`)); a.Error != nil || a.Usage.Fuel != 0 {
		t.Errorf("%+v", a)
	}
	r := work(t, `{"mode":"loop"}`)
	r.TimeoutMS = 200
	if a := p.Call(context.Background(), r); protocol.CodeOf(asError(a)) != protocol.CodeDeadline {
		t.Errorf("got %v", a.Error)
	}
}
