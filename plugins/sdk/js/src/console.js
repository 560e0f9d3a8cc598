// In the engine, print means log: what console says goes to stderr, which the host keeps
// as log lines.
const { logLine } = globalThis;

if (typeof logLine === "function" && globalThis.console === undefined) {
	const say = (...values) => logLine(values.map(shown).join(" "));
	globalThis.console = { debug: say, log: say, info: say, warn: say, error: say, trace: say };
}

function shown(value) {
	if (typeof value === "string") {
		return value;
	}
	if (value instanceof Error) {
		return `${value.name}: ${value.message}\n${value.stack ?? ""}`.trimEnd();
	}
	try {
		return JSON.stringify(value) ?? String(value);
	} catch {
		return String(value);
	}
}
