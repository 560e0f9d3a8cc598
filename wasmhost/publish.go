package wasmhost

import (
	"slices"

	"github.com/stavily/stavily/protocol"
)

// WhyMessage is the reason of a wake that brings a Message.
const WhyMessage Why = "message"

// Message is what a plugin of the same device published on a topic that a trigger waits for.
type Message struct {
	Topic string       `cbor:"1,keyasint"`
	Data  protocol.Raw `cbor:"2,keyasint,omitempty"`
}

// callPublish hands a message to the triggers of this device.
func callPublish(r *request, args protocol.Raw) (any, error) {
	var in struct {
		Topic string       `cbor:"topic"`
		Data  protocol.Raw `cbor:"data"`
	}
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	if err := protocol.CheckLocalTopic(in.Topic); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "mqtt.publish: %w", err)
	}
	if err := bound("mqtt.publish: data", in.Data, protocol.PublishMax); err != nil {
		return nil, err
	}
	grants, _ := r.p.use("", "")
	scopes, _ := grants.Scopes(protocol.CapMQTT)
	may := func(scope string) bool { return protocol.Match(scope, in.Topic) }
	if len(scopes) > 0 && !slices.ContainsFunc(scopes, may) {
		return nil, r.refuse(protocol.CapMQTT, in.Topic)
	}
	if r.p.spec.Publish == nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "call mqtt.publish: not served by this host")
	}
	return nil, r.p.spec.Publish(Message{Topic: in.Topic, Data: keep(in.Data)})
}

// readTopics reads the filters that a trigger wants to be woken by.
func readTopics(v protocol.Raw) ([]string, error) {
	if isNull(v) {
		return nil, nil
	}
	list, ok := elements(v, protocol.FiltersMax)
	if !ok {
		return nil, protocol.Errorf(protocol.CodeLimit, "next: mqtt: want an array of at most %d filters",
			protocol.FiltersMax)
	}
	out := make([]string, len(list))
	for i, one := range list {
		if err := protocol.Unmarshal(one, &out[i]); err != nil {
			return nil, contractf("next: mqtt: filter %d is no text", i)
		}
		if err := protocol.CheckLocalFilter(out[i]); err != nil {
			return nil, contractf("next: mqtt: %w", err)
		}
	}
	return out, nil
}

// writeMessage appends the message of a wake.
func writeMessage(w *writer, m *Message) {
	w.text("message")
	w.mapOf(2)
	w.text("topic")
	w.text(m.Topic)
	w.text("data")
	w.raw("message", m.Data)
}
