// configured makes the configuration that a plugin gets of what the host sent: the
// defaults of the plugin's own where nothing was said, and an error for what it does not
// know or what is of another type.
export function configured(spec, raw) {
	const sent = raw ?? {};
	if (typeof sent !== "object" || Array.isArray(sent)) {
		throw new Error(`want a map, got ${typeName(sent)}`);
	}
	const fields = spec ?? {};
	for (const key of Object.keys(sent)) {
		if (!Object.hasOwn(fields, key)) {
			throw new Error(`unknown key ${JSON.stringify(key)}`);
		}
	}
	const out = {};
	for (const [key, field] of Object.entries(fields)) {
		out[key] = read(key, field, Object.hasOwn(sent, key) ? sent[key] : undefined);
	}
	return out;
}

// read takes one value: by the plugin's own function, or as it is when it has the type of
// the default.
function read(key, field, value) {
	if (typeof field === "function") {
		try {
			return field(value ?? undefined);
		} catch (e) {
			throw new Error(`${key}: ${e instanceof Error ? e.message : e}`, { cause: e });
		}
	}
	if (value === undefined || value === null) {
		return structured(field);
	}
	if (field !== null && typeName(value) !== typeName(field)) {
		throw new Error(`${key}: want ${typeName(field)}, got ${typeName(value)}`);
	}
	return value;
}

function structured(value) {
	return value !== null && typeof value === "object" ? JSON.parse(JSON.stringify(value)) : value;
}

function typeName(value) {
	if (value === null) {
		return "null";
	}
	if (Array.isArray(value)) {
		return "list";
	}
	return typeof value === "object" ? "map" : typeof value;
}
