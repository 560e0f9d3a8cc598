package scenario

// A form is what a value may look like, for the JSON Schema.
type form struct {
	schema map[string]any
}

func pattern(regex, example string) *form {
	return &form{map[string]any{"type": "string", "pattern": regex, "examples": []any{example}}}
}

// either is a text of the pattern or a plain number, as 0 is.
func either(regex, example string) *form {
	return &form{
		map[string]any{"type": []any{"string", "number"}, "pattern": regex, "examples": []any{example}},
	}
}

func enum(words ...string) *form {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return &form{map[string]any{"enum": list}}
}

func text(what string) *form {
	return &form{map[string]any{"type": "string", "description": what}}
}

func list(of *form) *form {
	return &form{map[string]any{"type": "array", "items": of.schema}}
}

func anyOf(forms ...*form) *form {
	all := make([]any, len(forms))
	for i, f := range forms {
		all[i] = f.schema
	}
	return &form{map[string]any{"anyOf": all}}
}

// mapOf is a mapping whose keys are the writer's own.
func mapOf(of *form) *form {
	return &form{map[string]any{"type": "object", "additionalProperties": of.schema}}
}

// object is a mapping with the keys of a table.
func object[T any](keys []key[T]) *form {
	properties := map[string]any{}
	required := []any{}
	for _, k := range keys {
		schema := map[string]any{}
		for name, v := range k.form.schema {
			schema[name] = v
		}
		schema["description"] = k.doc
		properties[k.name] = schema
		if k.need {
			required = append(required, k.name)
		}
	}
	schema := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return &form{schema}
}

// The forms of single values.
var (
	formName     = pattern(`^[a-z0-9][a-z0-9-]*$`, "stores")
	formText     = &form{map[string]any{"type": "string"}}
	formScalar   = &form{map[string]any{"type": []any{"string", "number", "boolean"}}}
	formNumber   = &form{map[string]any{"type": "number"}}
	formCount    = &form{map[string]any{"type": "integer", "minimum": 0}}
	formBool     = &form{map[string]any{"type": "boolean"}}
	formDuration = either(`^([0-9.]+(us|µs|ms|s|m|h|d))+$|^0$`, "1h30m")
	formSigned   = either(`^-?([0-9.]+(us|µs|ms|s|m|h|d))+$|^0$`, "-2h")
	formMoment   = either(
		`^([0-9.]+(us|µs|ms|s|m|h|d))+$|^[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?$|^[0-9]{4}-|^0$`,
		"08:00",
	)
	formSpread = either(
		`^([0-9.]+(us|µs|ms|s|m|h|d))+( *(±|\+-) *([0-9.]+(us|µs|ms|s|m|h|d))+)?$|^0$`,
		"80ms±40ms",
	)
	formShare = either(`^[0-9.]+%$|^0$`, "1%")
	formSize  = pattern(`^[0-9.]+ *([KMG]iB|[kKMG]?B)$`, "4MB")
	formLane  = pattern(
		`^[0-9.]+([KMG]iB|[kKMG]?B)( +(oldest|newest|none|downsample))?$`, "256KB downsample")
	formBandwidth = pattern(`^[0-9.]+ *([kMG]?bit|[KMG]iB|[kKMG]?B)/s$`, "1Mbit/s")
	formCap       = pattern(`^[0-9.]+([KMG]iB|[kKMG]?B)/`, "50MB/30d")
	formBudget    = pattern(`^[0-9.]+ *([KMG]iB|[kKMG]?B)/(1?d|24h)$`, "2MB/d")
	formRate      = pattern(`^[0-9.]+/`, "12/h")
	formPPM       = pattern(`^-?[0-9.]+ppm$`, "50ppm")
	formTimes     = pattern(`^[0-9.]+x$`, "25x")
	formWindow    = pattern(
		`^[0-2][0-9]:[0-5][0-9](:[0-5][0-9])? *- *[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?$|^always$`,
		"06:00-22:00",
	)
)
