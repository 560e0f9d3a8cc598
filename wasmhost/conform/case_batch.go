package conform

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// tryBatch puts several requests as one and compares what comes of each. A plugin may
// answer the first of them only; the rest is put again.
func (s *suite) tryBatch(ctx context.Context, one *session, a *Ask) error {
	most := min(one.hello.Batch, wasmhost.BatchMax)
	if most < 2 {
		return nil
	}
	one.desk.script, one.desk.fault = nil, nil
	reqs := make([]wasmhost.Request, len(a.Batch))
	for i := range a.Batch {
		var err error
		if reqs[i], err = s.asking(&a.Batch[i]); err != nil {
			return err
		}
		reqs[i].Key = "conform-" + strconv.Itoa(i+1)
		one.desk.script = append(one.desk.script, s.script(&a.Batch[i])...)
	}
	for done := 0; done < len(reqs); {
		answers, f := one.askBatch(ctx, reqs[done:min(len(reqs), done+most)])
		switch {
		case one.desk.fault != nil:
			return one.desk.fault
		case f != nil:
			return because(f)
		}
		for i := range answers {
			if err := s.item(&a.Batch[done+i], answers[i]); err != nil {
				return fmt.Errorf("event %d of the batch: %w", done+i+1, err)
			}
		}
		done += len(answers)
	}
	if len(one.desk.script) > 0 {
		return fmt.Errorf("host call %s was not made", one.desk.script[0].Name)
	}
	return nil
}

// item compares one answer of a batch.
func (s *suite) item(a *Ask, got wasmhost.Answer) error {
	switch {
	case a.Code != protocol.CodeOK:
		return a.wrong(got, nil)
	case got.Error != nil:
		return fmt.Errorf("error %s: %w", got.Error.Code, got.Error)
	}
	return s.compare(a, got)
}

// askBatch puts a batch. Answers' errors are the plugin's own, or CodeLimit.
func (s *session) askBatch(ctx context.Context, rs []wasmhost.Request) (as []wasmhost.Answer, f *fault) {
	s.id++
	s.within(ctx, func() {
		var err error
		if as, err = s.talk.AskBatch(rs, deadlineMS, s.desk.call); err != nil {
			f = s.blame(ctx, "answer", err)
			return
		}
		f = s.settled("says more than was asked")
	})
	if f == nil && s.late {
		err := protocol.Errorf(protocol.CodeDeadline, "went on after its answer until its time was over")
		f = &fault{"answer", err}
	}
	return as, f
}

// batches are cases of several events for one request. A trigger has none.
var batches = []Case{
	{Name: "batch", Asks: []Ask{
		{Batch: []Ask{
			{Do: echo(`{"a":[1,2.5]}`), Result: `{"a":[1,2.5]}`},
			{Do: `{"do":"fail","text":"not this one"}`, Code: protocol.CodePlugin, Text: "not this one"},
			{Do: `{"do":"retryable","text":"later"}`, Code: protocol.CodeRetryable, Text: "later"},
			{Do: `{"do":"none"}`},
			{Do: echo(`"ü"`), Result: `"ü"`},
		}},
		{Do: echo("9"), Result: "9"},
	}},
	{Name: "batch of one", Asks: []Ask{{Batch: []Ask{{Do: echo("1"), Result: "1"}}}}},
	{Name: "batch as asked", Asks: []Ask{{Batch: []Ask{
		{Do: `{"do":"request"}`, Result: someWork},
		{Do: `{"do":"request"}`, Result: strings.Replace(someWork, "conform-1", "conform-2", 1)},
	}}}},
	{Name: "batch with host calls", Asks: []Ask{
		{Batch: []Ask{threeCalls, {Do: echo("1"), Result: "1"}, threeCalls}}, threeCalls,
	}},
	{Name: "batch with too big a result", Asks: []Ask{{Batch: []Ask{
		{Do: echo("1"), Result: "1"},
		{Do: `{"do":"big","bytes":200000}`, Code: protocol.CodePlugin},
		{Do: echo("3"), Result: "3"},
	}}}},
	{Name: "batch with large results", Asks: []Ask{{Batch: eight(Ask{
		Do: `{"do":"big","bytes":20000}`, Result: `"` + strings.Repeat("x", 20_000) + `"`,
	})}}},
	{Name: "batch of 256", Asks: []Ask{{Batch: counted(wasmhost.BatchMax)}}},
	{Name: "batch with unknown keys", Asks: []Ask{{Widen: true, Batch: counted(3)}}},
}

func eight(a Ask) []Ask { return []Ask{a, a, a, a, a, a, a, a} }

// counted echoes numbers.
func counted(n int) []Ask {
	out := make([]Ask, n)
	for i := range out {
		out[i] = Ask{Do: echo(strconv.Itoa(i)), Result: strconv.Itoa(i)}
	}
	return out
}

// batch: a plugin that says that it takes batches answers one, as if each event had come
// alone, and goes on.
func (s *suite) batch(ctx context.Context) finding {
	one, f := open(ctx, s.opening())
	defer one.close(ctx)
	if f != nil {
		return finding{err: because(f)}
	}
	if one.hello.Batch < 2 || s.manifest.Plugin.Type == protocol.Trigger {
		return finding{skip: "takes one event at a time"}
	}
	rs := []wasmhost.Request{s.request(1, nil, nil), s.request(2, nil, nil)}
	for done := 0; done < len(rs); {
		answers, wrong := one.askBatch(ctx, rs[done:])
		if wrong != nil {
			return finding{err: because(wrong)}
		}
		for _, a := range answers {
			if a.Error != nil && a.Error.Code == protocol.CodeLimit {
				return finding{err: a.Error}
			}
		}
		done += len(answers)
	}
	_, f = one.ask(ctx, "answer", s.request(3, nil, nil))
	return finding{err: because(f), detail: fmt.Sprintf("takes %d at once", one.hello.Batch)}
}
