package wasmhost

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// batched returns requests with these data and the keys k0, k1 and so on.
func batched(t testing.TB, data ...string) []Request {
	t.Helper()
	rs := make([]Request, len(data))
	for i, d := range data {
		rs[i] = work(t, d)
		rs[i].Key = fmt.Sprint("k", i)
	}
	return rs
}

// batcher is the probe when it takes so many events at once.
func batcher(t testing.TB, n int) *Plugin {
	t.Helper()
	s := asking(t, "kv")
	if n > 0 {
		s.Env = []string{fmt.Sprint("BATCH=", n)}
	}
	return load(t, newHost(t, Config{}), s)
}

// said is what came of each request: its data's "data", or the code of its error.
func said(as []Answer) string {
	var out []string
	for _, a := range as {
		text := jsonOf(a.Data)
		switch i := strings.Index(text, `"data":`); {
		case a.Error != nil:
			text = a.Error.Code.String()
		case len(text) > 100:
			text = fmt.Sprint(len(text))
		case i >= 0:
			text, _, _ = strings.Cut(text[i+7:], ",")
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// TestBatch: one answer for each event, whatever comes of the others.
func TestBatch(t *testing.T) {
	with, without := batcher(t, 256), batcher(t, 0)
	for name, c := range map[string]struct {
		data []string
		want string
	}{
		"none":            {nil, ""},
		"one":             {[]string{`1`}, `1}`},
		"three":           {[]string{`1`, `2`, `3`}, `1 2 3`},
		"errors":          {[]string{`1`, `{"fail":"x","code":"plugin"}`, `{"fail":"x","code":"retryable"}`, `4`}, `1 plugin retryable 4`},
		"stops":           {[]string{`1`, `{"stop":true}`, `3`, `{"stop":true}`, `5`}, `1 {"stop":true} 3 {"stop":true} 5`},
		"poison":          {[]string{`1`, `{"mode":"exit"}`, `3`, `4`}, `1} contract 3} 4}`},
		"contract":        {[]string{`1`, `{"mode":"twice"}`, `3`}, `1} contract 3}`},
		"all poison":      {[]string{`{"mode":"exit"}`, `{"mode":"exit"}`, `{"mode":"exit"}`, `4`}, `contract contract unavailable unavailable`},
		"over its bound":  {[]string{`1`, `{"big":25000}`, `3`}, `1 limit 3`},
		"a strange error": {[]string{`1`, `{"fail":"x","code":"odd"}`, `3`}, `1} contract 3}`},
	} {
		as := with.CallBatch(context.Background(), batched(t, c.data...))
		got := strings.ReplaceAll(said(as), "}", "")
		if want := strings.ReplaceAll(c.want, "}", ""); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if name == "poison" || name == "three" {
			got := with.CallBatch(context.Background(), batched(t, c.data...))
			for i, a := range got {
				if a.Error == nil && name == "three" && !strings.Contains(jsonOf(a.Data), fmt.Sprintf(`"key":"k%d"`, i)) {
					t.Errorf("%s: answer %d has another key: %s", name, i, jsonOf(a.Data))
				}
			}
		}
	}
	as := without.CallBatch(context.Background(), batched(t, `1`, `{"fail":"x","code":"plugin"}`, `3`))
	if got := said(as); got != "1 plugin 3" {
		t.Errorf("a plugin without batches: %s", got)
	}
}

// TestBatchSizes: as many events go in one request as the plugin takes and a message holds.
func TestBatchSizes(t *testing.T) {
	p, few := batcher(t, 1000), batcher(t, 3)
	many := batched(t, strings.Split(strings.Repeat("1 ", 600)[:1199], " ")...)
	as := p.CallBatch(context.Background(), many)
	if of := jsonOf(as[0].Data); len(as) != 600 || !strings.Contains(of, `"of":256`) || !strings.Contains(jsonOf(as[599].Data), `"of":88`) {
		t.Errorf("%d answers, the first %s, the last %s", len(as), of, jsonOf(as[len(as)-1].Data))
	}
	as = few.CallBatch(context.Background(), many[:7])
	if !strings.Contains(jsonOf(as[5].Data), `"of":3`) || strings.Contains(jsonOf(as[6].Data), "of") {
		t.Errorf("by three: %s, %s", jsonOf(as[5].Data), jsonOf(as[6].Data))
	}
	large := `"` + strings.Repeat(`\u0001`, 20_000) + `"` // 20 kB in CBOR, 120 kB in JSON
	as = p.CallBatch(context.Background(), batched(t, large, `{"big":9}`, large, `"`+strings.Repeat(`\u0001`, 24_000)+`"`, `2`))
	for i, code := range map[int]protocol.Code{1: protocol.CodeOK, 3: protocol.CodeLimit, 4: protocol.CodeOK} {
		if protocol.CodeOf(asError(as[i])) != code {
			t.Errorf("large %d: %v, want %v", i, as[i].Error, code)
		}
	}
	bad := batched(t, `1`, `2`, `3`)
	bad[1].Event = &protocol.Event{Data: protocol.Raw{0xff}}
	bad[2].Kind = Deliver
	if got := said(p.CallBatch(context.Background(), bad)); got != "1} bad-input bad-input" {
		t.Errorf("bad requests: %s", got)
	}
}

// TestBatchCosts: what a batch cost is all of it, told once.
func TestBatchCosts(t *testing.T) {
	p := batcher(t, 256)
	rs := batched(t, `1`, `2`, `3`, `4`)
	p.CallBatch(context.Background(), rs)
	fuel := uint64(0)
	for _, a := range p.CallBatch(context.Background(), rs) {
		if a.Usage.Fuel == 0 || a.Usage.MemoryB == 0 {
			t.Errorf("usage %+v", a.Usage)
		}
		fuel += a.Usage.Fuel
	}
	if total := spent(p.live); fuel == 0 || fuel > total {
		t.Errorf("batch cost %d of %d", fuel, total)
	}
	// A deadline is for the batch; who meets it is asked again alone, with one of its own.
	rs = batched(t, `1`, `{"mode":"sleep"}`, `3`)
	for i := range rs {
		rs[i].TimeoutMS = 300
	}
	began := time.Now()
	if got := strings.ReplaceAll(said(p.CallBatch(context.Background(), rs)), "}", ""); got != "1 deadline 3" {
		t.Errorf("a sleeper: %s", got)
	}
	if took := time.Since(began); took < 600*time.Millisecond || took > 20*time.Second {
		t.Errorf("took %v, want two deadlines", took)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := said(p.CallBatch(ctx, rs)); got != "unavailable unavailable unavailable" {
		t.Errorf("cancelled: %s", got)
	}
}

// BenchmarkBatch is the cost of an event in a batch of so many.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := batcher(b, BatchMax)
			rs := batched(b, strings.Split(strings.Repeat(`{"value":80.5} `, n)[:15*n-1], " ")...)
			p.CallBatch(context.Background(), rs)
			for b.Loop() {
				for _, a := range p.CallBatch(context.Background(), rs) {
					if a.Error != nil {
						b.Fatal(a.Error)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/event")
		})
	}
}
