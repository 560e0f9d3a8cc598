package conform

import "github.com/stavily/stavily/protocol"

// addedKey is the key that a newer host might say.
const addedKey = "conform-added"

// widen returns a host's message with one more key, and value under it, in every map that
// the host itself makes; what it only passes on stays as it is.
func widen(m protocol.Raw, value any) protocol.Raw {
	var message map[string]protocol.Raw
	if protocol.Unmarshal(m, &message) != nil {
		return m
	}
	for kind, body := range message {
		if kind != "id" {
			message[kind] = widenBody(body, value)
		}
	}
	return protocol.MustMarshal(message)
}

// within are the keys of a body whose values are maps of the host's own, or arrays of
// such maps.
var within = []string{"event", "limits", "grants", "results", "error"}

func widenBody(body protocol.Raw, value any) protocol.Raw {
	var fields map[string]protocol.Raw
	if protocol.Unmarshal(body, &fields) != nil {
		return body
	}
	fields[addedKey] = protocol.MustMarshal(value)
	for _, key := range within {
		if inner, ok := fields[key]; ok {
			fields[key] = widenInner(inner)
		}
	}
	return protocol.MustMarshal(fields)
}

// widenInner adds the key to a map, or to each map of an array.
func widenInner(v protocol.Raw) protocol.Raw {
	var list []protocol.Raw
	if protocol.Unmarshal(v, &list) == nil {
		for i := range list {
			list[i] = widenInner(list[i])
		}
		return protocol.MustMarshal(list)
	}
	var fields map[string]protocol.Raw
	if protocol.Unmarshal(v, &fields) != nil {
		return v
	}
	fields[addedKey] = protocol.MustMarshal([]any{true, map[string]any{"": nil}})
	return protocol.MustMarshal(fields)
}
