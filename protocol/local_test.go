package protocol

import (
	"strings"
	"testing"
)

func TestLocalTopics(t *testing.T) {
	for text, want := range map[string]struct{ topic, filter bool }{
		"a": {true, true}, "line/1/temperature": {true, true}, "ü/ä": {true, true},
		"+": {false, true}, "#": {false, true}, "a/+/b": {false, true}, "a/#": {false, true}, "+/+/#": {false, true},
		"a+": {}, "a/#/b": {}, "a/b#": {}, "": {}, "/a": {}, "a/": {}, "a//b": {}, "$SYS/x": {}, "a\x00b": {}, "a\xff": {},
		strings.Repeat("a/", 15) + "a": {true, true}, strings.Repeat("a/", 16) + "a": {}, strings.Repeat("a", TopicMax+1): {},
	} {
		if err := CheckLocalTopic(text); (err == nil) != want.topic {
			t.Errorf("topic %.40q: %v", text, err)
		}
		if err := CheckLocalFilter(text); (err == nil) != want.filter {
			t.Errorf("filter %.40q: %v", text, err)
		}
	}
}

func TestFilterWithin(t *testing.T) {
	for _, c := range []struct {
		scope, filter string
		want          bool
	}{
		{"#", "a/b", true},
		{"#", "#", true},
		{"a/#", "a/b/+", true},
		{"a/+", "a/b", true},
		{"a/b", "a/b", true},
		{"a/b", "a/+", false},
		{"a/+", "a/#", false},
		{"a/#", "#", false},
		{"a/+", "b/c", false},
		{"a/+/c", "a/b/+", false},
	} {
		if got := FilterWithin(c.scope, c.filter); got != c.want {
			t.Errorf("%q within %q: %v", c.filter, c.scope, got)
		}
	}
}

// What a filter within a scope matches, the scope matches too.
func FuzzFilterWithin(f *testing.F) {
	f.Add("a/#", "a/+/c", "a/b/c")
	f.Add("+/b", "a/b", "a/b")
	f.Fuzz(func(t *testing.T, scope, filter, topic string) {
		if CheckLocalFilter(scope) != nil || CheckLocalFilter(filter) != nil || CheckLocalTopic(topic) != nil {
			return
		}
		if FilterWithin(scope, filter) && Match(filter, topic) && !Match(scope, topic) {
			t.Errorf("%q is within %q, but %q matches only the first", filter, scope, topic)
		}
	})
}
