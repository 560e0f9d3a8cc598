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
		return dig(this.text, [key]);
	}

	// items returns the items of an array, or the values of a map.
	items() {
		const out = [];
		for (const values = new Values(this.text, 0); values.next(); ) {
			out.push(values.raw);
		}
		return out;
	}

	toJSON() {
		if (!held) {
			return this.value; // somebody else's JSON.stringify
		}
		held.push(this.text);
		return mark;
	}
}

// mark stands in place of a raw text while stringify works. A lone surrogate is written as
// an escape that no well-formed text has.
const mark = "\udc00raw\udc00";
const marked = JSON.stringify(mark);

let held = null;

// stringify is JSON.stringify, with each Raw as it is. What is no JSON value is null.
export function stringify(value) {
	held = [];
	try {
		const text = JSON.stringify(value) ?? "null";
		if (held.length === 0) {
			return text;
		}
		const parts = text.split(marked); // JSON.stringify asks in the order in which it writes
		if (parts.length !== held.length + 1) {
			throw new Error("a text that stands for a Raw is not one");
		}
		return parts.map((part, i) => part + (held[i] ?? "")).join("");
	} finally {
		held = null;
	}
}

// dig returns what stands in a text under a path of keys, undefined for nothing. It goes over
// the text once: only what stands before is passed, and only the end of what is found sought.
export function dig(text, path) {
	return below(text, path)?.raw;
}

// list returns a function that gives the ith item of the array under a path of keys. It
// goes no further than it is asked for.
export function list(text, path) {
	const items = below(text, path);
	const values = items && new Values(text, items.from);
	const found = [];
	return (i) => {
		while (found.length <= i && values?.next()) {
			found.push(values.raw);
		}
		return found[i];
	};
}

// below returns the values of the last map on the way, at that which is sought.
function below(text, path) {
	let values;
	for (const key of path) {
		values = new Values(text, values?.from ?? 0);
		do {
			if (!values.next()) {
				return undefined;
			}
		} while (values.key !== key);
	}
	return values;
}

// Values goes over the values of the array or the map that begins at a place of a text
// that JSON.parse has taken before; over none of anything else.
class Values {
	#text;
	#at; // where the next begins
	#isMap;
	#end;

	constructor(text, at) {
		at = skip(text, at);
		this.#text = text;
		this.#isMap = text[at] === "{";
		this.#at = this.#isMap || text[at] === "[" ? skip(text, at + 1) : text.length;
	}

	// next goes to the next value and says whether there is one. Its key, null in an array,
	// and where it begins are then key and from.
	next() {
		const text = this.#text;
		if (this.from !== undefined) {
			this.#at = skip(text, this.end);
			this.#at = text[this.#at] === "," ? skip(text, this.#at + 1) : text.length;
		}
		if (this.#at >= text.length || text[this.#at] === "}" || text[this.#at] === "]") {
			return false;
		}
		this.key = null;
		if (this.#isMap) {
			const end = endOf(text, this.#at);
			this.key = JSON.parse(text.slice(this.#at, end));
			this.#at = skip(text, skip(text, end) + 1);
		}
		this.from = this.#at;
		this.#end = undefined;
		return true;
	}

	get end() {
		return (this.#end ??= endOf(this.#text, this.from));
	}

	get raw() {
		return new Raw(this.#text.slice(this.from, this.end));
	}
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
