// Raw is a JSON text that goes through this program as it is. JavaScript has one kind of
// number: what must keep 18446744073709551615 or the difference between 1 and 1.0 on its
// way through is handed on raw.
export class Raw {
	constructor(text) {
		this.text = text;
	}

	// value parses the text; each time anew.
	get value() {
		return JSON.parse(this.text);
	}

	// get returns what stands under a key of a map, undefined for nothing.
	get(key) {
		for (const [name, value] of members(this.text)) {
			if (name === key) {
				return new Raw(value);
			}
		}
		return undefined;
	}

	// items returns the items of an array, or the values of a map.
	items() {
		return members(this.text).map(([, value]) => new Raw(value));
	}

	toJSON() {
		if (!held) {
			return this.value; // somebody else's JSON.stringify
		}
		held.push(this.text);
		return mark + (held.length - 1) + mark;
	}
}

// mark stands around a number in place of a raw text while stringify works. A lone
// surrogate is written as an escape that no well-formed text has.
const mark = "\udc00raw\udc00";
const marked = /"\\udc00raw\\udc00(\d+)\\udc00raw\\udc00"/g;

let held = null;

// stringify is JSON.stringify, with each Raw as it is. What is no JSON value is null.
export function stringify(value) {
	held = [];
	try {
		const text = JSON.stringify(value) ?? "null";
		const raws = held;
		return raws.length === 0 ? text : text.replace(marked, (_, i) => raws[i]);
	} finally {
		held = null;
	}
}

// members returns the [key, text] of each value in an array or a map, of a text that
// JSON.parse has taken before.
function members(text) {
	const out = [];
	let at = skip(text, 0);
	const isMap = text[at] === "{";
	if (!isMap && text[at] !== "[") {
		return out;
	}
	at = skip(text, at + 1);
	while (at < text.length && text[at] !== "}" && text[at] !== "]") {
		let key = out.length;
		if (isMap) {
			const end = endOf(text, at);
			key = JSON.parse(text.slice(at, end));
			at = skip(text, skip(text, end) + 1);
		}
		const end = endOf(text, at);
		out.push([key, text.slice(at, end)]);
		at = skip(text, end);
		if (text[at] === ",") {
			at = skip(text, at + 1);
		}
	}
	return out;
}

function skip(text, at) {
	while (at < text.length && " \t\n\r".includes(text[at])) {
		at++;
	}
	return at;
}

// endOf returns where the value that begins at at ends.
function endOf(text, at) {
	let depth = 0;
	for (; at < text.length; at++) {
		const c = text[at];
		if (c === '"') {
			at = endOfString(text, at);
			if (depth === 0) {
				return at + 1;
			}
		} else if (c === "{" || c === "[") {
			depth++;
		} else if (c === "}" || c === "]") {
			if (depth === 0) {
				return at;
			}
			if (--depth === 0) {
				return at + 1;
			}
		} else if (depth === 0 && ", \t\n\r".includes(c)) {
			return at;
		}
	}
	return at;
}

// endOfString returns where the closing quote is.
function endOfString(text, at) {
	for (at++; text[at] !== '"'; at++) {
		if (text[at] === "\\") {
			at++;
		}
	}
	return at;
}
