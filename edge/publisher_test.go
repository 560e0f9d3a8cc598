package edge

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Two triggers that answer each other end at the depth, and a plugin at its rate.
func TestPublisher(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var last Publication
	p := newPublisher(Instance{Workflow: "w", Step: "s"}, func(p Publication) error { last = p; return nil })
	said := 0
	for ; p.publish(now, wasmhost.Message{Topic: "a"}) == nil && said < 1000; said++ {
	}
	if said != publishBurst || last.Depth != 1 || last.From.Step != "s" {
		t.Errorf("%d messages at once, %+v", said, last)
	}
	if err := p.publish(now.Add(time.Second), wasmhost.Message{Topic: "a"}); err != nil {
		t.Error(err)
	}
	hops := 0
	for ; hops < 100; hops++ {
		now = now.Add(time.Minute)
		p.asked([]Call{{Depth: last.Depth}, {Depth: 0}})
		if err := p.publish(now, wasmhost.Message{Topic: "a"}); err != nil {
			if protocol.CodeOf(err) != protocol.CodeLimit {
				t.Error(err)
			}
			break
		}
	}
	if hops != protocol.PublishDepthMax-1 {
		t.Errorf("%d hops after the first, want %d", hops, protocol.PublishDepthMax-1)
	}
}
