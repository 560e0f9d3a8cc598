package main

import (
	"fmt"
	"strings"
)

// nativeProgram builds the sample of the Go SDK for this machine.
func (b *bench) nativeProgram() (string, error) {
	out := b.path("threshold")
	return out, b.goBuild("plugins/sdk/go", out, "./samples/"+sampleName, "GOWORK=off")
}

// nativeStart starts the sample as a process and has it judge its first event.
func (b *bench) nativeStart(program string) (*process, error) {
	p, err := b.start(program)
	if err != nil {
		return nil, err
	}
	if err := p.says("hello"); err != nil {
		return nil, err
	}
	const init = `{"init":{"config":{"max":80},"limits":{},"grants":[{"capability":"kv","scopes":[]}],` +
		`"workflow":"w","step":"s"}}`
	if err := p.tell(init, "ready"); err != nil {
		return nil, err
	}
	return p, p.nativeCall(1)
}

// nativeCall has the process judge an event and answers its two host calls.
func (p *process) nativeCall(id int) error {
	const run = `{"id":%d,"run":{"event":{"run":"000102030405060708090a0b0c0d0e0f","workflow":"w",` +
		`"time_ms":1790000000000,"data":%s},"results":[],"key":"key","deadline_ms":30000,"now_ms":1790000000000}}`
	for _, step := range []struct{ line, want string }{
		{fmt.Sprintf(run, id, event200), "kv.get"},
		{`{"reply":{"n":1,"ok":{"value":83.5}}}`, "kv.put"},
		{`{"reply":{"n":2,"ok":{}}}`, `"over":true`},
	} {
		if err := p.tell(step.line, step.want); err != nil {
			return err
		}
	}
	return nil
}

// tell says a line to the process, which must answer with one that holds want.
func (p *process) tell(line, want string) error {
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return err
	}
	return p.says(want)
}

func (p *process) says(want string) error {
	got, err := p.hear()
	if err == nil && !strings.Contains(got, want) {
		err = fmt.Errorf("native sample: said %s, want %s", got, want)
	}
	return err
}
