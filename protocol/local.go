package protocol

import (
	"strings"
	"unicode/utf8"
)

// SiteTopics begins the topics whose messages go to the other devices of the site too, by its
// gateway. All others stay on their device.
const SiteTopics = "site/"

// The bounds of what plugins say to each other.
const (
	// PublishMax bounds the data of one local message in bytes of CBOR.
	PublishMax = 8 << 10
	// FiltersMax bounds the filters that one trigger waits for.
	FiltersMax = 16
	// PublishDepthMax bounds how many messages may follow from one another: a message wakes
	// a trigger, whose run publishes the next. Two triggers that answer each other end there.
	PublishDepthMax = 8
)

// Local is a message that a plugin published for all devices of its site. It is told once, to
// those who are connected to the site's gateway then.
type Local struct {
	Topic string `cbor:"1,keyasint"` // begins with SiteTopics
	Data  Raw    `cbor:"2,keyasint,omitempty"`
	// Depth counts the messages that led to this one: from 1, at most PublishDepthMax.
	Depth uint8 `cbor:"3,keyasint"`
}

// Check holds l against what each receiver relies on. The error has CodeBadInput or CodeLimit.
func (l *Local) Check() error {
	if err := CheckLocalTopic(l.Topic); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(l.Topic, SiteTopics):
		return Errorf(CodeBadInput, "topic %q: want one that begins with %s", clip(l.Topic), SiteTopics)
	case len(l.Data) > PublishMax:
		return Errorf(CodeLimit, "topic %q: %d bytes of data, limit PublishMax %d", clip(l.Topic), len(l.Data),
			PublishMax)
	case l.Depth == 0 || l.Depth > PublishDepthMax:
		return Errorf(CodeLimit, "topic %q: depth %d, want 1 to PublishDepthMax %d", clip(l.Topic), l.Depth,
			PublishDepthMax)
	}
	return nil
}

// CheckLocalTopic returns an error for what is no topic that a plugin may publish on: 1 to
// TopicMax bytes of UTF-8, at most TopicLevelsMax levels, none empty, no wildcard, no control
// character, no $ at its beginning. The error has CodeBadInput.
func CheckLocalTopic(topic string) error {
	if err := checkLocal("topic", topic); err != nil {
		return err
	}
	if strings.ContainsAny(topic, "+#") {
		return Errorf(CodeBadInput, "topic %q: a wildcard in it", clip(topic))
	}
	return nil
}

// CheckLocalFilter returns an error for what is no filter of local topics: a topic in which +
// stands for a level, and # as the last for all that follow. The error has CodeBadInput.
func CheckLocalFilter(filter string) error {
	if err := checkLocal("filter", filter); err != nil {
		return err
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		whole := level == "+" || level == "#" && i == len(levels)-1
		if strings.ContainsAny(level, "+#") && !whole {
			return Errorf(CodeBadInput, "filter %q: level %q: + is a whole level, # the whole last one",
				clip(filter), clip(level))
		}
	}
	return nil
}

func checkLocal(what, text string) error {
	bad := func(c rune) bool { return c < ' ' || c == 0x7f }
	switch {
	case len(text) == 0 || len(text) > TopicMax:
		return Errorf(CodeBadInput, "%s %q: %d bytes, want 1 to %d", what, clip(text), len(text), TopicMax)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, bad):
		return Errorf(CodeBadInput, "%s %q: not UTF-8, or a control character in it", what, clip(text))
	case strings.HasPrefix(text, "$"):
		return Errorf(CodeBadInput, "%s %q: $ at the beginning is not for plugins", what, clip(text))
	case strings.HasPrefix(text, "/"), strings.HasSuffix(text, "/"), strings.Contains(text, "//"):
		return Errorf(CodeBadInput, "%s %q: an empty level", what, clip(text))
	case strings.Count(text, "/") >= TopicLevelsMax:
		return Errorf(CodeBadInput, "%s %q: more than %d levels", what, clip(text), TopicLevelsMax)
	}
	return nil
}

// FilterWithin reports whether every topic that filter matches is matched by scope too.
func FilterWithin(scope, filter string) bool {
	both, some := commonFilter(scope, filter)
	return some && both == filter
}

// FiltersMeet reports whether some topic is matched by both filters.
func FiltersMeet(a, b string) bool {
	_, some := commonFilter(a, b)
	return some
}
