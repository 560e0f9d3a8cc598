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
		const found = members(this.text, key);
		return found.length > 0 ? new Raw(found[0][1]) : undefined;
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

// members returns the [key, text] of each value in an array or a map, or only that of one
// key, of a text that JSON.parse has taken before.
function members(text, only) {
	const out = [];
	let at = skip(text, 0);
	const isMap = text[at] === "{";
	if (!isMap && text[at] !== "[") {
		return out;
	}
	at = skip(text, at + 1);
	while (at < text.length && text[at] !== "}" && text[at] !== "]") {
		let key = null;
		if (isMap) {
			const end = endOf(text, at);
			key = JSON.parse(text.slice(at, end));
			at = skip(text, skip(text, end) + 1);
		}
		const end = endOf(text, at);
		if (only === undefined || key === only) {
			out.push([key, text.slice(at, end)]);
		}
		if (only !== undefined && key === only) {
			return out;
		}
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

// What a value can end at, and what is met within a map or an array.
const after = /[,\]}\s]|$/g;
const within = /["{}[\]]/g;

// endOf returns where the value that begins at at ends. It leaps from one mark to the next:
// on a small device the engine is interpreted itself.
function endOf(text, at) {
	if (text[at] === '"') {
		return endOfString(text, at) + 1;
	}
	if (text[at] !== "{" && text[at] !== "[") {
		after.lastIndex = at;
		return after.exec(text).index;
	}
	within.lastIndex = at;
	for (let depth = 0, met; (met = within.exec(text)) !== null; ) {
		const c = met[0];
		if (c === '"') {
			within.lastIndex = endOfString(text, met.index) + 1;
		} else if (c === "{" || c === "[") {
			depth++;
		} else if (--depth === 0) {
			return within.lastIndex;
		}
	}
	return text.length;
}

// endOfString returns where the closing quote is.
function endOfString(text, at) {
	for (;;) {
		at = text.indexOf('"', at + 1);
		let slash = at;
		while (text[slash - 1] === "\\") {
			slash--;
		}
		if (at < 0 || (at - slash) % 2 === 0) {
			return at < 0 ? text.length : at;
		}
	}
}
