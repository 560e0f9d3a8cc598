import { byteLength } from "./text.js";

// The most that an error's text may have, in bytes.
const textMax = 1024;

// StavilyError is an error with a code: of a host call that the host refuses, or of the
// plugin's own.
export class StavilyError extends Error {
	constructor(code, text, options) {
		super(text, options);
		this.name = "StavilyError";
		this.code = code;
	}
}

// Retryable is an error that may go away when the host asks again.
export class Retryable extends StavilyError {
	constructor(text, options) {
		super("retryable", String(text), options);
		this.name = "Retryable";
	}
}

// answered makes what stands in an answer of what was thrown. Only two codes may: what the
// host was too busy for is worth another try, everything else is not.
export function answered(thrown) {
	const code = codeOf(thrown);
	const text = thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
	return { code: code === "retryable" || code === "unavailable" ? "retryable" : "plugin", text: clip(text) };
}

// codeOf returns the outermost code in the chain of causes.
function codeOf(thrown) {
	for (let e = thrown, depth = 0; e instanceof Error && depth < 16; e = e.cause, depth++) {
		if (e instanceof StavilyError) {
			return e.code;
		}
	}
	return "plugin";
}

// clip cuts a text to textMax bytes without cutting a character.
export function clip(text) {
	if (text.length * 3 <= textMax || byteLength(text) <= textMax) {
		return text;
	}
	let left = textMax - 3;
	let out = "";
	for (const c of text) {
		left -= byteLength(c);
		if (left < 0) {
			break;
		}
		out += c;
	}
	return out + "...";
}
